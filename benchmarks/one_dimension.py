"""How far a plain model without pictures gets: expression weights denoised along time, as a measure for mini.

    python benchmarks/one_dimension.py --run RUN --corpus SPEECH --rig basis.npz --minutes 20 --out one_dimension

Trains a temporal transformer (1.7 million parameters) on the takes of a run of `emo train`, with the same schedule of
noise and the same motion frames, for `--minutes` of one process; then measures it as `mini_motion.py` measures mini. It
knows neither the photo's face nor its chart: what it says is acted out by the rig, which mini has to learn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mini_motion import mouth
from torch import Tensor, nn

from emo_cli.networks.unet import TimeEmbedding, timestep_features
from emo_cli.pipeline import EmoPipeline
from emo_cli.sampling import SHIFT, flow_steps, shifted
from emo_cli.sound.encoders import MiniHearing
from emo_cli.training.bank import Take, act, draw
from emo_cli.training.corpus import load
from emo_cli.training.loop import Randomness, Schedule, run
from emo_cli.training.rig import Rig
from emo_cli.training.stages import TrainOptions, takes_of
from emo_cli.training.targets import displacement

KNOWN, NEW, WIDTH = 4, 16, 160
FRAMES = KNOWN + NEW


class OneDimension(nn.Module):
    """Noisy weights (batch, 20, n), their times (batch, 20), sound (batch, 20, 10, width) -> clean weights."""

    def __init__(self, numbers: int, sound: int) -> None:
        super().__init__()
        self.enter, self.hear = nn.Linear(numbers, WIDTH), nn.Linear(sound, WIDTH)
        self.time = TimeEmbedding(WIDTH, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(FRAMES, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 5, enable_nested_tensor=False)
        self.leave = nn.Linear(WIDTH, numbers)

    def forward(self, noisy: Tensor, times: Tensor, sound: Tensor) -> Tensor:
        """See the class."""
        told = self.hear(sound.flatten(2)) + self.time(timestep_features(1000 * times, WIDTH))
        said: Tensor = self.leave(self.layers(self.enter(noisy) + told + self.position))
        return said


def packed(weights: Tensor, closure: Tensor, spread: Tensor) -> Tensor:
    """Weights (..., 53) and closure (...) as numbers of unit size (..., 54)."""
    return torch.cat([weights, closure[..., None]], -1) / spread


def loss(network: OneDimension, takes: list[Take], spread: Tensor, randomness: Randomness) -> dict[str, Tensor]:
    """Denoising and velocity error of 48 clips, weighted as in emo_cli/training/objective.py."""
    clips = draw(takes, 48, FRAMES, 10, randomness.choice)
    clean = packed(clips.weights, clips.closure, spread)
    t = shifted(torch.rand(len(clean), generator=randomness.noise), SHIFT)
    first = torch.rand(len(clean), generator=randomness.noise) < 0.25
    times = t[:, None].repeat(1, FRAMES)
    times[:, :KNOWN] = first.float()[:, None]
    noise = torch.randn(clean.shape, generator=randomness.noise)
    said = network((1 - times[..., None]) * clean + times[..., None] * noise, times, clips.sound)
    scale = (1 / t.clamp(min=0.15) ** 2).clamp(max=8)
    error = (said - clean)[:, KNOWN:].square().mean((1, 2)) * scale / scale.mean()
    velocity = (said.diff(dim=1) - clean.diff(dim=1)).square().mean()
    return {"total": error.mean() + 0.5 * velocity}


@torch.no_grad()
def generate(network: OneDimension, sound: Tensor, spread: Tensor, steps: int = 6) -> tuple[Tensor, Tensor]:
    """Weights (1, frames, 53) and closure (1, frames) for sound (frames, 10, width), clip after clip."""
    generator, frames = torch.Generator().manual_seed(0), len(sound)
    made = torch.zeros(0, len(spread))
    while len(made) < frames:
        known = KNOWN if len(made) else 0
        rows = (torch.arange(len(made) - KNOWN, len(made) + NEW)).clamp(0, frames - 1)
        clip = torch.randn(1, FRAMES, len(spread), generator=generator)
        if known:
            clip[0, :KNOWN] = made[-KNOWN:]
        for step in flow_steps(steps):
            times = torch.full((1, FRAMES), step.t)
            times[:, :KNOWN] = 0.0 if known else 1.0
            said = network(clip, times, sound[rows][None])
            clip[:, KNOWN:] = (said + step.next_t / step.t * (clip - said))[:, KNOWN:]
        made = torch.cat([made, clip[0, KNOWN:]])
    numbers = made[:frames] * spread
    return numbers[None, :, :-1], numbers[None, :, -1].clamp(0, 1)


@dataclass(frozen=True)
class Lesson:
    """What a measure of mini learns from and is measured on: a run of `emo train` and its corpus."""

    chosen: argparse.Namespace
    rig: Rig
    hearing: MiniHearing
    takes: list[Take]

    @staticmethod
    def asked(description: str | None, steps: int) -> Lesson:
        """As the command line says."""
        parser = argparse.ArgumentParser(description=description)
        for name in ("--run", "--corpus", "--rig", "--out"):
            parser.add_argument(name, type=Path, required=True)
        parser.add_argument("--minutes", type=float, required=True)
        parser.add_argument("--steps", type=int, default=steps)
        chosen = parser.parse_args()
        torch.set_num_threads(1)
        torch.manual_seed(0)
        rig, hearing = Rig.load(chosen.rig), MiniHearing.from_pretrained(chosen.run / "hearing").eval()
        return Lesson(chosen, rig, hearing, takes_of(TrainOptions(chosen.rig, chosen.run), chosen.corpus, hearing, rig))

    def learn(self, network: nn.Module, loss: Callable[[list[Take], Randomness], dict[str, Tensor]]) -> None:
        """Train, or go on with what --out holds."""
        chosen = self.chosen
        schedule = Schedule(steps=chosen.steps, rate=1e-3, minutes=chosen.minutes)
        run(network, network.parameters(), partial(loss, self.takes), schedule, chosen.out, 0, print)
        network.eval()

    def measure(self, acted: Callable[[Tensor], tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Agreement with the teacher.

        acted: sound (frames, 10, width) -> weights (1, frames, 53), closure (1, frames).
        """
        pipeline = EmoPipeline.from_pretrained(self.chosen.run / "model")
        held, random = load(self.chosen.corpus, "unseen voices"), np.random.default_rng(7)
        spoken = [item for item in held if item.voice != "none" and len(item.mel) >= 160]
        takes = [act(item, self.hearing, self.rig, random) for item in spoken[:24]]

        def moved(canonical: Tensor, sound: Tensor) -> Tensor:
            return displacement(self.rig, pipeline.codec, canonical, *acted(sound))[0]

        return mouth(pipeline, self.rig, takes, moved)


def main() -> None:
    """Train, or go on with what --out holds, and measure."""
    lesson = Lesson.asked(__doc__, steps=8000)
    some = draw(lesson.takes, 256, FRAMES, 10, np.random.default_rng(1))
    spread = torch.cat([some.weights, some.closure[..., None]], -1).flatten(0, 1).std(0) + 0.05
    network = OneDimension(len(spread), some.sound[0, 0].numel())
    lesson.learn(network, lambda takes, randomness: loss(network, takes, spread, randomness))
    found = lesson.measure(lambda sound: generate(network, sound, spread))
    print(json.dumps({"one dimension": found}))


if __name__ == "__main__":
    main()
