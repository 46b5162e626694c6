"""What a folder of training clips holds: one row per clip in manifest.jsonl, video and face track in clips/."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from emo_cli import scratch
from emo_cli.errors import InputError

MANIFEST, DROPPED, CLIPS = "manifest.jsonl", "dropped.jsonl", "clips"


@dataclass(frozen=True)
class TrainingClip:
    """One row of manifest.jsonl: a video of one face, clips/<name>.mp4 with its sound, and its track, clips/<name>.npz.

    name: unique in the folder. source: the video it was cut from; start: seconds into that; frames at fps, a square
    picture of `size` pixels. crop: x, y and side of the square in the source, pixels. loudness: dB of full scale.
    pose: mean yaw, pitch, roll, degrees (face/pose.py). speed: mean rotation speed of each, degrees per frame.
    background: how much what is around the face changes from frame to frame, 0..1 of full scale.
    agreement: correlation of the mouth's opening with the sound at the best shift, -1..1; lag: that shift in frames,
    positive where the sound comes late.
    """

    name: str
    source: str
    start: float
    frames: int
    fps: float
    size: int
    crop: tuple[float, float, float]
    loudness: float
    pose: tuple[float, float, float]
    speed: tuple[float, float, float]
    background: float = 0.0
    agreement: float = 0.0
    lag: int = 0

    @property
    def seconds(self) -> float:
        """How long the clip is."""
        return self.frames / self.fps


@dataclass(frozen=True)
class DroppedClip:
    """One row of dropped.jsonl: a stretch of a source that is no clip, and why. start and stop: seconds into it.

    reason: a word of `limits.REASONS`; detail: one sentence with what was measured.
    """

    source: str
    start: float
    stop: float
    reason: str
    detail: str


@dataclass(frozen=True)
class Track:
    """A face through a clip, float32, one row per frame.

    boxes: (frames, 4) x0, y0, x1, y1 of the face, in pixels of the clip. points: (frames, 478, 3) landmarks, pixels of
    the clip, z in the same unit and smaller when nearer. pose: (frames, 6) yaw, pitch, roll in degrees, x, y, scale
    (face/pose.py). speed: (frames, 3) rotation speed, degrees per frame.
    """

    boxes: np.ndarray
    points: np.ndarray
    pose: np.ndarray
    speed: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


_ROW_SHAPES = {"boxes": (4,), "points": (478, 3), "pose": (6,), "speed": (3,)}


def video_of(data: Path, clip: TrainingClip) -> Path:
    """A clip's video, with its sound track."""
    return data / CLIPS / f"{clip.name}.mp4"


def track_of(data: Path, clip: TrainingClip) -> Path:
    """A clip's face track."""
    return data / CLIPS / f"{clip.name}.npz"


def read_manifest(data: Path) -> list[TrainingClip]:
    """All clips of a folder that `emo dataset prepare` made. Raises InputError if it is none, or a row is broken."""
    return [clip_of(row, data / MANIFEST, number) for number, row in _rows(data / MANIFEST)]


def read_dropped(data: Path) -> list[DroppedClip]:
    """What was not taken, and why; nothing if the folder does not tell. Raises InputError if a row is broken."""
    if not (data / DROPPED).exists():
        return []
    return [dropped_of(row, data / DROPPED, number) for number, row in _rows(data / DROPPED)]


def write_manifest(data: Path, clips: Iterable[TrainingClip], dropped: Iterable[DroppedClip] = ()) -> None:
    """Replace a folder's two lists, each in one act, with rows in the order given. Raises OutputError."""
    for name, rows in ((DROPPED, dropped), (MANIFEST, clips)):
        lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows]
        scratch.write_text(data / name, "".join(lines))


def read_track(path: Path, frames: int | None = None) -> Track:
    """A face track. frames: how many rows it must have. Raises InputError if it cannot be read or does not fit."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name].astype(np.float32) for name in _ROW_SHAPES}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no face track ({error}). Prepare the clips again.") from error
    count = len(arrays["points"]) if frames is None else frames
    wrong = [name for name, shape in _ROW_SHAPES.items() if arrays[name].shape != (count, *shape)]
    if wrong:
        raise InputError(f"The {wrong[0]} in {path} do not have one row for each of {count} frames. Prepare it again.")
    return Track(**arrays)


def write_track(path: Path, track: Track) -> None:
    """Write a face track whole or not at all. Raises OutputError."""
    with scratch.replaced(path) as part:
        np.savez(part, **{name: getattr(track, name).astype(np.float32) for name in _ROW_SHAPES})


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file with the numbers of their lines."""
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}). Make the folder with `emo dataset prepare`."
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"Line {number} of {path} is not JSON ({error}). Prepare the folder again.") from error
        if not isinstance(row, dict):
            raise InputError(f"Line {number} of {path} is no object. Prepare the folder again.")
        yield number, row


def clip_of(row: dict[str, Any], path: Path, number: int) -> TrainingClip:
    """A row as it was read from line `number` of `path`. Raises InputError."""
    try:
        known = {field.name: row[field.name] for field in fields(TrainingClip) if field.name in row}
        for name in ("crop", "pose", "speed"):
            known[name] = tuple(float(value) for value in known[name])
        clip = TrainingClip(**known)
        sound = clip.frames > 0 and clip.fps > 0 and clip.size > 0 and isinstance(clip.name, str)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"Line {number} of {path} describes no clip ({error}). Prepare the folder again.") from error
    if not sound or Path(clip.name).name != clip.name or len(clip.speed) != 3:
        raise InputError(f"Line {number} of {path} describes no clip that can be. Prepare the folder again.")
    return clip


def dropped_of(row: dict[str, Any], path: Path, number: int) -> DroppedClip:
    """A row of what was not taken. Raises InputError."""
    try:
        return DroppedClip(**{field.name: row[field.name] for field in fields(DroppedClip)})
    except (KeyError, TypeError) as error:
        raise InputError(f"Line {number} of {path} tells no reason ({error}). Prepare the folder again.") from error
