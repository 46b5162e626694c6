"""The `emo` command as a process of its own that begins at once: forked from one that has torch loaded already.

Loading torch costs three seconds of a core, most of what a short command takes. Everything else is as in a fresh start:
process id, signals, exit code, environment, folder and streams are the command's own. `fresh` starts it from nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, Protocol

EMO = [sys.executable, "-m", "emo_cli"]
PACKAGE = Path(__file__).parents[1] / "src"
# Nothing that reads the environment while it is loaded, as huggingface_hub does.
LOADED = (
    "emo_cli.animate", "emo_cli.pipeline", "emo_cli.cli.app", "rich.markdown", "rich.table", "rich.panel",
    "asyncio", "filelock", "importlib.metadata", "tqdm.auto", "yaml",
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The error: the last line, and the only one that begins so."""
        told = [line for line in self.err.splitlines() if line.startswith("emo: ")]
        assert told == self.err.splitlines()[-1:], self.err
        return told[0]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of --json."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def ends(self) -> list[str]:
        """How the jobs of a batch ended, in their order."""
        return [record["status"] for record in sorted(self.records, key=lambda record: record["number"])]


def surroundings(**changes: str) -> dict[str, str]:
    """The environment of the tests, with the package under test wherever the command runs."""
    return {**os.environ, "PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1", "COLUMNS": "100", **changes}


class Process(Protocol):
    """What a started command can be asked: as subprocess.Popen."""

    pid: int

    def wait(self, timeout: float | None = None) -> int: ...

    def poll(self) -> int | None: ...


@dataclass
class Running:
    """A command on its way; its streams go into files."""

    process: Process
    out: IO[bytes]
    err: IO[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    def send(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def end(self, timeout: float = 300) -> Said:
        """Wait for its end; what it said."""
        code = self.process.wait(timeout)
        told = []
        for stream in (self.out, self.err):
            stream.seek(0)
            told.append(stream.read().decode())
            stream.close()
        return Said(code, *told)


def start(
    words: Sequence[str | Path],
    streams: Sequence[IO[Any] | int],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start the command. streams: what it reads, its output, its messages; folder: where it runs, here if not told;
    environment: `surroundings()` if not told."""
    said, place, chosen = list(map(str, words)), str(folder or Path.cwd()), dict(environment or surroundings())
    if sys.platform == "linux":
        handles = [stream if isinstance(stream, int) else stream.fileno() for stream in streams]
        return _forked(said, place, chosen, handles)
    read, out, err = streams
    return subprocess.Popen([*EMO, *said], cwd=place, env=chosen, stdin=read, stdout=out, stderr=err)


def begin(*words: str | Path, given: str = "", **where: Any) -> Running:
    """Start the command, and keep what it says. given: what it reads; other keywords as for `start`."""
    out, err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115  `end` closes them
    with tempfile.TemporaryFile() as read:
        read.write(given.encode())
        read.seek(0)
        return Running(start(words, (read, out, err), **where), out, err)


def emo(*words: str | Path, **where: Any) -> Said:
    """Run the command to its end; keywords as for `begin`."""
    return begin(*words, **where).end()


def fresh(*words: str | Path, folder: Path | None = None) -> Said:
    """Run the command to its end, started from nothing as a user starts it."""
    done = subprocess.run(
        [*EMO, *map(str, words)],
        capture_output=True, text=True, cwd=folder, env=surroundings(), stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


@dataclass
class _Forked:
    """A process that is not our child: its number and its exit code come through a socket."""

    pid: int
    line: socket.socket
    code: int | None = field(default=None)

    def wait(self, timeout: float | None = None) -> int:
        self.line.settimeout(timeout)
        while self.code is None:
            self.code = _number(self.line)
            self.line.close()
        return self.code

    def poll(self) -> int | None:
        with contextlib.suppress(BlockingIOError):
            self.wait(0)
        return self.code


def _forked(words: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> _Forked:
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(_nursery(), [b"!"], [theirs.fileno(), *streams])
    wish = json.dumps([words, folder, environment]).encode()
    ours.sendall(struct.pack("i", len(wish)) + wish)
    return _Forked(_number(ours), ours)


def _number(line: socket.socket) -> int:
    """The next number that comes through a socket."""
    return int(struct.unpack("i", _bytes(line, 4))[0])


def _bytes(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = line.recv(size - len(found))
        if not piece:
            raise EOFError("the process that forks commands is gone")
        found += piece
    return found


@cache
def _nursery() -> socket.socket:
    """A line to the process that forks commands; it ends when the line is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__], stdin=theirs, stdout=subprocess.DEVNULL, env=surroundings(),
        )  # fmt: skip

    def close() -> None:
        ours.close()
        process.wait(10)

    atexit.register(close)
    return ours


def _serve() -> None:
    """Fork a process for every wish. Returns, in that process, when it is ready to be the command; else never."""
    for name in LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that no collection touches, and copies, what the forks share
    wishes = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is for the tests
    while True:
        asked, handles, _, _ = socket.recv_fds(wishes, 1, 4)
        if not asked:
            os._exit(0)
        if os.fork() == 0:
            wishes.close()
            return _watch(socket.socket(fileno=handles[0]), handles[1:])
        for handle in handles:
            os.close(handle)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # those that have ended


def _watch(line: socket.socket, streams: list[int]) -> None:
    """Fork once more: the child returns and is the command, the parent tells how it ends."""
    size = _number(line)
    words, folder, environment = json.loads(_bytes(line, size))
    child = os.fork()
    if child:
        for handle in (0, *streams):
            os.close(handle)
        line.sendall(struct.pack("i", child))
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(OSError):  # who asked may have gone
            line.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))
        os._exit(0)
    line.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, handle in enumerate(streams):
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["emo", *words]


if __name__ == "__main__":
    _serve()
    from emo_cli.cli.app import main

    main()
