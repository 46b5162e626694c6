"""What one denoiser call of the large published models costs: arithmetic, seconds and memory, with random weights.

    python benchmarks/denoiser_call.py                 counts arithmetic on the meta device; takes seconds and no memory
    python benchmarks/denoiser_call.py --run float32   also makes the call on this CPU (5.3 GB of weights)

A call is one prediction with guidance: with the sound, and without. What is made once per video, such as the portrait's
keys and values, is no part of it. Against the authors' code ours leaves out: attention of the silent half to the
portrait and to the sound, and keys and values of the portrait for every frame. Attention weighs more in large pictures,
so the saving is larger at 512 pixels (latents of 64 x 64), where the models are used, than at 256.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from emo_cli.checkpoints.echomimic import AUDIO_SCALE
from emo_cli.networks.audio import RegionMasks
from emo_cli.networks.unet import Conditions, Reference, UNet

AHEAD = 2  # motion frames of Hallo
TIMES = torch.tensor([999.0])


@dataclass(frozen=True)
class Size:
    """Latents (frames, 4, side, side) of one call."""

    side: int
    frames: int


USUAL = Size(32, 4)


@dataclass(frozen=True)
class Model:
    """A model's Backbone at full size, what its authors' code needs for a call, and how ours is called.

    official: TFLOP of the authors' code for a call of a size, attention included.
    """

    official: Mapping[Size, float]
    config: dict[str, Any]
    tokens: tuple[int, int]  # of sound per frame, and their width
    conditions: Callable[[UNet, Size], tuple[Conditions, Conditions]]


def portrait(network: UNet, like: Tensor, size: Size) -> tuple[Any, ...]:
    """Keys and values of a portrait's features, made once per video and so no part of a call."""
    return network.remember(Reference(portrait_features(network, like, size)))


