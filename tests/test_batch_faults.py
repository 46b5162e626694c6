"""A batch among accidents: killed, stopped, started twice, a worker lost; in the end every video is as it should be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batch_bench import QUICK, SURROUNDINGS, batch, command, leftovers, people, tone, videos
from tiny_model import save_tiny_model

NAMES = ["anna", "ben", "carla"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


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


def begun(words: list[str | Path], out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words, out), env=SURROUNDINGS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def until(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a moment in a batch's life."""
    deadline = time.monotonic() + 120
    while not what():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_again_and_again_a_batch_ends_with_the_same_videos(
    tmp_path: Path, words: list[str | Path]
) -> None:
    tone(people(tmp_path / "in", NAMES, 0.2) / "ben.wav", 10.6)  # longer than a piece
    words, out = [tmp_path / "in", *words[1:]], tmp_path / "out"
    assert batch(*words, tmp_path / "whole").code == 0
    moments: list[Callable[[], bool]] = [
        lambda: any((out / ".emo-batch").glob("claims/*")),
        lambda: any(out.glob(".ben.emo-*/segment-000003*")),
        lambda: any(out.glob(".ben.emo-*/piece-00000.mp4")),
        lambda: any(out.glob(".carla.emo-*")),
    ]
    for moment in moments:
        process = begun(words, out)
        until(moment, process)
        process.kill()
        process.communicate()
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
        before, process = segments(), begun(words, tmp_path)
        until(lambda before=before: segments() > before, process)  # type: ignore[misc]
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert json.loads(out.splitlines()[0])["status"] == first
        assert list((tmp_path / ".emo-batch" / "claims").iterdir()) == []
        told = [json.loads(line)["status"] for line in (tmp_path / "report.jsonl").read_text().splitlines()]
        assert told == [first, "left", "left"]
    assert batch(*words, tmp_path).ends == ["skipped", "done", "done"]
    assert videos(tmp_path) == whole


def test_two_processes_on_one_folder_do_every_job_once(
    tmp_path: Path, words: list[str | Path], whole: dict[str, str]
) -> None:
    processes = [begun(words, tmp_path) for _ in range(2)]
    told = [[json.loads(line) for line in process.communicate(timeout=300)[0].splitlines()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    made = [record["output"] for records in told for record in records if record["status"] == "done"]
    assert sorted(Path(output).name for output in made) == ["anna.mp4", "ben.mp4", "carla.mp4"]
    assert [len(records) for records in told] == [3, 3]
    assert videos(tmp_path) == whole


def test_two_workers_share_the_jobs(tmp_path: Path, words: list[str | Path], whole: dict[str, str]) -> None:
    said = batch(*words, tmp_path, "--workers", "2")
    assert (said.code, said.ends) == (0, ["done"] * 3), said.err
    assert videos(tmp_path) == whole
    assert leftovers(tmp_path) == []


def _children(process: subprocess.Popen[str]) -> list[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in listed.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of child processes")
def test_a_worker_that_dies_costs_one_try_and_another_takes_its_place(
    tmp_path: Path, words: list[str | Path], whole: dict[str, str]
) -> None:
    process = begun([words[0], "--workers", "2", "--retry", "1", *words[1:]], tmp_path)
    until(lambda: any(tmp_path.glob(".ben.emo-*/segment-*")), process)
    claimed = [json.loads(path.read_text()) for path in (tmp_path / ".emo-batch" / "claims").iterdir()]
    victim = next(holder["pid"] for holder in claimed)
    assert victim in _children(process)
    os.kill(victim, signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert [record["status"] for record in map(json.loads, out.splitlines())] == ["done"] * 3
    assert videos(tmp_path) == whole


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of child processes")
def test_workers_end_with_a_batch_that_is_killed(tmp_path: Path, words: list[str | Path]) -> None:
    process = begun([words[0], "--workers", "2", *words[1:]], tmp_path)
    until(lambda: any(tmp_path.glob(".ben.emo-*/segment-*")), process)
    workers = _children(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/stat").exists() and not _is_zombie(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
