"""The building blocks that the face detectors and the face mesh share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class SameConv(nn.Conv2d):
    """A convolution whose output is ceil(input / stride) wide, padded as TensorFlow's "same".

    With a stride of 2 and an even input the extra row and column go to the bottom and the right; these
    networks were trained so, and a symmetric padding would shift every landmark by half a pixel of the
    feature map.
    """

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(width_in, width_out, kernel, stride, groups=groups)
        missing = kernel - stride
        self.before, self.after = missing // 2, missing - missing // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.pad(x, (self.before, self.after, self.before, self.after)))


def activation(width: int, learned_slope: bool) -> nn.Module:
    """PReLU with one slope per channel for the mesh, plain ReLU for the detectors."""
    return nn.PReLU(width) if learned_slope else nn.ReLU()


def shortcut(x: torch.Tensor, width: int, stride: int) -> torch.Tensor:
    """The residual path: halved by max pooling where the block strides, new channels filled with zeros."""
    if stride > 1:
        x = functional.max_pool2d(x, stride)
    return functional.pad(x, (0, 0, 0, 0, 0, width - x.shape[1]))


class BlazeBlock(nn.Module):
    """Depthwise 3x3, then pointwise, beside a shortcut (BlazeFace, Bazarevsky et al. 2019, section 3.1)."""

    def __init__(self, width_in: int, width_out: int, stride: int = 1, learned_slope: bool = False) -> None:
        super().__init__()
        self.width, self.stride = width_out, stride
        self.depthwise = SameConv(width_in, width_in, 3, stride, groups=width_in)
        self.pointwise = nn.Conv2d(width_in, width_out, 1)
        self.activation = activation(width_out, learned_slope)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.activation(self.pointwise(self.depthwise(x)) + shortcut(x, self.width, self.stride))
        return y


class DoubleBlazeBlock(nn.Module):
    """Two depthwise-pointwise pairs through a narrow middle, beside a shortcut (BlazeFace, section 3.1)."""

    def __init__(self, width_in: int, middle: int, width_out: int, stride: int = 1) -> None:
        super().__init__()
        self.width, self.stride = width_out, stride
        self.narrow = nn.Sequential(
            SameConv(width_in, width_in, 3, stride, groups=width_in),
            nn.Conv2d(width_in, middle, 1),
            nn.ReLU(),
        )
        self.widen = nn.Sequential(SameConv(middle, middle, 3, groups=middle), nn.Conv2d(middle, width_out, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.widen(self.narrow(x)) + shortcut(x, self.width, self.stride))
