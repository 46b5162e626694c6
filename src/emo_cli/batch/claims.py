"""Who makes which video: a file that only one process can create, so that no job is done twice, on one machine or many.

A claim is `KEY.1`. When its process is dead, another takes the job over by creating `KEY.2`, and so on; the highest
number holds. A process of this machine is dead when it is gone, one elsewhere when its file was not touched for long.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

BEAT = 15.0  # seconds between two touches of a claim
SILENCE = 120.0  # seconds after which a process on another machine is taken for dead


@dataclass(frozen=True)
class Holder:
    """Who holds a claim. place: where process numbers mean the same; began: when the process began, as the system
    counts; token: of this one claim."""

    host: str
    place: str
    pid: int
    began: str
    token: str

    @classmethod
    def here(cls) -> Holder:
        """A new claim of this process."""
        return cls(socket.gethostname(), _place(), os.getpid(), _began(os.getpid()), uuid4().hex)

    def is_gone(self) -> bool | None:
        """Whether the process has ended; None where that cannot be known from here."""
        if self.place != _place():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return _began(self.pid) != self.began


class Claim:
    """A job that is ours, inside a `with` block; touched all the while. lost: another has taken it over."""

    def __init__(self, path: Path, mine: Holder) -> None:
        self.path = path
        self.lost = threading.Event()
        self._mine = mine
        self._over = threading.Event()
        self._pulse = threading.Thread(target=self._beat, name="emo-claim", daemon=True)

    def __enter__(self) -> Self:
        self._pulse.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._pulse.join()
        for path, _ in reversed(_claims(self.path.parent, self.path.stem)):
            if _number(path) <= _number(self.path):
                path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            try:
                os.utime(self.path)
                found = _claims(self.path.parent, self.path.stem)
            except OSError:
                continue  # a shared folder may be away for a while
            if not found or found[-1][1] != self._mine:
                self.lost.set()


def claim(folder: Path, key: str) -> Claim | None:
    """Take a job, or None while another process that lives has it."""
    before = _claims(folder, key)
    if before and not _dead(*before[-1]):
        return None
    number = _number(before[-1][0]) + 1 if before else 1
    mine, path = Holder.here(), folder / f"{key}.{number}"
    if not _created(path, mine):
        return None
    # Another may have looked at the same time. Its higher claim, or a lower one that we did not see, goes before ours.
    others = [claimed for claimed in _claims(folder, key) if claimed[1] != mine]
    if any(claimed not in before for claimed in others):
        path.unlink(missing_ok=True)
        return None
    _sweep(folder, key)
    return Claim(path, mine)


def _sweep(folder: Path, key: str) -> None:
    """Remove the beginnings of claims that killed processes have left."""
    for left in folder.glob(f".{key}.*"):
        with contextlib.suppress(OSError):  # whoever is at it removes its own
            if _dead(left, _holder(left)):
                left.unlink(missing_ok=True)


def _created(path: Path, mine: Holder) -> bool:
    """Create a claim whole, in one act: it is written under another name and then linked to its own."""
    beside = path.with_name(f".{path.stem}.{mine.token}")
    beside.write_text(json.dumps(asdict(mine)), encoding="utf-8")
    try:
        os.link(beside, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        return _written(path, beside)
    finally:
        beside.unlink(missing_ok=True)
    return True


def _written(path: Path, source: Path) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        return False
    return True


def _claims(folder: Path, key: str) -> list[tuple[Path, Holder | None]]:
    """The claims of a job, the one that holds last; None for one that cannot be read."""
    paths = sorted((path for path in folder.glob(f"{key}.*") if path.suffix[1:].isdecimal()), key=_number)
    return [(path, holder) for path in paths if (holder := _holder(path)) is not None or path.exists()]


def _holder(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _dead(path: Path, holder: Holder | None) -> bool:
    gone = holder.is_gone() if holder else None
    return _silence(path) > SILENCE if gone is None else gone


def _silence(path: Path) -> float:
    """Seconds since a file was touched, by the clock of the disk it is on; 0 if it is not there any more."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as now:
            return os.fstat(now.fileno()).st_mtime - path.stat().st_mtime
    except OSError:
        return 0.0


def _place() -> str:
    """The machine since it was started, and the part of it in which process numbers are counted."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # not Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _began(pid: int) -> str:
    """When a process began, so that a number that is used again does not deceive; empty where that is not told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