def portrait_features(network: UNet, like: Tensor, size: Size) -> tuple[Tensor, ...]:
    """A portrait's features of zeros (1, tokens, width), block after block."""
    seen = []
    for block in network.spatial_blocks():
        width = block.norm1.weight.shape[0]
        scale = 2 ** [320, 640, 1280].index(width)
        seen.append(like.new_zeros(1, (size.side // scale) ** 2, width))
    # The deepest level is as wide as the one above it; the middle block is the deepest one's.
    seen[_middle(network)] = like.new_zeros(1, (size.side // 8) ** 2, 1280)
    return tuple(seen)


def _middle(network: UNet) -> int:
    names = [name for name, module in network.named_modules() if module in set(network.spatial_blocks())]
    return next(index for index, name in enumerate(names) if name.startswith("mid_block"))


def echomimic(network: UNet, size: Size) -> tuple[Conditions, Conditions]:
    """With the sound, and without."""
    like = network.conv_in.weight
    full = Conditions(
        reference=portrait(network, like, size),
        audio=network.listen(like.new_zeros(1, size.frames, 50, 384)),
        face=like.new_zeros(1, 320, size.side, size.side),
    )
    return full, Conditions()


def hallo(network: UNet, size: Size) -> tuple[Conditions, Conditions]:
    """With the sound, and without; both see the frames before, the person's tokens and the regions."""
    like = network.conv_in.weight
    earlier = []
    for block in network.spatial_blocks():
        width = block.norm1.weight.shape[0]
        side = size.side // 2 ** [320, 640, 1280].index(width)
        earlier.append(like.new_zeros(1, AHEAD, width, side, side))
    earlier[_middle(network)] = like.new_zeros(1, AHEAD, 1280, size.side // 8, size.side // 8)
    masks = RegionMasks(tuple(like.new_ones(1, 3, (size.side >> level) ** 2, 1) for level in range(4)))
    person = network.recognise(like.new_zeros(1, 4, 768))
    shared = {"motion": tuple(earlier), "identity": person, "masks": masks}
    full = Conditions(
        reference=portrait(network, like, size),
        audio=network.listen(like.new_zeros(1, size.frames, 32, 768)),
        face=like.new_zeros(1, 320, size.side, size.side),
        **shared,
    )
    return full, Conditions(**shared)


MODELS = {
    "EchoMimic": Model(
        official={USUAL: 2.226, Size(64, 12): 32.17},
        config={"cross": "audio", "cross_width": 384, "audio_scale": AUDIO_SCALE, "temporal": (True,) * 4},
        tokens=(50, 384),
        conditions=echomimic,
    ),
    "Hallo": Model(
        official={USUAL: 2.96},
        config={"cross": "identity", "audio_layers": "hierarchical", "temporal": (True, True, True, False)},
        tokens=(32, 768),
        conditions=hallo,
    ),
}


def call(network: UNet, conditions: tuple[Conditions, Conditions], latents: Tensor, t: Tensor) -> Tensor:
    """One guided prediction."""
    full, silent = conditions
    if silent == Conditions():  # both halves in one batch: weights are fetched only once
        said = network(latents.repeat(2, 1, 1, 1, 1), t.repeat(2), replace(full, alone=1)).sample
        return said[:1] + said[1:]
    with_sound = network(latents, t, full).sample
    return with_sound + network(latents, t, silent).sample


@torch.no_grad()
def teraflops(model: Model, size: Size) -> tuple[float, float]:
    """TFLOP of a call, and of the keys and values of the sound, which are made anew in every call of EchoMimic."""
    with torch.device("meta"):
        network = UNet(**model.config).to("meta")
        latents = torch.zeros(1, size.frames, 4, size.side, size.side)
        t = torch.zeros(1)
    conditions = model.conditions(network, size)
    with FlopCounterMode(display=False) as counted:
        call(network, conditions, latents, t)
    with FlopCounterMode(display=False) as heard:
        network.listen(latents.new_zeros(1, size.frames, *model.tokens))
    return counted.get_total_flops() / 1e12, heard.get_total_flops() / 1e12


def filled(model: Model, dtype: torch.dtype) -> UNet:
    """A Backbone of random weights, none of them twice in memory."""
    with torch.device("meta"):
        network = UNet(**model.config)
    chance = torch.Generator().manual_seed(0)
    for holder in network.modules():
        for name, value in list(holder.named_parameters(recurse=False)):
            drawn = torch.empty(value.shape, dtype=dtype).normal_(0, 0.02, generator=chance)
            setattr(holder, name, torch.nn.Parameter(drawn, requires_grad=False))
    return network


@torch.no_grad()
def measured(model: Model, dtype: torch.dtype) -> tuple[float, float]:
    """Seconds of the second of two calls on this CPU, and the process's peak memory in GB."""
    network, chance = filled(model, dtype), torch.Generator().manual_seed(0)
    conditions = model.conditions(network, USUAL)
    latents = torch.randn(1, USUAL.frames, 4, USUAL.side, USUAL.side, generator=chance).to(dtype)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        said = call(network, conditions, latents, TIMES)
        seconds = time.perf_counter() - began
    assert torch.isfinite(said).all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, peak / (1e9 if sys.platform == "darwin" else 1e6)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", choices=("float32", "bfloat16"), help="make a call of EchoMimic in this precision")
    chosen = arguments.parse_args()
    print(f"{'model':<10} {'latents':>8} {'frames':>7} {'TFLOP':>7} {'of sound':>9} {'official':>9} {'ratio':>6}")
    for name, model in MODELS.items():
        for size, official in model.official.items():
            flops, heard = teraflops(model, size)
            ours = f"{size.side:>5}x{size.side} {size.frames:>7} {flops:7.3f} {heard:9.3f}"
            print(f"{name:<10} {ours} {official:9.3f} {(flops + heard) / official:6.3f}")
    if chosen.run:
        seconds, peak = measured(MODELS["EchoMimic"], getattr(torch, chosen.run))
        print(f"EchoMimic in {chosen.run}: {seconds:.1f} s per call, peak memory {peak:.1f} GB")


if __name__ == "__main__":
    main()
