"""A picture as the lowest cosines of its blocks: an autoencoder that needs no learning, for models of toy size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as functional
from torch import Tensor

from emo_cli.stored import StoredNetwork, recorded

# Brightness and two differences of colour: orthogonal, each of length 1.
AXES = ((1 / 3**0.5,) * 3, (1 / 2**0.5, -1 / 2**0.5, 0.0), (1 / 6**0.5, 1 / 6**0.5, -2 / 6**0.5))
SPREAD, COLOUR, FALL = 4.0, 0.4, 1.5
"""Of natural pictures: deviation of a block's mean, of colour beside brightness, and how finer cosines fall off."""


@dataclass(frozen=True)
class Coded:
    """What encoding gives, named as in diffusers: the latents are `latent_dist.mean`."""

    mean: Tensor

    @property
    def latent_dist(self) -> Coded:
        return self


@dataclass(frozen=True)
class Decoded:
    """What decoding gives, named as in diffusers."""

    sample: Tensor


class BlockTransform(StoredNetwork):
    """Stands where Stable Diffusion's autoencoder stands (networks/codec.py), with as coarse a grid.

    Each block of 8 x 8 pixels becomes the amplitudes of its `bright` (bright + 1) / 2 lowest cosines of brightness and
    the lowest of both differences of colour, divided by what they usually are. Finer detail is lost.
    """

    basis: Tensor
    usual: Tensor

    @recorded
    def __init__(self, block: int = 8, bright: int = 4, colour: int = 2, scale: float = 0.18215) -> None:
        super().__init__()
        self.block = block
        place = (torch.arange(block) + 0.5) * (math.pi / block)
        rows = [torch.cos(place * k) * (2 / block if k else 1 / block) ** 0.5 for k in range(block)]
        basis, usual = [], []
        for axis, most in zip(AXES, (bright, colour, colour), strict=True):
            lowest = [(u, v) for u in range(most) for v in range(most - u)]
            basis += [torch.tensor(axis)[:, None, None] * rows[u][:, None] * rows[v] for u, v in lowest]
            share = scale * SPREAD * (1 if axis is AXES[0] else COLOUR)
            usual += [share / (1 + u + v) ** FALL for u, v in lowest]
        self.channels = len(basis)
        self.register_buffer("basis", torch.stack(basis), persistent=False)  # (channels, 3, block, block)
        self.register_buffer("usual", torch.tensor(usual)[:, None, None], persistent=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A transform of this configuration."""
        return cls(**config)

    def encode(self, pixels: Tensor) -> Coded:
        """Pixels (frames, 3, H, W) in -1..1 -> latents (frames, channels, H / 8, W / 8), not yet times SCALE."""
        return Coded(functional.conv2d(pixels, self.basis, stride=self.block) / self.usual)

    def decode(self, latents: Tensor) -> Decoded:
        """Latents -> pixels."""
        return Decoded(functional.conv_transpose2d(latents * self.usual, self.basis, stride=self.block))
