"""A batch among accidents: killed, stopped, started twice, a worker lost; in the end every video is as it should be."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batch_bench import QUICK, batch, leftovers, people, tone, videos
from emo_process import Running, begin

NAMES = ["anna", "ben", "carla"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, model: Path) -> list[str | Path]:
    """A batch of three, the second of several segments, without the place where it goes."""
    folder = people(tmp_path_factory.mktemp("people") / "in", NAMES, 0.2)
    tone(folder / "ben.wav", 4.0)
    return [folder, "--model", model, *QUICK, "--json", "-o"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, words: list[str | Path]) -> dict[str, str]:
    """The videos of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    assert batch(*words, folder).code == 0
    return videos(folder)


def until(what: Callable[[], bool], process: Running) -> None:
    """Wait for a moment in a batch's life."""
    deadline = time.monotonic() + 120
    while not what():
        assert not process.over and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_again_and_again_a_batch_ends_with_the_same_videos(
    tmp_path: Path, words: list[str | Path]
) -> None:
    tone(people(tmp_path / "in", NAMES, 0.2) / "ben.wav", 10.6)  # longer than a piece
    words, out = [tmp_path / "in", *words[1:]], tmp_path / "out"
    assert batch(*words, tmp_path / "whole").code == 0
    moments: list[Callable[[], bool]] = [
        lambda: any((out / ".emo-batch").glob("claims/[!.]*")),
        lambda: any(out.glob(".ben.emo-*/segment-000003*")),
        lambda: any(out.glob(".ben.emo-*/piece-00000.mp4")),
        lambda: any(out.glob(".carla.emo-*")),
    ]
    for moment in moments:
        process = begin("batch", *words, out)
        until(moment, process)
        process.send(signal.SIGKILL)
        assert process.end().code == -signal.SIGKILL
    said = batch(*words, out)
    assert (said.code, said.ends) == (0, ["skipped", "skipped", "done"])
    assert videos(out) == videos(tmp_path / "whole")
    assert leftovers(out) == []


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_batch_that_is_asked_to_stop_does_so_and_goes_on_later(
    tmp_path: Path, words: list[str | Path], whole: dict[str, str]
) -> None:
    def segments() -> int:
        return len(list(tmp_path.glob(".ben.emo-*/segment-*")))

    for number, first in ((signal.SIGTERM, "done"), (signal.SIGINT, "skipped")):
        before, process = segments(), begin("batch", *words, tmp_path)
        until(lambda before=before: segments() > before, process)  # type: ignore[misc]
        process.send(number)
        said = process.end(60)
        assert (said.code, said.records[0]["status"]) == (128 + number, first)
        assert list((tmp_path / ".emo-batch" / "claims").iterdir()) == []
        told = [json.loads(line)["status"] for line in (tmp_path / "report.jsonl").read_text().splitlines()]
        assert told == [first, "left", "left"]
    assert batch(*words, tmp_path).ends == ["skipped", "done", "done"]
    assert videos(tmp_path) == whole


def test_two_processes_on_one_folder_do_every_job_once(
    tmp_path: Path, words: list[str | Path], whole: dict[str, str]
) -> None:
    processes = [begin("batch", *words, tmp_path) for _ in range(2)]
    both = [process.end() for process in processes]
    assert [said.code for said in both] == [0, 0]
    made = [record["output"] for said in both for record in said.records if record["status"] == "done"]
    assert sorted(Path(output).name for output in made) == ["anna.mp4", "ben.mp4", "carla.mp4"]
    assert [len(said.records) for said in both] == [3, 3]
    assert videos(tmp_path) == whole


def _children(process: Running) -> list[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in listed.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of child processes")
def test_of_two_workers_who_share_the_jobs_one_may_die_and_another_takes_its_place(
    tmp_path: Path, words: list[str | Path], whole: dict[str, str]
) -> None:
    process = begin("batch", "--workers", "2", "--retry", "1", *words, tmp_path)
    until(lambda: any(tmp_path.glob(".ben.emo-*/segment-*")), process)
    claimed = [json.loads(path.read_text()) for path in (tmp_path / ".emo-batch" / "claims").iterdir()]
    victim = next(holder["pid"] for holder in claimed)
    workers = _children(process)
    assert victim in workers and len(workers) >= 2
    os.kill(victim, signal.SIGKILL)
    said = process.end()
    assert (said.code, said.ends) == (0, ["done"] * 3), said.err
    assert videos(tmp_path) == whole
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of child processes")
def test_workers_end_with_a_batch_that_is_killed(tmp_path: Path, words: list[str | Path]) -> None:
    process = begin("batch", "--workers", "2", *words, tmp_path)
    until(lambda: any(tmp_path.glob(".ben.emo-*/segment-*")), process)
    workers = _children(process)
    process.send(signal.SIGKILL)
    process.end()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/stat").exists() and not _is_zombie(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
