"""What `emo batch` understands of its words, and what it tells while it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_cli.animate import AnimateOptions
from emo_cli.batch.jobs import Job
from emo_cli.batch.ledger import Record, Status, first_record
from emo_cli.cli import report as reports
from emo_cli.cli.batch import BatchReport, _jobs
from emo_cli.cli.report import Report
from emo_cli.errors import UsageError

COMMON = AnimateOptions(Path(), Path())


def job(number: int, name: str) -> Job:
    return Job(number, AnimateOptions(Path(f"{name}.jpg"), Path("a.wav"), Path(f"{name}.mp4")))


def ended(number: int, name: str, status: Status) -> Record:
    return first_record(job(number, name), status)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the report sees."""
    now = [0.0]
    monkeypatch.setattr(reports.time, "perf_counter", lambda: now[0])
    return now


def test_jobs_frames_failures_and_the_time_left_are_told(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    progress = BatchReport(Report(), total=4, as_json=False)
    clock[0] = 10
    progress.ended(ended(1, "anna", "failed"))
    clock[0] = 20
    progress.frame(job(2, "ben"), 5, 10)
    clock[0] = 30
    progress.frame(job(2, "ben"), 10, 10)
    assert capsys.readouterr().err.splitlines() == [
        "1 of 4: anna.mp4 failed: None",
        "1 of 4 jobs, 1 failed, about 30 s left",
        "1 of 4 jobs, 1 failed; ben.mp4, frame 5 of 10, about 33 s left",
        "1 of 4 jobs, 1 failed; ben.mp4, frame 10 of 10, about 30 s left",
    ]


def test_what_was_done_before_does_not_make_the_rest_look_short(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    progress = BatchReport(Report(), total=10, as_json=False)
    for number in range(1, 9):
        progress.ended(ended(number, str(number), "skipped"))
    clock[0] = 20
    progress.frame(job(9, "ben"), 2, 4)
    assert capsys.readouterr().err.splitlines()[-1] == "8 of 10 jobs; ben.mp4, frame 2 of 4, about 60 s left"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("p/a.jpg", "p/b.jpg", "s/a.wav", "s/c.wav", "song.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("source", "sounds", "audio", "pair", "outputs"),
    [
        ("p", "s", None, "stem", ["a"]),
        ("p", "s", None, "cross", ["a-a", "a-c", "b-a", "b-c"]),
        ("p/*.jpg", "s/*.wav", None, "zip", ["a-a", "b-c"]),
        ("p/[b]*", None, Path("song.wav"), "stem", ["b"]),
    ],
)
def test_words_of_the_command_line_become_jobs(
    folder: Path, source: str, sounds: str | None, audio: Path | None, pair: str, outputs: list[str]
) -> None:
    found = _jobs(source, sounds, audio, pair, COMMON, Path("out"), Report(quiet=True))  # type: ignore[arg-type]
    assert [job.output.stem for job in found] == outputs


def test_two_sounds_for_one_batch_are_one_too_many(folder: Path) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        _jobs("p", "s", Path("song.wav"), "stem", COMMON, Path("out"), Report(quiet=True))
