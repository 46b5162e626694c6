"""Training processes end with the one that began them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import time
from emo_cli.cli import app as command
from emo_cli.training.processes import run_together

command.app = lambda **_: run_together(2, time.sleep, 600)
command.main()
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of child processes")
def test_processes_that_train_together_stop_when_the_first_is_asked_to() -> None:
    running = subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, text=True)
    listed, deadline = Path(f"/proc/{running.pid}/task/{running.pid}/children"), time.monotonic() + 60
    while len(workers := _workers(listed)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) == 2
    os.kill(running.pid, signal.SIGTERM)
    told = running.communicate(timeout=60)[1]
    assert running.returncode == 143 and "Stopped" in told
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def _workers(listed: Path) -> list[int]:
    """Children that Python's spawn has begun, but for the one that keeps its semaphores."""
    children = [int(word) for word in listed.read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
