"""A batch with a small model: what is made, skipped, refused, tried again, recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from batch_bench import QUICK, batch, leftovers, people, small_photo, tone, videos
from emo_cli import footage, unfinished
from emo_cli.animate import AnimateOptions
from emo_cli.batch.jobs import Job, in_one_folder, jobs
from emo_cli.batch.ledger import Record
from emo_cli.batch.runner import Batch, BatchOptions, run


@dataclass
class Notes:
    """A progress that remembers."""

    ends: list[Record] = field(default_factory=list)
    frames: list[tuple[int, int, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def frame(self, job: Job, done: int, total: int) -> None:
        self.frames.append((job.number, done, total))

    def warn(self, job: Job, sentence: str) -> None:
        self.warnings.append(sentence)

    def ended(self, record: Record) -> None:
        self.ends.append(record)


@pytest.fixture
def common(model: Path) -> AnimateOptions:
    return AnimateOptions(Path(), Path(), model=str(model), size=128, steps=1)


def go(folder: Path, given: list[Job], notes: Notes | None = None, **wishes: Any) -> Batch:
    return run(given, BatchOptions(folder, device="cpu", **wishes), notes or Notes())


def given(tmp_path: Path, common: AnimateOptions, *names: str) -> list[Job]:
    return jobs(in_one_folder(people(tmp_path / "in", list(names), 0.2))[0], common, tmp_path / "out")


def ends(done: Batch) -> list[str]:
    return [record.status for record in done.records]


def test_every_pair_becomes_a_video_and_nothing_else_stays(tmp_path: Path, common: AnimateOptions) -> None:
    notes = Notes()
    done = go(tmp_path / "out", given(tmp_path, common, "anna", "ben"), notes)
    assert ends(done) == ["done", "done"]
    assert list(videos(tmp_path / "out")) == ["anna.mp4", "ben.mp4"]
    assert footage.probe(tmp_path / "out" / "anna.mp4").frames == 5
    assert leftovers(tmp_path / "out") == []
    assert notes.frames == [(number, frame, 5) for number in (1, 2) for frame in range(1, 6)]
    assert [record.number for record in notes.ends] == [1, 2]


def test_the_same_batch_again_skips_what_is_finished(tmp_path: Path, common: AnimateOptions) -> None:
    todo = given(tmp_path, common, "anna", "ben")
    go(tmp_path / "out", todo)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mp4")}
    assert ends(go(tmp_path / "out", todo)) == ["skipped", "skipped"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mp4")} == before
    (tmp_path / "out" / "ben.mp4").unlink()
    assert ends(go(tmp_path / "out", todo)) == ["skipped", "done"]


def test_two_folders_get_the_same_videos_without_a_seed(tmp_path: Path, common: AnimateOptions) -> None:
    todo = given(tmp_path, common, "anna", "ben")
    go(tmp_path / "out", todo)
    elsewhere = [Job(job.number, replace(job.options, output=tmp_path / "b" / job.output.name)) for job in todo]
    done = go(tmp_path / "b", elsewhere)
    assert videos(tmp_path / "b") == videos(tmp_path / "out")
    assert len({record.seed for record in done.records}) == 2


def test_a_changed_input_or_setting_is_not_skipped_and_replaces_only_when_asked(
    tmp_path: Path, common: AnimateOptions
) -> None:
    todo = given(tmp_path, common, "anna", "ben")
    first = go(tmp_path / "out", todo)
    tone(todo[0].options.sound, 0.3, 500)
    refused = go(tmp_path / "out", todo)
    assert ends(refused) == ["failed", "skipped"]
    assert refused.records[0].exit_code == 7
    assert "add --overwrite" in (refused.records[0].error or "")
    anew = [Job(job.number, replace(job.options, overwrite=True)) for job in todo]
    replaced = go(tmp_path / "out", anew)
    assert ends(replaced) == ["done", "skipped"]
    assert (first.records[0].frames, replaced.records[0].frames) == (5, 8)


def test_after_a_refusal_the_first_settings_are_known_again(tmp_path: Path, common: AnimateOptions) -> None:
    todo = given(tmp_path, common, "anna")
    go(tmp_path / "out", todo)
    assert ends(go(tmp_path / "out", [Job(1, replace(todo[0].options, lips=0.5))])) == ["failed"]
    assert ends(go(tmp_path / "out", todo)) == ["skipped"]


def test_fresh_makes_all_anew(tmp_path: Path, common: AnimateOptions) -> None:
    todo = given(tmp_path, common, "anna")
    go(tmp_path / "out", todo)
    assert ends(go(tmp_path / "out", todo, fresh=True)) == ["done"]


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, common: AnimateOptions) -> None:
    todo = given(tmp_path, common, "anna")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "anna.mp4").write_bytes(b"mine")
    assert [record.exit_code for record in go(tmp_path / "out", todo).records] == [7]
    assert (tmp_path / "out" / "anna.mp4").read_bytes() == b"mine"


def test_a_job_that_fails_is_recorded_and_the_others_are_made(tmp_path: Path, common: AnimateOptions) -> None:
    todo = given(tmp_path, common, "anna", "ben", "carl")
    todo[0].options.photo.write_bytes(b"no picture")
    todo[1].options.sound.unlink()
    notes = Notes()
    done = go(tmp_path / "out", todo, notes, retry=1)
    assert ends(done) == ["failed", "failed", "done"]
    assert [(record.exit_code, record.kind, record.tries) for record in done.records[:2]] == [(3, "InputError", 2)] * 2
    assert "ben.wav" in (done.records[1].error or "")
    assert sum("Trying again." in sentence for sentence in notes.warnings) == 2
    assert leftovers(tmp_path / "out") == []


def test_a_failed_job_is_tried_again_by_the_next_run(tmp_path: Path, common: AnimateOptions) -> None:
    todo = given(tmp_path, common, "anna")
    photo = todo[0].options.photo.read_bytes()
    todo[0].options.photo.write_bytes(b"no picture")
    assert ends(go(tmp_path / "out", todo)) == ["failed"]
    todo[0].options.photo.write_bytes(photo)
    assert ends(go(tmp_path / "out", todo)) == ["done"]


def test_after_too_many_failures_no_more_are_begun(tmp_path: Path, common: AnimateOptions) -> None:
    todo = given(tmp_path, common, "anna", "ben", "carl")
    for job in todo[:2]:
        job.options.sound.write_bytes(b"")
    assert ends(go(tmp_path / "out", todo, max_failures=1)) == ["failed", "left", "left"]
    assert ends(go(tmp_path / "out", todo, max_failures=3)) == ["failed", "failed", "done"]


STRANGE = ["with space", 'a "quoted" name', "it's", "new\nline", "-dash", "100%[x]*?#", "ü" * 60]


def test_any_name_is_made_and_found_again(tmp_path: Path, common: AnimateOptions) -> None:
    todo = given(tmp_path, common, *STRANGE)
    assert ends(go(tmp_path / "out", todo)) == ["done"] * len(STRANGE)
    assert ends(go(tmp_path / "out", todo)) == ["skipped"] * len(STRANGE)
    assert set(videos(tmp_path / "out")) == {f"{name}.mp4" for name in STRANGE}
    assert leftovers(tmp_path / "out") == []


def test_a_long_video_stopped_at_any_place_goes_on_to_the_same_bytes(
    tmp_path: Path, common: AnimateOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "LENGTH", 40)  # frames of a piece, so that few make a video long
    todo = given(tmp_path, common, "anna")
    tone(todo[0].options.sound, 2.6)
    go(tmp_path / "out", todo)
    whole = videos(tmp_path / "out")

    class Stop(BaseException):
        pass

    class Stopping(Notes):
        last = 0

        def frame(self, job: Job, done: int, total: int) -> None:
            super().frame(job, done, total)
            if done == self.last:
                raise Stop

    elsewhere = [Job(1, replace(todo[0].options, output=tmp_path / "b" / "anna.mp4"))]
    begun = []
    for Stopping.last in (3, 30, 52, 60):
        notes = Stopping()
        with pytest.raises(Stop):
            go(tmp_path / "b", elsewhere, notes)
        assert videos(tmp_path / "b") == {}
        begun.append(notes.frames[0][1])
    last = Notes()
    assert ends(go(tmp_path / "b", elsewhere, last)) == ["done"]
    begun.append(last.frames[0][1])
    assert begun == [1, 1, 1, 49, 49]  # the first piece, 48 frames, is not drawn again
    assert videos(tmp_path / "b") == whole
    assert [path.name for path in (tmp_path / "b").iterdir() if path.name.startswith(".anna")] == []


def test_the_command_tells_programs_a_line_per_job_and_leaves_with_8(tmp_path: Path, model: Path) -> None:
    folder = people(tmp_path / "in", ["anna", "ben"], 0.2)
    (folder / "ben.jpg").write_bytes(b"no picture")
    said = batch(folder, "-o", tmp_path / "out", "--model", model, *QUICK, "--json")
    assert (said.code, said.ends) == (8, ["done", "failed"])
    assert said.records[1]["exit_code"] == 3
    assert [json.loads(line) for line in (tmp_path / "out" / "report.jsonl").read_text().splitlines()] == said.records
    assert "1 of 2: anna.mp4" in said.err and "Traceback" not in said.err


def test_a_table_from_standard_input_with_options_per_row(tmp_path: Path, model: Path) -> None:
    small_photo(tmp_path)
    tone(tmp_path / "a.wav", 0.2)
    rows = "photo,sound,output,fps\nsmall.jpg,a.wav,one.mp4,\nsmall.jpg,a.wav,two.mp4,50\n"
    said = batch("-", "-o", tmp_path / "out", "--model", model, *QUICK, "--json", folder=tmp_path, given=rows)
    assert (said.code, said.ends) == (0, ["done", "done"])
    assert [record["frames"] for record in said.records] == [5, 10]


def test_nonsense_on_the_command_line_is_one_sentence_and_code_2(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("photo,sound,lips\na.jpg,b.wav,99\n")
    said = batch(tmp_path / "jobs.csv", "--quiet")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("emo: Line 2 of jobs.csv: ")


def test_the_parts_of_a_batch_have_reports_of_their_own(tmp_path: Path, model: Path) -> None:
    folder = people(tmp_path / "in", ["anna", "ben", "carl"], 0.2)
    said = batch(folder, "-o", tmp_path / "out", "--model", model, *QUICK, "--json", "--shard", "2/2")
    assert (said.code, [record["number"] for record in said.records]) == (0, [2])
    assert (tmp_path / "out" / "report-2-of-2.html").is_file()
