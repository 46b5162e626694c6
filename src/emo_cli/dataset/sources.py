"""Which videos are prepared, under which names, and which of them are finished already."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from emo_cli import scratch
from emo_cli.dataset.limits import Limits
from emo_cli.dataset.manifest import CLIPS, DroppedClip, TrainingClip, clip_of, dropped_of
from emo_cli.errors import InputError, UsageError

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")
WORK, SETTINGS, RECORDS = ".work", "settings.json", "sources"


@dataclass(frozen=True)
class Source:
    """A video to prepare. name: unique in the folder of clips, the beginning of its clips' names."""

    path: Path
    name: str

    @property
    def state(self) -> list[int]:
        """What changes when the file does: its size and time."""
        facts = self.path.stat()
        return [facts.st_size, facts.st_mtime_ns]


@dataclass(frozen=True)
class Outcome:
    """What one video gave."""

    clips: tuple[TrainingClip, ...]
    dropped: tuple[DroppedClip, ...]


def find_sources(videos: Sequence[Path]) -> list[Source]:
    """Every video that was named, and those in the folders that were, each once, in order. Raises InputError."""
    found = {path.resolve(): None for video in videos for path in _files(video)}
    if not found:
        raise InputError("No videos were found there. Name files, or folders with files such as talk.mp4.")
    return [Source(path, _name(path)) for path in found]


def _files(video: Path) -> Iterator[Path]:
    if video.is_dir():
        yield from sorted(path for path in video.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    elif video.is_file():
        yield video
    else:
        raise InputError(f"There is no file {video}. Check the name and the folder.")


def _name(path: Path) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:40] or "video"
    return f"{plain}-{sha256(os.fsencode(path)).hexdigest()[:6]}"


class ClipFolder:
    """A folder of clips in the making; each source's outcome is kept in a file of its own, written in one act."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def open(self, limits: Limits) -> None:
        """Make the folder, or go on with one that was begun with the same limits. Raises UsageError, OutputError."""
        told = json.loads(json.dumps(asdict(limits)))
        for name in (CLIPS, RECORDS):
            scratch.make_folder(self.data / name)
        settings = self.data / SETTINGS
        if not settings.exists():
            scratch.write_text(settings, json.dumps(told))
        elif json.loads(settings.read_text()) != told:
            raise UsageError(
                f"{self.data} was begun with other settings. Give the same ones to go on, or another folder for --out."
            )

    def outcome(self, source: Source) -> Outcome | None:
        """What a source gave in an earlier run; None if it is not finished, or its file has changed since."""
        return _outcome(self._record(source), source.state)

    def finish(self, source: Source, outcome: Outcome) -> None:
        """Keep a source's outcome: from now on it is finished."""
        rows = {name: [asdict(row) for row in getattr(outcome, name)] for name in ("clips", "dropped")}
        told = json.dumps({"state": source.state, **rows}, ensure_ascii=True)
        scratch.write_text(self._record(source), told)

    def others(self, sources: Iterable[Source]) -> Iterator[Outcome]:
        """What the sources of earlier runs gave that are not among these."""
        names = {source.name for source in sources}
        for place in sorted((self.data / RECORDS).glob("*.json")):
            outcome = None if place.stem in names else _outcome(place)
            if outcome is not None:
                yield outcome

    def fresh_work(self, source: Source) -> Path:
        """An empty folder for a source's passing files; what an earlier, killed attempt left is removed."""
        for left in (self.data / WORK).glob(f"{source.name}.*"):
            self.remove(left)
        for stray in (self.data / CLIPS).glob(f"*{source.name}-*"):
            stray.unlink(missing_ok=True)
        work = self.data / WORK / f"{source.name}.{os.getpid()}"
        work.mkdir(parents=True)
        return work

    def remove(self, work: Path) -> None:
        """Remove a source's passing files, and the folder they all lie in when it is empty."""
        shutil.rmtree(work, ignore_errors=True)
        with suppress(OSError):
            work.parent.rmdir()

    def _record(self, source: Source) -> Path:
        return self.data / RECORDS / f"{source.name}.json"


def _outcome(place: Path, state: list[int] | None = None) -> Outcome | None:
    """A record as it was kept; None if it cannot be read, or tells of another state of its source."""
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
        if state is not None and record["state"] != state:
            return None
        clips = tuple(clip_of(row, place, number) for number, row in enumerate(record["clips"], 1))
        return Outcome(clips, tuple(dropped_of(row, place, number) for number, row in enumerate(record["dropped"], 1)))
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None


def combined(outcomes: Iterable[Outcome]) -> Outcome:
    """Several sources' outcomes as one, in order."""
    kept = list(outcomes)
    clips = tuple(clip for outcome in kept for clip in outcome.clips)
    return Outcome(clips, tuple(row for outcome in kept for row in outcome.dropped))
