"""How well lips could move by what the sound encoder hears: expressions told frame by frame, nothing denoised.

    python benchmarks/heard.py --run RUN --corpus SPEECH --rig basis.npz --minutes 4 --out heard

Trains a perceptron from the ten sound tokens of a frame to the rig's expressions and closure, on the takes of a run of
`emo train`, for `--minutes` of one process; then measures it as `mini_motion.py` measures mini. Its means are smoother
and smaller than motion is; what counts is `gap_r`, which no network that hears the same tokens can exceed by much.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mini_motion import mouth
from torch import Tensor, nn

from emo_cli.pipeline import EmoPipeline
from emo_cli.sound.encoders import MiniHearing
from emo_cli.training.bank import Take, act, draw
from emo_cli.training.corpus import load
from emo_cli.training.loop import Randomness, Schedule, run
from emo_cli.training.rig import Rig
from emo_cli.training.stages import TrainOptions, takes_of
from emo_cli.training.targets import displacement

WIDTH = 512


def loss(network: nn.Module, takes: list[Take], randomness: Randomness) -> dict[str, Tensor]:
    """Squared error of the expressions and the closure of 48 clips of 20 frames."""
    clips = draw(takes, 48, 20, 10, randomness.choice)
    true = torch.cat([clips.weights, clips.closure[..., None]], -1)
    return {"total": (network(clips.sound.flatten(2)) - true).square().sum(-1).mean()}


def main() -> None:
    """Train, or go on with what --out holds, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--run", "--corpus", "--rig", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rig, hearing = Rig.load(chosen.rig), MiniHearing.from_pretrained(chosen.run / "hearing").eval()
    takes = takes_of(TrainOptions(chosen.rig, chosen.run), chosen.corpus, hearing, rig)
    sizes = (10 * takes[0].features.shape[1], WIDTH, WIDTH, takes[0].weights.shape[1] + 1)
    layers = [nn.Linear(sizes[0], sizes[1]), nn.GELU(), nn.Linear(sizes[1], sizes[2]), nn.GELU()]
    network = nn.Sequential(*layers, nn.Linear(sizes[2], sizes[3]))
    schedule = Schedule(steps=chosen.steps, rate=1e-3, minutes=chosen.minutes)
    run(network, network.parameters(), partial(loss, network, takes), schedule, chosen.out, 0, print)
    network.eval()
    pipeline = EmoPipeline.from_pretrained(chosen.run / "model")

    @torch.no_grad()
    def moved(canonical: Tensor, sound: Tensor) -> Tensor:
        told = network(sound.flatten(1))[None]
        return displacement(rig, pipeline.codec, canonical, told[..., :-1], told[..., -1].clamp(0, 1))[0]

    random = np.random.default_rng(7)
    spoken = [item for item in load(chosen.corpus, "unseen voices") if item.voice != "none" and len(item.mel) >= 160]
    found = mouth(pipeline, rig, [act(item, hearing, rig, random) for item in spoken[:24]], moved)
    print(json.dumps({"heard": found}))


if __name__ == "__main__":
    main()
