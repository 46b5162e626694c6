"""What one training step of full-size EMO needs in memory: computed on torch's meta device, without any weights.

    python benchmarks/training_memory.py --size 512 --batch 1

Activations and gradients are those alive at the largest moment of one forward and backward pass, in bfloat16. Weights
are float32, with two moments of AdamW, an average, and autocast's copies in bfloat16.
"""

from __future__ import annotations

import argparse
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from emo_cli.loading.memory import AliveBytes
from emo_cli.networks.conditions import FaceLocator, SpeedLayers, WindowProjection
from emo_cli.networks.unet import UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.training.emo.learner import Learner, Task
from emo_cli.training.emo.presets import EMO
from emo_cli.training.emo.stages import STAGES, Stage, unfreeze


class Fused(torch.autograd.Function):
    """Attention as the fused kernels do it: its inputs and its result are kept for the way back, no table."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        out = queries.new_empty(*queries.shape[:-1], values.shape[-1])
        ctx.save_for_backward(queries, keys, values, out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(torch.empty_like, ctx.saved_tensors[:3]))


def learner(stage: Stage) -> Learner:
    """EMO's networks at the paper's size, without numbers."""
    with torch.device("meta"):
        pipeline = EmoPipeline(
            family=EMO,
            reference_net=UNet(out_channels=None),
            backbone=UNet(
                cross="reference", audio_layers="plain", temporal=(True, True, True, False), speed="attention"
            ),
            codec=None,  # type: ignore[arg-type]
            sound_encoder=None,  # type: ignore[arg-type]
            sound_projection=WindowProjection(),
            face_locator=FaceLocator(),
            speed_layers=SpeedLayers(),
        )
        return Learner(pipeline, 5.0, still=not stage.moving).to("meta", torch.bfloat16)


def task(stage: Stage, batch: int, size: int) -> Task:
    """A batch of clips of one stage, without numbers."""
    side, frames = size // 8, EMO.window if stage.moving else 1

    def empty(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=torch.bfloat16, device="meta")

    return Task(
        clean=empty(batch, frames, 4, side, side),
        noise=empty(batch, frames, 4, side, side),
        t=torch.zeros(batch, dtype=torch.long, device="meta"),
        portrait=empty(batch, 4, side, side),
        earlier=empty(batch, EMO.motion_frames, 4, side, side) if stage.moving else None,
        face=empty(batch, 1, size, size),
        sound=empty(batch, frames, 5 * 12, 768) if stage.hears else None,
        speed=empty(batch, frames) if stage.paced else None,
    )


def step(stage: Stage, batch: int, size: int, recompute: bool) -> tuple[float, float, float, float]:
    """Millions of numbers, of those that learn; GB of weights and what belongs to them, GB of the pass itself."""
    networks = learner(stage)
    learning = unfreeze(networks, stage, False)
    networks.backbone.recompute = networks.reference_net.recompute = recompute
    everything, learned = (sum(p.numel() for p in group) for group in (networks.parameters(), learning))
    fused = patch.object(nn.functional, "scaled_dot_product_attention", Fused.apply)
    with torch.autograd.set_multithreading_enabled(False), fused, AliveBytes() as counted:
        loss = networks(task(stage, batch, size))["total"]
        loss.backward()
    kept = 4 * everything + (8 + 4) * learned + 2 * everything + 2 * learned  # gradients are half counted in the pass
    return everything / 1e6, learned / 1e6, kept / 1e9, counted.peak / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    print("stage  recompute  millions  learn  GB kept  GB of the pass  GB in all")
    for stage in STAGES:
        for recompute in (True, False):
            everything, learned, kept, passing = step(stage, options.batch, options.size, recompute)
            figures = f"{everything:8.0f} {learned:6.0f} {kept:8.1f} {passing:15.1f} {kept + passing:10.1f}"
            print(f"{stage.name:6} {recompute!s:9} {figures}", flush=True)


if __name__ == "__main__":
    main()
