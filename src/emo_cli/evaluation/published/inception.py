"""The Inception network of FID: pictures in, 2048 numbers each out.

What it computes is TensorFlow's graph of 2015, which FID was defined with (Heusel et al. 2017); its weights are
published for PyTorch as `pt_inception-2015-12-05-6726825d.pth`. It differs from other Inception v3 networks: averages
leave the border out, and the last block takes the highest neighbour where the others average.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from emo_cli.evaluation.published.files import filled

SIDE, WIDTH, CLASSES = 299, 2048, 1008


class Layer(NamedTuple):
    """A convolution by its name in the file, its width, and its kernel: one side, or height and width."""

    name: str
    out: int
    kernel: int | tuple[int, int]
    stride: int = 1


Step = Layer | tuple[Layer, Layer] | str  # a fork has two layers side by side; a word is a pooling
Way = tuple[Step, ...]


class Inception(nn.Module):
    """Stem and eleven blocks under the names of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, padded=False)
        width = 192
        for name, ways in BLOCKS.items():
            block = Block(width, ways)
            self.add_module(name, block)
            width = block.width
        self.fc = nn.Linear(WIDTH, CLASSES)  # in the file, but FID looks at what comes before it

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (batch, 3, 299, 299) in -1..1 -> (batch, 2048)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pictures)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_shrunk(x)))
        x = _shrunk(x)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


def opened(path: Path) -> Inception:
    """The network of the published file."""
    return filled(Inception, path)


def prepared(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (batch, 3, H, W), 0..255 -> (batch, 3, 299, 299) in -1..1; two pixels per axis, as its authors do."""
    size = (SIDE, SIDE)
    return functional.interpolate(pictures / 255, size, mode="bilinear", align_corners=False) * 2 - 1


class Convolution(nn.Module):
    """Convolution, norm, ReLU; the picture keeps its size unless there is a stride or no padding."""

    def __init__(
        self, width: int, out: int, kernel: int | tuple[int, int], stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if padded and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(width, out, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, H, W) -> (batch, out, H', W')."""
        return functional.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Several ways through the same input, their results one behind another."""

    def __init__(self, width: int, ways: tuple[Way, ...]) -> None:
        super().__init__()
        self.ways = ways
        self.width = sum(self._build(width, way) for way in ways)

    def _build(self, width: int, way: Way) -> int:
        """Make the convolutions of one way; gives the width at its end."""
        for step in way:
            layers = _layers(step)
            for layer in layers:
                self.add_module(layer.name, Convolution(width, layer.out, layer.kernel, layer.stride))
            width = sum(layer.out for layer in layers) or width
        return width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, H, W) -> (batch, all widths, H', W')."""
        return torch.cat([self._along(x, way) for way in self.ways], 1)

    def _along(self, x: torch.Tensor, way: Way) -> torch.Tensor:
        for step in way:
            if isinstance(step, str):
                x = POOLS[step](x)
            else:
                x = torch.cat([self.get_submodule(layer.name)(x) for layer in _layers(step)], 1)
        return x


def _layers(step: Step) -> tuple[Layer, ...]:
    if isinstance(step, str):
        return ()
    return (step,) if isinstance(step, Layer) else step


def _shrunk(x: torch.Tensor) -> torch.Tensor:
    return functional.max_pool2d(x, 3, 2)


def _averaged(x: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _highest(x: torch.Tensor) -> torch.Tensor:
    return functional.max_pool2d(x, 3, 1, 1)


def _small(pooled: int) -> tuple[Way, ...]:
    """Blocks at 35 x 35."""
    return (
        (Layer("branch1x1", 64, 1),),
        (Layer("branch5x5_1", 48, 1), Layer("branch5x5_2", 64, 5)),
        (Layer("branch3x3dbl_1", 64, 1), Layer("branch3x3dbl_2", 96, 3), Layer("branch3x3dbl_3", 96, 3)),
        ("average", Layer("branch_pool", pooled, 1)),
    )


def _long(inner: int) -> tuple[Way, ...]:
    """Blocks at 17 x 17, with kernels of one row or one column."""
    row, column = (1, 7), (7, 1)
    return (
        (Layer("branch1x1", 192, 1),),
        (Layer("branch7x7_1", inner, 1), Layer("branch7x7_2", inner, row), Layer("branch7x7_3", 192, column)),
        (
            Layer("branch7x7dbl_1", inner, 1),
            Layer("branch7x7dbl_2", inner, column),
            Layer("branch7x7dbl_3", inner, row),
            Layer("branch7x7dbl_4", inner, column),
            Layer("branch7x7dbl_5", 192, row),
        ),
        ("average", Layer("branch_pool", 192, 1)),
    )


def _wide(pooling: str) -> tuple[Way, ...]:
    """Blocks at 8 x 8, with forks."""
    row, column = (1, 3), (3, 1)
    return (
        (Layer("branch1x1", 320, 1),),
        (Layer("branch3x3_1", 384, 1), (Layer("branch3x3_2a", 384, row), Layer("branch3x3_2b", 384, column))),
        (
            Layer("branch3x3dbl_1", 448, 1),
            Layer("branch3x3dbl_2", 384, 3),
            (Layer("branch3x3dbl_3a", 384, row), Layer("branch3x3dbl_3b", 384, column)),
        ),
        (pooling, Layer("branch_pool", 192, 1)),
    )


POOLS = {"average": _averaged, "highest": _highest, "shrink": _shrunk}

BLOCKS: dict[str, tuple[Way, ...]] = {
    "Mixed_5b": _small(32),
    "Mixed_5c": _small(64),
    "Mixed_5d": _small(64),
    "Mixed_6a": (
        (Layer("branch3x3", 384, 3, 2),),
        (Layer("branch3x3dbl_1", 64, 1), Layer("branch3x3dbl_2", 96, 3), Layer("branch3x3dbl_3", 96, 3, 2)),
        ("shrink",),
    ),
    "Mixed_6b": _long(128),
    "Mixed_6c": _long(160),
    "Mixed_6d": _long(160),
    "Mixed_6e": _long(192),
    "Mixed_7a": (
        (Layer("branch3x3_1", 192, 1), Layer("branch3x3_2", 320, 3, 2)),
        (
            Layer("branch7x7x3_1", 192, 1),
            Layer("branch7x7x3_2", 192, (1, 7)),
            Layer("branch7x7x3_3", 192, (7, 1)),
            Layer("branch7x7x3_4", 192, 3, 2),
        ),
        ("shrink",),
    ),
    "Mixed_7b": _wide("average"),
    "Mixed_7c": _wide("highest"),
}
