"""Whether the lips of a mini model meet where people say p, b and m, and stay apart in their open vowels.

    python benchmarks/lips_on_people.py --model FOLDER --rig basis.npz [--languages en es fr it ru] [--count 40]

The recordings are those of `hearing_on_people.py`; here the whole model moves a face of the rig to them. A p, b or m
counts as met if the lips come within 2.7 mm in it or one frame beside it; of open vowels the share of frames is told in
which they do. `--closing` tries other places from which on the closure plane draws the lips together. One JSON line per
language.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from hearing_on_people import labels
from mini_motion import NEARLY_CLOSED, NO_MASK, gap
from spoken_prompts import LANGUAGES, Prompt, prompts

from emo_cli.evaluation.lips import OPEN_VOWELS
from emo_cli.networks.codec import Canvas
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings
from emo_cli.sound.resampler import RATE
from emo_cli.training.phones import PHONES
from emo_cli.training.rig import Rig
from emo_cli.training.targets import random_reference

FPS = 25


def spoken(pipeline: EmoPipeline, rig: Rig, prompt: Prompt, index: int) -> tuple[torch.Tensor, ...]:
    """Face (1, 468, 3), its displacement (frames, 468, 3) and closure (frames,) for one prompt."""
    frames = len(prompt.waveform) * FPS // RATE
    sound = pipeline.sound_encoder(torch.from_numpy(prompt.waveform.copy()), frames, FPS)
    canonical = random_reference(rig, 1, torch.Generator().manual_seed(index))
    canvas = Canvas(pipeline.codec.reference(canonical), None)
    motions = pipeline.motions(canvas, NO_MASK, sound, Settings(seed=index))
    moved, closure = pipeline.codec.unpack(torch.cat([motion.latents for motion in motions]))
    return canonical, moved, closure


def measured(
    pipeline: EmoPipeline, faces: list[tuple[torch.Tensor, ...]], heard: list[Prompt], closing: float
) -> dict[str, float]:
    """Shares of p, b, m met and of open vowels' frames shut."""
    met: list[bool] = []
    shut: list[bool] = []
    for (canonical, moved, closure), prompt in zip(faces, heard, strict=True):
        firm = pipeline.codec.drawn_together(closure, closing)
        gaps = gap(canonical[0] + pipeline.codec.close_lips(canonical, moved, firm))
        truth = labels(prompt.phones, 2 * len(gaps))[::2]
        inside = np.flatnonzero(np.diff(np.concatenate([[0], truth == PHONES.index("p"), [0]]).astype(int)))
        met += [gaps[max(0, a - 1) : b + 1].min() < NEARLY_CLOSED for a, b in inside.reshape(-1, 2)]
        open_vowels = np.isin(truth, [PHONES.index(name) for name in OPEN_VOWELS])
        shut += (gaps[open_vowels] < NEARLY_CLOSED).tolist()
    return {"met": round(float(np.mean(met)), 3), "shut_in_open_vowels": round(float(np.mean(shut)), 3)}


def main() -> None:
    """Prints the figures of up to --count prompts per language."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rig", type=Path, required=True)
    parser.add_argument("--languages", nargs="*", default=list(LANGUAGES), choices=list(LANGUAGES))
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--closing", type=float, nargs="*", default=[0.6])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pipeline, rig = EmoPipeline.from_pretrained(chosen.model), Rig.load(chosen.rig)
    for language in chosen.languages:
        heard = prompts(language, chosen.count)
        faces = [spoken(pipeline, rig, prompt, index) for index, prompt in enumerate(heard)]
        figures = {str(closing): measured(pipeline, faces, heard, closing) for closing in chosen.closing}
        print(json.dumps({"language": language, "prompts": len(heard), **figures}), flush=True)


if __name__ == "__main__":
    main()
