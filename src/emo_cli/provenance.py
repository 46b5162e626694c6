"""What is written into a video about how it was made, so that anyone can see that a model made it; and reading it.

Plain MP4 tags that every player and ffprobe can read: a sentence for people, and one JSON record for programs
with the settings that make the same video again. No file names and nothing about the user; photo, sound and weights
stand there as hashes, by which only who has them can tell that they were the ones.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emo_cli import __version__, footage

# The IPTC's word for media made wholly by a trained model, as content credentials use it.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@dataclass(frozen=True)
class Recipe:
    """All that decides what a video looks like.

    size: side of the animated square; start, duration: seconds of the sound's part, None for all the rest; weights:
    `weights.fingerprint` of the model; photo, sound, separator: sha256 of the files' bytes. None where a caller
    does not know.
    """

    model: str
    seed: int
    steps: int
    guidance: float
    motion: float
    expression: float
    lips: float
    speed: float
    fps: float
    framing: str
    region: float = 1.0
    quality: str = "best"
    size: int | None = None
    face: str = "largest"
    start: float = 0.0
    duration: float | None = None
    vocals: str = "auto"
    separator: str | None = None
    weights: str | None = None
    photo: str | None = None
    sound: str | None = None


@dataclass(frozen=True)
class Marks:
    """What a video says about how it was made: a sentence and a record, None if it is not one of ours."""

    file: Path
    description: str | None
    record: dict[str, Any] | None


def record(recipe: Recipe) -> dict[str, Any]:
    """The recipe for programs, with the words for what made it."""
    return {"generator": f"emo {__version__}", "digitalSourceType": SOURCE_TYPE, **asdict(recipe)}


def sentence(recipe: Recipe) -> str:
    """The recipe for people."""
    return f"Made by a generative model: emo {__version__}, model {recipe.model}. Not a recording."


def tags(recipe: Recipe) -> dict[str, str]:
    """MP4 tags by their names in ffmpeg; only names that MP4 itself knows, since others are dropped."""
    text = json.dumps(record(recipe), ensure_ascii=False, separators=(",", ":"))
    return {"description": sentence(recipe), "comment": text}


def read(path: Path) -> Marks:
    """What a video says about how it was made. Raises InputError when it cannot be read as one."""
    found = footage.tags(path)
    try:
        told = json.loads(found.get("comment", ""))
    except ValueError:
        told = None
    ours = isinstance(told, dict) and str(told.get("generator", "")).startswith("emo ")
    return Marks(path, found.get("description") if ours else None, told if ours else None)
