"""Runs the bundled ffmpeg: pictures and sound in or out, its words when it fails, no process left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import imageio_ffmpeg

from emo_cli import scratch
from emo_cli.errors import DeviceError


def program() -> str:
    """Where ffmpeg is. Raises DeviceError when neither the package's own nor another one is found."""
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise DeviceError(
            "ffmpeg was not found; reinstall imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to your ffmpeg."
        ) from error


def input_file(path: Path) -> list[str]:
    """Arguments that open a file of the user as a file: never as a web address, an option or a pattern."""
    return ["-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]


@dataclass(frozen=True)
class Running:
    """An ffmpeg at work. `stdin` takes its input and `stdout` gives its output, where they were asked for."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def write(self, data: bytes | memoryview) -> bool:
        """Feeds one piece of input; False when ffmpeg has stopped listening."""
        try:
            self.stdin.write(data)
        except OSError:
            return False
        return True

    def failure(self, patience: float = 600.0) -> str | None:
        """Ends the input, waits up to `patience` seconds, and gives ffmpeg's last words when it failed."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return f"no answer for {patience:.0f} seconds"
        if code == 0:
            return None
        return self.last_words() or f"it ended with code {code}"

    def last_words(self) -> str:
        """The first complaint of ffmpeg, which names the cause; the later ones only follow from it."""
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").splitlines()
        first = next((line for line in lines if line.strip()), "")
        while first.startswith("[") and "] " in first:
            first = first.split("] ", 1)[1]
        return first.removeprefix("Error opening input: ").strip().rstrip(".")


@contextlib.contextmanager
def running(
    arguments: Sequence[str],
    feed: bool = False,
    output: int | IO[bytes] = subprocess.DEVNULL,
    limit: float | None = None,
) -> Iterator[Running]:
    """One ffmpeg for the length of a `with` block; killed when the block is left before it has ended.

    feed: give it a standard input. output: where its standard output goes (subprocess.PIPE to read it here).
    limit: seconds after which it is killed in any case.
    """
    command = [program(), "-hide_banner", "-nostdin", "-loglevel", "error", *arguments]
    with scratch.nameless() as errors:
        process = _started(command, feed, output, errors)
        alarm = threading.Timer(limit, process.kill) if limit is not None else None
        try:
            if alarm is not None:
                alarm.daemon = True
                alarm.start()
            yield Running(process, errors)
        finally:
            if alarm is not None:
                alarm.cancel()
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()


def _started(command: list[str], feed: bool, output: int | IO[bytes], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            # Ctrl-C in the terminal must reach us alone: ffmpeg would finish a video that nobody wants.
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    except OSError as error:
        raise DeviceError(f"{command[0]} does not run ({error.strerror}); reinstall imageio-ffmpeg.") from error
