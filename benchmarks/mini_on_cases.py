"""How well a model's lips agree with those of ten published talking portraits, on sounds it never heard.

    python benchmarks/mini_on_cases.py --model FOLDER --cases CASES [--sheet frames.png]

CASES holds a folder per case, named by a number: `ref.jpg`, the portrait; `aud.mp3`, its sound; `gt.mp4`, the published
result; `tracked.json`, whose "mouth_opening" is what `opening` gives for each of its frames, null without a face. The
published ones are among the test samples of V-Express; they are not ours to hand on.

Animates each case's portrait with its sound, tracks the result with our own face mesh, and correlates the mouth's
opening with the published result's (`tracked.json`) at lags of -5..5 frames. Prints one JSON line per case, then means.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from emo_cli import portrait as portraits
from emo_cli import speech
from emo_cli.face import FaceFinder
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings

LARGEST_LAG = 5
EVERY = 12  # frames between two pictures of the sheet


def opening(landmarks: np.ndarray) -> float:
    """Inner-lip gap over the distance of the outer eye corners."""
    points = landmarks[:, :2]
    return float(np.linalg.norm(points[13] - points[14]) / np.linalg.norm(points[33] - points[263]))


def best_lag(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, int]:
    """The largest correlation and its lag; positive: we are late."""
    found = []
    for lag in range(-LARGEST_LAG, LARGEST_LAG + 1):
        a, b = (ours[lag:], theirs[: len(theirs) - lag]) if lag >= 0 else (ours[:lag], theirs[-lag:])
        size = min(len(a), len(b))
        found.append((float(np.corrcoef(a[:size], b[:size])[0, 1]), lag))
    return max(found)


def tracked(path: Path) -> np.ndarray:
    """The published result's opening, gaps filled in."""
    curve = np.array([np.nan if v is None else v for v in json.loads(path.read_text())["mouth_opening"]], float)
    known = np.isfinite(curve)
    return np.interp(np.arange(len(curve)), np.flatnonzero(known), curve[known])


def kept(frames: Iterator[np.ndarray], sheet: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass frames on and keep some."""
    for index, frame in enumerate(frames):
        if index % EVERY == 0:
            sheet.append(frame)
        yield frame


def run_case(pipeline: EmoPipeline, folder: Path, settings: Settings, sheet: list[np.ndarray]) -> dict[str, object]:
    """Animate, track and compare one case."""
    began = time.process_time()
    portrait = portraits.read(folder / "ref.jpg")
    sound = speech.encode(speech.read(folder / "aud.mp3"), pipeline.sound_encoder, pipeline.family.fps)
    frames = kept(pipeline.frames(portrait, sound, settings), sheet)
    finder = FaceFinder()
    curve = [np.nan if points is None else opening(points) for points in finder.track(frames)]
    ours, theirs = np.array(curve), tracked(folder / "tracked.json")
    seen = np.isfinite(ours)
    filled = np.interp(np.arange(len(ours)), np.flatnonzero(seen), ours[seen])
    size = min(len(filled), len(theirs))
    r, lag = best_lag(filled[:size], theirs[:size])
    at_zero = float(np.corrcoef(filled[:size], theirs[:size])[0, 1])
    return {
        "case": folder.name,
        "frames": len(ours),
        "r": round(r, 3),
        "lag": lag,
        "r_at_lag_0": round(at_zero, 3),
        "amplitude": round(float(filled.std() / theirs.std()), 2),
        "frames_without_face": int((~seen).sum()),
        "cpu_seconds_per_second": round((time.process_time() - began) / (len(ours) / pipeline.family.fps), 2),
    }


def tile(sheets: list[list[np.ndarray]], columns: int) -> Image.Image:
    """One row of frames per case."""
    rows = [np.hstack([np.asarray(Image.fromarray(f).resize((192, 192))) for f in row[:columns]]) for row in sheets]
    return Image.fromarray(np.vstack(rows))


def main() -> None:
    """Run all cases and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = EmoPipeline.from_pretrained(chosen.model)
    settings = Settings(seed=0, steps=chosen.steps, guidance=chosen.guidance)
    sheets: list[list[np.ndarray]] = []
    rows = []
    for folder in sorted((p for p in chosen.cases.iterdir() if p.is_dir()), key=lambda p: int(p.name)):
        if chosen.only and folder.name not in chosen.only:
            continue
        sheets.append([])
        rows.append(run_case(pipeline, folder, settings, sheets[-1]))
        print(json.dumps(rows[-1]), flush=True)
    means = {name: round(float(np.mean([row[name] for row in rows])), 3) for name in ("r", "r_at_lag_0", "amplitude")}
    print(json.dumps({"mean": means}))
    if chosen.sheet:
        tile(sheets, 12).save(chosen.sheet)


if __name__ == "__main__":
    main()
