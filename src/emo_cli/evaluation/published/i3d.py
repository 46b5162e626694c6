"""The network of FVD: clips of a video in, 400 numbers each out.

It is I3D on colour pictures (Carreira & Zisserman 2017), which tells the 400 actions of Kinetics apart; FVD
(Unterthiner et al. 2018) compares what it says before the softmax. Its weights are published for PyTorch as
`rgb_imagenet.pt`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from emo_cli.evaluation.published.files import filled

SIDE, FRAMES, CLASSES = 224, 16, 400

Three = tuple[int, int, int]

# Widths of a block: straight, two of the first three-kernel way, two of the second, after pooling.
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
POOLED_BEFORE: dict[str, tuple[Three, Three]] = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
"""Where a pooling comes first: its kernel and its stride."""


class I3D(nn.Module):
    """Stem, nine blocks and the head under the names of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, (7, 7, 7), (2, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, (3, 3, 3))
        width = 192
        for name, widths in MIXED.items():
            self.add_module(name, Block(width, widths))
            width = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = Head(width)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Clips (batch, 3, frames, 224, 224) in -1..1, at least 9 frames -> (batch, 400), the mean over time."""
        x = self.Conv3d_1a_7x7(clips)
        for name in ("Conv3d_2b_1x1", "Conv3d_2c_3x3", *MIXED):
            if name in POOLED_BEFORE:
                x = pooled(x, *POOLED_BEFORE[name])
            x = self.get_submodule(name)(x)
        x = functional.avg_pool3d(x, (2, 7, 7), 1)
        return self.logits(x).mean((2, 3, 4))


def opened(path: Path) -> I3D:
    """The network of the published file."""
    return filled(I3D, path)


def prepared(frames: torch.Tensor) -> torch.Tensor:
    """Frames (time, 3, H, W), 0..255 -> one clip (1, 3, time, 224, 224) in -1..1."""
    size = (SIDE, SIDE)
    small = functional.interpolate(frames, size, mode="bilinear", align_corners=False)
    return (small / 127.5 - 1).transpose(0, 1)[None]


class Unit(nn.Module):
    """Convolution over time and picture, norm, ReLU; padded so that only the stride makes it smaller."""

    def __init__(self, width: int, out: int, kernel: Three = (1, 1, 1), stride: Three = (1, 1, 1)) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(width, out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(out, eps=0.001)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, time, H, W) -> (batch, out, time', H', W')."""
        return functional.relu(self.bn(self.conv3d(padded(x, self.kernel, self.stride))))


class Block(nn.Module):
    """Four ways: straight, two with kernels of three, and one after pooling."""

    def __init__(self, width: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        straight, first_in, first, second_in, second, after = widths
        three = (3, 3, 3)
        self.b0 = Unit(width, straight)
        self.b1a, self.b1b = Unit(width, first_in), Unit(first_in, first, three)
        self.b2a, self.b2b = Unit(width, second_in), Unit(second_in, second, three)
        self.b3b = Unit(width, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, time, H, W) -> (batch, all widths, time, H, W)."""
        beside = self.b3b(pooled(x, (3, 3, 3), (1, 1, 1)))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), beside], 1)


class Head(nn.Module):
    """What is seen, as one number per action."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(width, CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, time, H, W) -> (batch, 400, time, H, W)."""
        return self.conv3d(x)


def pooled(x: torch.Tensor, kernel: Three, stride: Three) -> torch.Tensor:
    """The highest value of each neighbourhood; nothing is below 0 here, so zeros around do no harm."""
    return functional.max_pool3d(padded(x, kernel, stride), kernel, stride)


def padded(x: torch.Tensor, kernel: Three, stride: Three) -> torch.Tensor:
    """Zeros around (batch, width, time, H, W): a side of n becomes n / stride, rounded up; the odd zero is behind."""
    sides: list[int] = []
    for length, reach, step in zip(x.shape[2:], kernel, stride, strict=True):
        missing = max(reach - (length % step or step), 0)
        sides = [missing // 2, missing - missing // 2, *sides]
    return functional.pad(x, sides)
