"""Private places for temporary files, readable by their owner alone and gone when they are not needed any more; and
files that appear whole or not at all.

A file without a name goes with the process, however that ends. What other programs must open by name stands in a
folder of its own, which the process holds by a lock: the next `emo` removes the folders that nobody holds, as a process
that was killed leaves them.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from emo_cli.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

PREFIX = "emo-"
_LOCK = ".held"


def nameless() -> IO[bytes]:
    """A file for reading and writing that has no name. Raises OutputError where there is no room for it."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise no_room(error) from error


class PrivatePath(type(Path())):  # type: ignore[misc]
    """A temporary file that is removed with the last reference to it, or when Python ends."""


def named(ending: str) -> PrivatePath:
    """An empty file with a name, in a private folder. Raises OutputError where there is no room for it."""
    folder, lock = _held()
    path: PrivatePath = PrivatePath(folder, f"file{ending}")
    Path(path).touch(mode=0o600)
    weakref.finalize(path, _let_go, folder, lock)
    return path


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A private folder that is there inside the `with` block. Raises OutputError where there is no room for it."""
    place, lock = _held()
    try:
        yield place
    finally:
        _let_go(place, lock)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A private hidden file in the folder of a file that shall be made, for `settle`; else removed after the block.

    What killed processes have left of the same file goes first. Raises OSError where the folder cannot be written.
    """
    stem = path.stem.removeprefix(".")[:50]  # names have 255 bytes at most
    for left in path.parent.glob(f".{glob.escape(stem)}.part-*"):
        if is_free(left):
            left.unlink(missing_ok=True)
    part = path.with_name(f".{stem}.part-{secrets.token_hex(4)}{path.suffix}")
    lock = None
    try:
        lock = hold(part)
        yield part
    finally:
        part.unlink(missing_ok=True)
        if lock is not None:
            lock.close()


def settle(part: Path, path: Path) -> None:
    """Give a private file its name, and the permissions that a new file usually has. Raises OSError."""
    usual = os.umask(0o077)
    os.umask(usual)
    part.chmod(0o666 & ~usual)
    os.replace(part, path)


def make_folder(path: Path) -> None:
    """Make a folder of the user's, and those it lies in, if they are not there. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be made ({error.strerror}); choose another one.") from error


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A private file that becomes `path` after the block: whole, or not at all. Raises OutputError."""
    try:
        with beside(path) as part:
            yield part
            settle(part, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); check the disk and the folder.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all; names that are none stay as they are. Raises OutputError."""
    with replaced(path) as part:
        part.write_text(text, "utf-8", "surrogateescape")


def no_room(error: OSError) -> OutputError:
    """What to tell when a temporary file cannot be made or written."""
    place = tempfile.gettempdir() if error.filename is None else error.filename
    return OutputError(f"Nothing can be kept in {place} ({error.strerror}); free some room, or set TMPDIR to another.")


def is_free(lock: Path) -> bool:
    """Whether no process that lives holds a lock."""
    if fcntl is None:
        return False
    try:
        with lock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def hold(lock: Path) -> IO[bytes]:
    """A new private file that this process holds until it is closed. Raises OSError."""
    new = lock.with_name(f"{lock.name}.new")  # nobody may find it before it is held
    try:
        file = os.fdopen(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b")
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            file.close()  # what is open there can be neither renamed nor removed
        os.replace(new, lock)
    except BaseException:  # also a signal that asks the command to stop
        new.unlink(missing_ok=True)
        raise
    return file


def _held() -> tuple[Path, IO[bytes]]:
    """A new folder, and the lock in it."""
    try:
        place = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = hold(place / _LOCK)
    except OSError as error:
        raise no_room(error) from error
    _sweep(place.parent)
    return place, lock


def _let_go(place: Path, lock: IO[bytes]) -> None:
    shutil.rmtree(place, ignore_errors=True)
    lock.close()


def _sweep(place: Path) -> None:
    """Remove what this user's killed processes have left; a folder without a lock is one that is being made."""
    for left in place.glob(f"{PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            if left.lstat().st_uid == place.joinpath(left).stat().st_uid == os.getuid() and is_free(left):
                shutil.rmtree(left.parent, ignore_errors=True)
