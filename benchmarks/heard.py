"""How well lips could move by what the sound encoder hears: expressions told frame by frame, nothing denoised.

    python benchmarks/heard.py --run RUN --corpus SPEECH --rig basis.npz --minutes 4 --out heard

Trains a perceptron from the ten sound tokens of a frame to the rig's expressions and closure, on the takes of a run of
`emo train`, for `--minutes` of one process; then measures it as `mini_motion.py` measures mini. Its means are smoother
and smaller than motion is; what counts is `gap_r`, which no network that hears the same tokens can exceed by much.
"""

from __future__ import annotations

import json
from functools import partial

import torch
from one_dimension import Lesson
from torch import Tensor, nn

from emo_cli.training.bank import Take, draw
from emo_cli.training.loop import Randomness

WIDTH = 512


def loss(network: nn.Module, takes: list[Take], randomness: Randomness) -> dict[str, Tensor]:
    """Squared error of the expressions and the closure of 48 clips of 20 frames."""
    clips = draw(takes, 48, 20, 10, randomness.choice)
    true = torch.cat([clips.weights, clips.closure[..., None]], -1)
    return {"total": (network(clips.sound.flatten(2)) - true).square().sum(-1).mean()}


@torch.no_grad()
def told(network: nn.Module, sound: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (1, frames, 53) and closure (1, frames) for sound (frames, 10, width)."""
    numbers = network(sound.flatten(1))[None]
    return numbers[..., :-1], numbers[..., -1].clamp(0, 1)


def main() -> None:
    """Train, or go on with what --out holds, and measure."""
    lesson = Lesson.asked(__doc__, steps=1500)
    take = lesson.takes[0]
    hidden = [nn.Linear(10 * take.features.shape[1], WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU()]
    network = nn.Sequential(*hidden, nn.Linear(WIDTH, take.weights.shape[1] + 1))
    lesson.learn(network, partial(loss, network))
    print(json.dumps({"heard": lesson.measure(partial(told, network))}))


if __name__ == "__main__":
    main()
