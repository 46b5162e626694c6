"""How well the teacher alone moves the lips for real voices: what the sound encoder hears, acted out without a model.

    python benchmarks/teacher_on_cases.py --hearing FOLDER --rig rig.npz --cases CASES

The mouth's opening on the average face is compared with that of ten published talking portraits, as in
mini_on_cases.py, for two ways to the curves: "heard", the encoder's own curves, and "phones", its likeliest phones
given to the teacher anew. The second shows what a change of the teacher does without training anything. Prints one
JSON line per case and way, then means.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from mini_on_cases import best_lag, opening, tracked

from emo_cli import speech
from emo_cli.face.landmarks import triangles
from emo_cli.sound.encoders import Heard, MiniHearing
from emo_cli.training.articulation import CURVES, Articulation, curves, to_frames
from emo_cli.training.fitting import fit_codec
from emo_cli.training.phones import PHONES, Phone
from emo_cli.training.rig import Rig
from emo_cli.training.targets import displacement, expression_weights

FPS = 25.0


def likeliest(heard: Heard) -> list[Phone]:
    """The phones of the likeliest label per row, smoothed over three rows (60 ms)."""
    chances = heard.phones[0].softmax(-1)
    smooth = torch.nn.functional.avg_pool1d(chances.T[None], 3, 1, 1, count_include_pad=False)[0]
    labels = smooth.argmax(0).tolist()
    edges = [0, *(row for row in range(1, len(labels)) if labels[row] != labels[row - 1]), len(labels)]
    return [Phone(a / 50, b / 50, PHONES[labels[a]]) for a, b in pairwise(edges)]


def ways(heard: Heard) -> dict[str, np.ndarray]:
    """Curves (frames, 10) at 25 fps by each way."""
    loudness = heard.loudness[0].clamp(0, 1.4).repeat_interleave(2).numpy()
    raw = heard.curves[0].repeat_interleave(2, 0).clamp(min=0).numpy()
    acted = curves(likeliest(heard), loudness)
    own = Articulation(raw, acted.labels, loudness)
    return {"heard": to_frames(own, FPS), "phones": to_frames(acted, FPS)}


def openings(rig: Rig, movement: np.ndarray) -> np.ndarray:
    """The mouth's opening (frames,) of the average face."""
    codec = fit_codec(rig, torch.from_numpy(triangles()))
    face = rig.mean[None]
    weights = expression_weights(rig.names, torch.from_numpy(movement))[None]
    closure = torch.from_numpy(movement[:, CURVES.index("close")])[None].clamp(0, 1)
    moved = face[:, None] + displacement(rig, codec, face, weights, closure)
    return np.array([opening(points) for points in moved[0].numpy()])


def main() -> None:
    """Run all cases and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hearing", type=Path, required=True)
    parser.add_argument("--rig", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    hearing, rig = MiniHearing.from_pretrained(chosen.hearing), Rig.load(chosen.rig)
    rows: dict[str, list[tuple[float, float, int]]] = {}
    for folder in sorted((p for p in chosen.cases.iterdir() if p.is_dir()), key=lambda p: int(p.name)):
        theirs = tracked(folder / "tracked.json")
        with torch.no_grad():
            heard = hearing.heads(hearing.rows(torch.from_numpy(speech.read(folder / "aud.mp3").waveform))[None])
        for way, movement in ways(heard).items():
            ours = openings(rig, movement)
            size = min(len(ours), len(theirs))
            r, lag = best_lag(ours[:size], theirs[:size])
            amplitude = float(ours.std() / theirs.std())
            rows.setdefault(way, []).append((r, amplitude, lag))
            print(json.dumps({"case": folder.name, "way": way, "r": round(r, 3), "amplitude": round(amplitude, 2)}))
    for way, found in rows.items():
        r, amplitude, lag = (round(float(np.mean(values)), 3) for values in zip(*found, strict=True))
        print(json.dumps({"mean": way, "r": r, "amplitude": amplitude, "lag": lag}))


if __name__ == "__main__":
    main()
