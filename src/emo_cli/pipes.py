"""`-` in the place of a file: the photo or the sound from standard input, the video to standard output."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import IO

from emo_cli.errors import InputError, UsageError

STANDARD = Path("-")
LARGEST_PHOTO = 2**29  # bytes; more is no photo but a pipe that never ends


def check(photo: Path, sound: Path, output: Path) -> None:
    """Raises UsageError when the same pipe would have to carry two things, or a terminal a video."""
    if photo == sound == STANDARD:
        raise UsageError("Photo and sound cannot both come from standard input; give one of them as a file.")
    if STANDARD in (photo, sound):
        incoming()
    if output == STANDARD:
        outgoing()


def incoming() -> IO[bytes]:
    """Standard input; UsageError where a person would have to type the bytes."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("Nothing comes in where - was given; pipe a file into the command, or name one.")
    return sys.stdin.buffer


def outgoing() -> IO[bytes]:
    """Standard output; UsageError where it would fill a person's screen."""
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("A video is nothing for a terminal; pipe it into a program, or give -o a file.")
    return sys.stdout.buffer


def photo(path: Path) -> Path | bytes:
    """The photo's path, or its bytes from standard input."""
    if path != STANDARD:
        return path
    content = incoming().read(LARGEST_PHOTO + 1)
    if len(content) > LARGEST_PHOTO:
        raise InputError("The photo from standard input is larger than 512 MiB; check the command that feeds it.")
    return content


def sound(path: Path) -> Path | IO[bytes]:
    """The sound's path, or standard input."""
    return incoming() if path == STANDARD else path


def reader_is_gone(pipe: IO[bytes]) -> bool:
    """Whether nobody will ever read what is written into a pipe; False where the system cannot tell."""
    if os.name != "posix":
        return False
    watch = select.poll()
    watch.register(pipe, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))
