"""The network of E-FID: a face in, the 64 numbers of its expression out.

It is the ResNet-50 of Deng et al. 2019, which fits a 3D face model to a photo; E-FID compares the expression part of
its 257 coefficients. Its weights are published for PyTorch as `epoch_20.pth`, under the entry `net_recon`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from emo_cli.evaluation.published.files import filled
from emo_cli.face.crops import cut
from emo_cli.face.found import Square
from emo_cli.identity import five_points

SIDE = 224
ENTRY = "net_recon"
WIDTHS = (80, 64, 80, 3, 27, 2, 1)  # identity, expression, texture, angles, light, place, depth
EXPRESSION = slice(80, 144)
DEPTHS = (3, 4, 6, 3)
FACE_SIZE = 102.0  # pixels in the crop per unit of the places below
# Where the 3D model has its eyes, nose and corners of the mouth; y up, z to the camera.
PLACES = np.array([
    [-0.31148657, 0.29036078, 0.13377953], [0.30979887, 0.28972036, 0.13179526], [0.0032535, -0.04617932, 0.55244243],
    [-0.25216928, -0.38133916, 0.22405732], [0.2484662, -0.38128236, 0.22235769],
])  # fmt: skip


class Reconstruction(nn.Module):
    """A face's coefficients, under the names of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet()
        self.final_layers = nn.ModuleList(nn.Conv2d(2048, width, 1) for width in WIDTHS)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces (batch, 3, 224, 224) in 0..1 -> coefficients (batch, 257)."""
        x = self.backbone(faces)
        return torch.cat([layer(x) for layer in self.final_layers], 1).flatten(1)


def opened(path: Path) -> Reconstruction:
    """The network of the published file."""
    return filled(Reconstruction, path, inside=ENTRY)


def prepared(picture: np.ndarray, landmarks: np.ndarray) -> torch.Tensor:
    """A picture uint8 (H, W, 3) with its landmarks (478, 3) -> its face (1, 3, 224, 224) in 0..1, as the network knows
    faces: upright as in the picture, its five points as large as the 3D model's."""
    points = five_points(landmarks) * (1, -1)
    known = np.concatenate([PLACES, np.ones((5, 1))], 1)
    camera, *_ = np.linalg.lstsq(known, points, rcond=None)  # (4, 2): scaled axes, then the place
    scale = np.linalg.norm(camera[:3], axis=0).mean()
    x, y = camera[3] * (1, -1)
    return cut(picture, Square(float(x), float(y), float(SIDE * scale / FACE_SIZE), 0.0), SIDE) / 255


class ResNet(nn.Module):
    """ResNet-50, its stride in the kernel of three."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        width = 64
        for number, depth in enumerate(DEPTHS, start=1):
            inner = 64 * 2 ** (number - 1)
            blocks = [
                Bottleneck(4 * inner if index else width, inner, 2 if number > 1 and not index else 1)
                for index in range(depth)
            ]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            width = 4 * inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 3, H, W) -> (batch, 2048, 1, 1)."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in range(1, len(DEPTHS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x.mean((2, 3), keepdim=True)


class Bottleneck(nn.Module):
    """Narrow, look around, widen; added to what came in."""

    def __init__(self, width: int, inner: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, 4 * inner, 1, bias=False), nn.BatchNorm2d(4 * inner)
        self.downsample = nn.Sequential()
        if stride != 1 or width != 4 * inner:
            self.downsample.append(nn.Conv2d(width, 4 * inner, 1, stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(4 * inner))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, H, W) -> (batch, 4 inner, H', W')."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))
