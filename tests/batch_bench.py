"""Photos and sounds for tests of `emo batch`, and what a run of it leaves behind."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emo_process import Said, emo
from made_sound import wav

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"
QUICK = ("--size", "128", "--steps", "1")


def tone(path: Path, seconds: float, pitch: float = 220.0) -> Path:
    """A sound file that is a tone."""
    samples = np.sin(np.arange(round(seconds * 16_000)) / 16_000 * 2 * np.pi * pitch) * 12_000
    return wav(path, samples)


def people(folder: Path, names: list[str], seconds: float = 0.4) -> Path:
    """A folder with a photo and a sound for each name."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        shutil.copy(small_photo(folder.parent), folder / f"{name}.jpg")
        tone(folder / f"{name}.wav", seconds, 200 + 20 * number)
    return folder


def small_photo(folder: Path) -> Path:
    """The example photo, small, so that its face is found quickly."""
    path = folder / "small.jpg"
    if not path.exists():
        Image.open(PHOTO).resize((256, 256)).save(path)
    return path


def batch(*arguments: str | Path, **where: Any) -> Said:
    """Run `emo batch` to its end; keywords as for `emo_process.begin`."""
    return emo("batch", *arguments, **where)


def videos(folder: Path) -> dict[str, str]:
    """Every video of a folder with the hash of its bytes."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.mp4"))}


def leftovers(folder: Path) -> list[str]:
    """What lies in a batch's folder besides videos, reports and the records of finished jobs."""
    kept = {path for path in folder.glob("*.mp4")} | set(folder.glob("report*")) | set(folder.glob(".emo-batch/jobs/*"))
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path not in kept)
