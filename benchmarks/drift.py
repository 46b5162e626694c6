"""Whether a long video stays what it was: its last ten seconds beside its first, and clip borders beside the rest.

    python benchmarks/drift.py --model FOLDER [--photo examples/portrait.jpg] [--sound examples/song.wav] [--minutes 10]

The sound is repeated until it is long enough. Everything is denoised; ten-second stretches spread over the video are
drawn and tracked by the face mesh. Prints one JSON object: per statistic the first, the last and the spread of those
between, and the mean velocity across clip borders over that elsewhere (1 is invisible).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from emo_cli import portrait as portraits
from emo_cli import speech
from emo_cli.evaluation.stability import LUMA, sharpness
from emo_cli.face import FaceFinder
from emo_cli.networks.codec import Canvas, Motion, Strength
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings

ROOT = Path(__file__).parents[1]
STRETCH = 10.0  # seconds
BETWEEN = 4  # stretches that tell how much ten seconds differ anyway
EYES, MOUTH = (33, 263), (61, 291)


@dataclass
class Velocities:
    """Sums of the face's and the head's motion from one frame to the next, at clip borders and elsewhere."""

    face: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    head: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    before: tuple[torch.Tensor, torch.Tensor] | None = None

    def add(self, points: torch.Tensor, pose: torch.Tensor) -> None:
        """One clip: displacement (frames, 468, 3) in centimetres and pose (frames, 3) in degrees."""
        if self.before is not None:
            self.face[1].append(float((points[0] - self.before[0]).norm(dim=-1).mean()))
            self.head[1].append(float((pose[0] - self.before[1]).norm()))
        self.face[0].extend(points.diff(dim=0).norm(dim=-1).mean(-1).tolist())
        self.head[0].extend(pose.diff(dim=0).norm(dim=-1).tolist())
        self.before = points[-1], pose[-1]

    def ratios(self) -> dict[str, float]:
        """Mean velocity across borders over that inside clips."""
        return {
            name: round(float(np.mean(across) / np.mean(inside)), 3)
            for name, (inside, across) in (("face", self.face), ("head", self.head))
        }


def statistics(frames: list[np.ndarray]) -> dict[str, float]:
    """Means over one stretch: colour, sharpness, and where and how large the tracked face is, in pixels."""
    found = [points for points in FaceFinder().track(iter(frames)) if points is not None]
    points = np.stack(found)[..., :2]
    eyes = points[:, EYES[1]] - points[:, EYES[0]]
    mouth = points[:, MOUTH[1]] - points[:, MOUTH[0]]
    colour = np.mean([frame[::4, ::4].mean((0, 1)) for frame in frames], 0)
    return {
        **{name: float(value) for name, value in zip(("red", "green", "blue"), colour, strict=True)},
        "sharpness": float(np.mean([sharpness(frame @ LUMA) for frame in frames[::5]])),
        "eye_distance": float(np.linalg.norm(eyes, axis=1).mean()),
        "mouth_width": float(np.linalg.norm(mouth, axis=1).mean()),
        "centre_x": float(points[..., 0].mean()),
        "centre_y": float(points[..., 1].mean()),
        "frames_without_face": float(len(frames) - len(found)),
    }


def draw(pipeline: EmoPipeline, canvas: Canvas, motion: Motion, chosen: torch.Tensor) -> list[np.ndarray]:
    """The frames of a clip that are asked for."""
    if not bool(chosen.any()):
        return []
    gaze = None if motion.gaze is None else motion.gaze[chosen]
    part = Motion(motion.latents[chosen], motion.pose[chosen], motion.lids[chosen], gaze)
    return list(pipeline.codec.decode(canvas, part, Strength()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--photo", type=Path, default=ROOT / "examples" / "portrait.jpg")
    parser.add_argument("--sound", type=Path, default=ROOT / "examples" / "song.wav")
    parser.add_argument("--minutes", type=float, default=10.0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = EmoPipeline.from_pretrained(chosen.model)
    fps = pipeline.family.fps
    sound, seconds = speech.read(chosen.sound), chosen.minutes * 60
    long = replace(sound, samples=np.resize(sound.waveform, int(seconds * speech.RATE)), seconds=seconds)
    features = speech.encode(long, pipeline.sound_encoder, fps).features[:]
    total, stretch = len(features), int(STRETCH * fps)
    canvas = pipeline.codec.open(portraits.read(chosen.photo))
    starts = np.linspace(0, total - stretch, BETWEEN + 2).astype(int)
    stretches: list[list[np.ndarray]] = [[] for _ in starts]
    velocities, done, began = Velocities(), 0, time.process_time()
    mask = np.ones((8, 8), np.float32)
    for motion in pipeline.motions(canvas, mask, features, Settings(seed=0)):
        moved, _ = pipeline.codec.unpack(motion.latents)
        velocities.add(moved, motion.pose)
        frames = torch.arange(done, done + len(moved))
        for index, start in enumerate(starts):
            stretches[index] += draw(pipeline, canvas, motion, (frames >= start) & (frames < start + stretch))
        done += len(moved)
    rows = [statistics(frames) for frames in stretches]
    print(json.dumps(report(rows) | {"border_velocity_ratio": velocities.ratios(), "frames": done,
                                     "cpu_seconds": round(time.process_time() - began)}, indent=1))  # fmt: skip


def report(rows: list[dict[str, float]]) -> dict[str, object]:
    """First and last stretch, and their difference in standard deviations of the stretches between."""
    result = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        spread = float(np.std(values[1:-1], ddof=1))
        result[name] = {
            "first": round(values[0], 3),
            "last": round(values[-1], 3),
            "between": [round(min(values[1:-1]), 3), round(max(values[1:-1]), 3)],
            "difference_in_deviations": round(abs(values[-1] - values[0]) / max(spread * 2**0.5, 1e-6), 2),
        }
    return {"statistics": result}


if __name__ == "__main__":
    main()
