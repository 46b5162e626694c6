"""A straight full-size call of EchoMimic's Backbone, without any of our savings, held against ours in one run.

    python benchmarks/naive.py [--side 32] [--frames 4] [--rounds 3] [--attention fused] [--dtype float32]

Both halves of guidance go through as one batch, as the authors' code has it: every block attends to the portrait for
both, then again without it for the silent half; the portrait is projected to keys and values anew for every frame, the
sound too, and zeros stand for silence; a picture is doubled first and then convolved. The weights are the same random
ones, and so must the prediction be. Times are CPU time of this process, the two in turns; the ratio is the median of
the rounds. --attention plain writes attention out as two products and a softmax instead of torch's fused one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from denoiser_call import MODELS, Size, call, filled, portrait_features
from torch import Tensor
from torch.nn import functional

from emo_cli.networks.unet import Conditions, Reference, UNet

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as its formula has it."""
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1) @ v


ATTENTION: dict[str, Attend] = {"fused": functional.scaled_dot_product_attention, "plain": written_out}


@dataclass(frozen=True)
class Given:
    """What a call takes. portrait: hidden states (1, tokens, width) per block; sound (frames, tokens, width); face:
    (1, channels, h, w)."""

    portrait: tuple[Tensor, ...]
    sound: Tensor
    face: Tensor


class Naive:
    """The Backbone's layers, called one after another; weights are those of a UNet of ours."""

    def __init__(self, network: UNet, given: Given, attend: Attend) -> None:
        self.network, self.given, self.attend = network, given, attend

    def __call__(self, latents: Tensor, t: Tensor) -> Tensor:
        """The silent and the hearing prediction (2, frames, channels, h, w)."""
        network, frames = self.network, latents.shape[1]
        embedding = network.embed(t.expand(2), frames, None)
        x = network.conv_in(torch.cat([latents, latents]).flatten(0, 1))
        x = x + torch.cat([torch.zeros_like(self.given.face), self.given.face]).repeat_interleave(frames, 0)
        portrait, skips = iter(self.given.portrait), [x]
        for level in network.down_blocks:
            for index in range(len(level.resnets)):
                x = self._layer(level, index, x, embedding, portrait)
                skips.append(x)
            if level.halves:
                x = level.downsamplers[0](x)
                skips.append(x)
        middle = network.mid_block
        x = self._resnet(middle.resnets[1], self._layer(middle, 0, x, embedding, portrait), embedding)
        for level in network.up_blocks:
            for index in range(len(level.resnets)):
                x = self._layer(level, index, torch.cat([x, skips.pop()], 1), embedding, portrait)
            if level.doubles:
                conv = level.upsamplers[0].conv
                x = functional.conv2d(functional.interpolate(x, scale_factor=2.0), conv.weight, conv.bias, padding=1)
        x = network.conv_out(functional.silu(network.conv_norm_out(x)))
        return x.unflatten(0, (2, frames))

    def _layer(self, level: Any, index: int, x: Tensor, embedding: Tensor, portrait: Iterator[Tensor]) -> Tensor:
        x = self._resnet(level.resnets[index], x, embedding)
        if "attention" in level.kinds:
            transformer = level.attentions[index]
            x = transformer.picture(self._block(transformer.block, transformer.tokens(x), next(portrait)), x)
        return level.motion_modules[index](x, len(x) // 2, None, None)

    def _resnet(self, block: Any, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = functional.silu(block.norm1(x))
        hidden = functional.conv2d(hidden, block.conv1.weight, block.conv1.bias, padding=1)
        hidden = functional.silu(block.norm2(hidden + block.time_emb_proj(embedding)[..., None, None]))
        return block.conv_shortcut(x) + functional.conv2d(hidden, block.conv2.weight, block.conv2.bias, padding=1)

    def _block(self, block: Any, x: Tensor, portrait: Tensor) -> Tensor:
        """x (2 * frames, tokens, width), the silent half first."""
        rows = len(x) // 2
        normed = block.norm1(x)
        everywhere = torch.cat([normed, portrait.expand(len(x), -1, -1)], dim=1)
        x, silent = x + self._attention(block.attn1, normed, everywhere), x[:rows]
        alone = silent + self._attention(block.attn1, normed[:rows], normed[:rows])
        x = torch.cat([alone, x[rows:]])
        sound = torch.cat([torch.zeros_like(self.given.sound), self.given.sound])
        x = x + block.cross_scale * self._attention(block.attn2, block.norm2(x), sound)
        return x + block.ff(block.norm3(x))

    def _attention(self, layer: Any, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (layer._split(part) for part in (layer.to_q(x), layer.to_k(context), layer.to_v(context)))
        return layer.to_out[0](self.attend(q, k, v).transpose(1, 2).flatten(2))


@torch.no_grad()
def compared(size: Size, rounds: int, attend: Attend, dtype: torch.dtype) -> dict[str, float]:
    """CPU seconds of both, the ratio, and the largest difference of the predictions beside their own size."""
    model = MODELS["EchoMimic"]
    network = filled(model, dtype)
    chance = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance).to(dtype)

    seen = tuple(drawn(*like.shape) for like in portrait_features(network, network.conv_in.weight, size))
    tokens, width = model.tokens
    given = Given(seen, drawn(size.frames, tokens, width), drawn(1, 320, size.side, size.side))
    latents, t = drawn(1, size.frames, 4, size.side, size.side), torch.tensor([999.0])
    kept = network.remember(Reference(seen))  # once per video
    naive = Naive(network, given, attend)

    def ours() -> Tensor:
        heard = network.listen(given.sound[None])  # once per window: part of the call
        return call(network, (Conditions(reference=kept, audio=heard, face=given.face), Conditions()), latents, t)

    times: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        began = time.process_time()
        straight = naive(latents, t).sum(0)
        middle = time.process_time()
        mine = ours()[0]
        times.append((middle - began, time.process_time() - middle))
    times = times[1:] or times  # the first one warms up
    return {
        "naive_seconds": round(min(row[0] for row in times), 2),
        "our_seconds": round(min(row[1] for row in times), 2),
        "ratio": round(median(row[1] / row[0] for row in times), 3),
        "largest_difference": float((straight - mine).abs().max() / mine.abs().max()),
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32, help="of the latents: an eighth of the picture's")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="after one that warms up; 0 counts that one")
    parser.add_argument("--attention", choices=list(ATTENTION), default="fused")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    chosen = parser.parse_args()
    size = Size(chosen.side, chosen.frames)
    found = compared(size, chosen.rounds, ATTENTION[chosen.attention], getattr(torch, chosen.dtype))
    print(json.dumps({"latents": chosen.side, "frames": chosen.frames, "attention": chosen.attention, **found}))


if __name__ == "__main__":
    main()
