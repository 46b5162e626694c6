"""What the controls do: --speed, --motion, --expression and --lips over their range, measured in the finished frames.

    python benchmarks/controls.py --model FOLDER [--photo PHOTO] [--sound SOUND] [--seconds 8]

For each value of each control the portrait is animated and the face mesh tracks the frames: mean head speed in degrees
per frame, how far the head strays from its mean in degrees, how much the brows' height over the eyes varies and how
much the lips' opening does, both in hundredths of the distance between the eyes. The head's speed is the mean over
several seeds. Prints one JSON line per control, with whether its curve rises all the way.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from emo_cli import portrait as portraits
from emo_cli import speech
from emo_cli.face import FaceFinder
from emo_cli.face.pose import poses
from emo_cli.networks.codec import Strength
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings

ROOT = Path(__file__).parents[1]
EYES, LIPS, BROWS = (33, 263), (13, 14), ((105, 133), (334, 362))
SEEDS = 3


def head_speed(points: np.ndarray) -> float:
    """Degrees per frame of points (frames, 478, 3); a tracker's own tremble is smoothed away first."""
    angles = poses(points)[:, :3]
    smooth = np.stack([np.convolve(column, np.full(5, 0.2), "valid") for column in angles.T], 1)
    return float(np.linalg.norm(np.diff(smooth, axis=0), axis=1).mean())


def head_spread(points: np.ndarray) -> float:
    """Root mean square of the head's turn from its mean, degrees."""
    angles = poses(points)[:, :3]
    return float(np.sqrt(np.square(angles - angles.mean(0)).sum(1).mean()))


def brows(points: np.ndarray) -> float:
    """Standard deviation of the brows' distance from the inner corners of the eyes, which no blink moves, in hundredths
    of the eyes' distance."""
    heights = [_distance(points, *pair) for pair in BROWS]
    return float(100 * np.std(np.mean(heights, axis=0)))


def lips(points: np.ndarray) -> float:
    """Standard deviation of the inner lips' gap, in hundredths of the eyes' distance."""
    return float(100 * np.std(_distance(points, *LIPS)))


def _distance(points: np.ndarray, one: int, other: int) -> np.ndarray:
    apart = np.linalg.norm(points[:, one, :2] - points[:, other, :2], axis=1)
    return np.asarray(apart / np.linalg.norm(points[:, EYES[0], :2] - points[:, EYES[1], :2], axis=1))


Curve = tuple[str, tuple[float, ...], Callable[[np.ndarray], float], int]
CONTROLS: tuple[Curve, ...] = (
    ("speed", (0.3, 0.5, 0.75, 1.0, 1.25, 1.5), head_speed, SEEDS),
    ("motion", (0.0, 0.5, 1.0, 1.5), head_spread, 1),
    ("expression", (0.0, 0.5, 1.0, 1.5), brows, 1),
    ("lips", (0.0, 0.5, 1.0, 1.5), lips, 1),
)


def settings(control: str, value: float, seed: int) -> Settings:
    """Everything as usual but for one control; the head is held still where the face is measured."""
    if control == "speed":
        return Settings(seed=seed, speed=value)
    still = Strength() if control == "motion" else Strength(motion=0.0)
    return Settings(seed=seed, strength=replace(still, **{control: value}))


def main() -> None:
    """Animate, track, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--photo", type=Path, default=ROOT / "examples" / "portrait.jpg")
    parser.add_argument("--sound", type=Path, default=ROOT / "examples" / "song.wav")
    parser.add_argument("--seconds", type=float, default=8.0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pipeline, finder = EmoPipeline.from_pretrained(chosen.model), FaceFinder()
    portrait = portraits.read(chosen.photo)
    sound = speech.read(chosen.sound, duration=chosen.seconds)
    heard = speech.encode(sound, pipeline.sound_encoder, pipeline.family.fps)
    for control, values, measure, seeds in CONTROLS:
        curve = []
        for value in values:
            found = []
            for seed in range(seeds):
                frames = pipeline.frames(portrait, heard, settings(control, value, seed))
                tracked = [points for points in finder.track(frames) if points is not None]
                found.append(measure(np.stack(tracked)))
            curve.append(round(float(np.mean(found)), 3))
        rising = all(low < high for low, high in pairwise(curve))
        print(json.dumps({control: dict(zip(map(str, values), curve, strict=True)), "rising": rising}), flush=True)


if __name__ == "__main__":
    main()
