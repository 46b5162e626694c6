"""Claims: one holder at a time, the dead lose theirs, the living keep it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from emo_cli.batch import claims
from emo_cli.batch.claims import SILENCE, Holder, claim

ELSEWHERE = replace(Holder.here(), host="other", place="other machine", token="theirs")


def _left_by(folder: Path, holder: Holder, number: int = 1, silent: float = 0.0) -> Path:
    path = folder / f"job.{number}"
    path.write_text(json.dumps(asdict(holder)))
    os.utime(path, (time.time() - silent,) * 2)
    return path


def _gone() -> Holder:
    """A holder of this machine whose process has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return replace(Holder.here(), pid=process.pid, token="gone")


def test_a_claimed_job_is_refused_until_it_is_let_go(tmp_path: Path) -> None:
    first = claim(tmp_path, "job")
    assert first is not None
    with first:
        assert claim(tmp_path, "job") is None
        assert claim(tmp_path, "another job") is not None
    assert claim(tmp_path, "job") is not None


def test_nothing_stays_of_a_claim_that_was_let_go(tmp_path: Path) -> None:
    _left_by(tmp_path, _gone())
    held = claim(tmp_path, "job")
    assert held is not None
    with held:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["job.1", "job.2"]
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_killed_while_it_claimed_has_left_goes_with_the_next_claim(tmp_path: Path) -> None:
    _left_by(tmp_path, _gone()).rename(tmp_path / ".job.gone")
    busy = tmp_path / ".job.busy"
    busy.write_text(json.dumps(asdict(Holder.here())))
    assert claim(tmp_path, "job") is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == [".job.busy", "job.1"]


def test_the_claim_of_a_process_that_ended_is_taken_over_at_once(tmp_path: Path) -> None:
    _left_by(tmp_path, _gone())
    assert claim(tmp_path, "job") is not None


def test_a_process_number_that_is_used_again_deceives_nobody(tmp_path: Path) -> None:
    here = Holder.here()
    if not here.began:
        pytest.skip("this system does not tell when a process began")
    _left_by(tmp_path, replace(here, began="long ago"))
    assert claim(tmp_path, "job") is not None


@pytest.mark.parametrize(("silent", "free"), [(0.0, False), (SILENCE / 2, False), (SILENCE + 5, True)])
def test_another_machine_s_claim_ends_with_long_silence(tmp_path: Path, silent: float, free: bool) -> None:
    _left_by(tmp_path, ELSEWHERE, silent=silent)
    assert (claim(tmp_path, "job") is not None) is free


def test_a_living_process_here_keeps_its_claim_however_silent(tmp_path: Path) -> None:
    _left_by(tmp_path, replace(Holder.here(), token="mine"), silent=10 * SILENCE)
    assert claim(tmp_path, "job") is None


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_who_reach_for_a_job_at_once_no_two_get_it(tmp_path: Path, stale: bool) -> None:
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if stale:
            _left_by(folder, ELSEWHERE, silent=SILENCE + 5)
        won: list[object] = []
        ready = threading.Barrier(6)

        def reach(folder: Path = folder, won: list[object] = won, ready: threading.Barrier = ready) -> None:
            ready.wait()
            if (held := claim(folder, "job")) is not None:
                won.append(held)

        threads = [threading.Thread(target=reach) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) <= 1
        assert claim(folder, "job") is None if won else claim(folder, "job") is not None


def test_a_holder_is_touched_and_learns_that_it_was_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.05)
    held = claim(tmp_path, "job")
    assert held is not None
    os.utime(held.path, (0, 0))
    with held:
        deadline = time.monotonic() + 10
        while held.path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert held.path.stat().st_mtime > 0
        assert not held.lost.is_set()
        _left_by(tmp_path, ELSEWHERE, number=2)
        assert held.lost.wait(10)
    assert [path.name for path in tmp_path.iterdir()] == ["job.2"]
