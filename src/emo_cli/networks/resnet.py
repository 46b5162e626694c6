"""The UNet's layers without attention: time embedding, residual blocks, halving and doubling of the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from emo_cli.networks.reuse import Change, anew

FEW = 2  # that many times fewer pixels than channels are few


def timestep_features(t: Tensor, width: int) -> Tensor:
    """Cosines and sines of t (any shape) -> (..., width), as in Stable Diffusion."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(10000.0) / half))
    angles = t[..., None].float() * rates
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class TimeEmbedding(nn.Module):
    """Two linear layers on the timestep's features."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(width, embedding), nn.Linear(embedding, embedding)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.linear_2(functional.silu(self.linear_1(features)))
        return out


class PictureConvolution(nn.Conv2d):
    """A 3x3 convolution; of few pixels and many channels it is one product of matrices on a processor.

    Convolutions there rearrange their weights in every call, which outlasts the arithmetic of a few pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, _, height, width = x.shape
        if x.device.type != "cpu" or FEW * rows * height * width > self.out_channels:
            return super().forward(x)
        around = functional.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)  # (rows, channels, h, w, 3, 3)
        around = around.permute(0, 2, 3, 1, 4, 5).reshape(rows * height * width, -1)
        out = functional.linear(around, self.weight.flatten(1), self.bias)
        return out.unflatten(0, (rows, height, width)).permute(0, 3, 1, 2).contiguous()


class ResnetBlock(nn.Module):
    """Two convolutions with a residual; the time embedding is added, or scales and shifts the second norm."""

    def __init__(self, narrow: int, wide: int, embedding: int, groups: int, scale_shift: bool) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.norm1, self.conv1 = nn.GroupNorm(groups, narrow), PictureConvolution(narrow, wide, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, 2 * wide if scale_shift else wide)
        self.norm2, self.conv2 = nn.GroupNorm(groups, wide), PictureConvolution(wide, wide, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(narrow, wide, 1) if narrow != wide else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor, change: Change = anew) -> Tensor:
        out: Tensor = self.conv_shortcut(x) + change(lambda: self._change(x, embedding))
        return out

    def _change(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.conv1(functional.silu(self.norm1(x)))
        time = self.time_emb_proj(embedding)[..., None, None]
        if self.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            hidden = torch.addcmul(shift, self.norm2(hidden), 1 + scale)
        else:
            hidden = self.norm2(hidden + time)
        out: Tensor = self.conv2(functional.silu(hidden))
        return out


class DoublingConvolution(nn.Conv2d):
    """Nearest doubling, or enlarging to another size, and a 3x3 convolution."""

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        if size is None or tuple(size) == (2 * x.shape[-2], 2 * x.shape[-1]):
            return doubled(x, self.weight, self.bias)
        return super().forward(functional.interpolate(x, size=size, mode="nearest"))


class Resample(nn.Module):
    """Half (stride 2) or double (nearest) the picture, then a 3x3 convolution."""

    def __init__(self, channels: int, out_channels: int, down: bool) -> None:
        super().__init__()
        self.down = down
        kind, stride = (nn.Conv2d, 2) if down else (DoublingConvolution, 1)
        self.conv = kind(channels, out_channels, 3, stride, padding=1)

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        out: Tensor = self.conv(x) if self.down else self.conv(x, size)
        return out


# Which of the three weights along an axis each of the four places of the transposed convolution sums up.
SHARED_PLACES = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]], device="cpu")


def doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Nearest doubling and a 3x3 convolution in one step: x (rows, in, h, w) -> (rows, out, 2h, 2w).

    Of the nine places that the convolution reads, only four differ, since every place is there four times. Adding up
    the weights of equal places first gives a 4x4 transposed convolution with 4/9 of the arithmetic.
    """
    sums = torch.kron(SHARED_PLACES, SHARED_PLACES).T.to(weight)  # (9, 16)
    shared = weight.transpose(0, 1).flatten(2) @ sums  # (in, out, 16)
    return functional.conv_transpose2d(x, shared.unflatten(2, (4, 4)), bias, stride=2, padding=1)
