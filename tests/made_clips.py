"""A folder of training clips as `emo dataset prepare` leaves it: drawn faces whose mouths open with the sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

from emo_cli import speech, video
from emo_cli.dataset.manifest import Track, TrainingClip, track_of, video_of, write_manifest, write_track

SIZE, FPS = 64, 25.0
COLOURS = (((224, 172, 140), (40, 60, 120)), ((120, 80, 60), (150, 190, 150)), ((250, 214, 190), (90, 40, 40)))


def write_clips(folder: Path, count: int = 3, frames: int = 30, seed: int = 0) -> list[TrainingClip]:
    """Write the folder; every clip has colours, a rhythm and a way to sway of its own."""
    (folder / "clips").mkdir(parents=True)
    clips = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        time = np.arange(frames) / FPS
        loud = 0.5 + 0.5 * np.sin(2 * np.pi * (2 + index) * time + random.uniform(0, 6))
        sway = 4 * np.sin(2 * np.pi * (0.5 + 0.4 * index) * time)
        clip = TrainingClip(
            f"clip-{index}", "drawn", 0.0, frames, FPS, SIZE, (0, 0, SIZE), -20.0, (0, 0, 0),
            (0.1 + 0.1 * index, 0, 0),
        )  # fmt: skip
        pictures = [face(*COLOURS[index % 3], shift, opening) for shift, opening in zip(sway, loud, strict=True)]
        _write_video(video_of(folder, clip), pictures, loud, random)
        write_track(track_of(folder, clip), _track(sway))
        clips.append(clip)
    write_manifest(folder, clips)
    return clips


def face(skin: tuple[int, ...], behind: tuple[int, ...], shift: float, opening: float) -> np.ndarray:
    """A face uint8 (64, 64, 3); shift: pixels to the right; opening: of the mouth, 0..1."""
    drawn = Image.new("RGB", (4 * SIZE, 4 * SIZE), behind)
    pen = ImageDraw.Draw(drawn)

    def ellipse(x: float, y: float, width: float, height: float, colour: tuple[int, ...]) -> None:
        box = ((x - width) * 4, (y - height) * 4, (x + width) * 4, (y + height) * 4)
        pen.ellipse(box, fill=colour)

    ellipse(32 + shift, 32, 17, 22, skin)
    for side in (-7, 7):
        ellipse(32 + shift + side, 27, 3, 2, (255, 255, 255))
        ellipse(32 + shift + side, 27, 1.5, 1.5, (30, 30, 30))
    ellipse(32 + shift, 43, 6, 0.7 + 5 * opening, (110, 20, 30))
    return np.asarray(drawn.resize((SIZE, SIZE), Image.Resampling.BOX))


def _write_video(path: Path, pictures: list[np.ndarray], loud: np.ndarray, random: np.random.Generator) -> None:
    level = np.interp(np.arange(len(loud) * 640) / 640, np.arange(len(loud)), loud)
    samples = level * random.normal(size=len(level))
    sound = path.with_suffix(".wav")
    soundfile.write(sound, 0.2 * samples, 16_000)
    video.write(path, pictures, FPS, speech.read(sound))
    sound.unlink()


def _track(sway: np.ndarray) -> Track:
    boxes = np.stack([np.array([15 + x, 10, 49 + x, 54]) for x in sway])
    points = np.zeros((len(sway), 478, 3))
    points[..., :2] = np.stack([np.tile([32 + x, 32], (478, 1)) for x in sway])
    speed = np.stack([np.abs(np.gradient(sway)), *np.zeros((2, len(sway)))], axis=1) * 0.3
    return Track(boxes, points, np.zeros((len(sway), 6)), speed)
