"""Photos, sounds and a small model for tests of `emo batch`, and the command as a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import emo_cli
from made_sound import wav

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"
EMO = [sys.executable, "-m", "emo_cli"]
SURROUNDINGS = {
    **os.environ, "PYTHONPATH": str(Path(emo_cli.__file__).parents[1]), "OMP_NUM_THREADS": "1", "COLUMNS": "100",
}  # fmt: skip
QUICK = ("--size", "128", "--steps", "1")


@dataclass(frozen=True)
class Said:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of --json."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def ends(self) -> list[str]:
        """How the jobs ended, in their order."""
        return [record["status"] for record in sorted(self.records, key=lambda record: record["number"])]


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


def command(*arguments: str | Path) -> list[str]:
    """The words of a run of `emo batch`."""
    return [*EMO, "batch", *map(str, arguments)]


def batch(*arguments: str | Path, folder: Path | None = None, given: str | None = None) -> Said:
    """Run `emo batch` to its end."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True, text=True, cwd=folder, env=SURROUNDINGS, input=given or "", timeout=300,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def videos(folder: Path) -> dict[str, str]:
    """Every video of a folder with the hash of its bytes."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.mp4"))}


def leftovers(folder: Path) -> list[str]:
    """What lies in a batch's folder besides videos, reports and the records of finished jobs."""
    kept = {path for path in folder.glob("*.mp4")} | set(folder.glob("report*")) | set(folder.glob(".emo-batch/jobs/*"))
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path not in kept)
