"""The network of F-SIM: a face in, 512 numbers that tell who it is out.

It is ArcFace's improved ResNet (Deng et al. 2019; Duta et al. 2020), published for PyTorch in several depths
(`backbone.pth`), and in ONNX's format, which needs the extra `hallo`. The depth is read from the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from emo_cli.checkpoints.keymap import read_weights
from emo_cli.errors import IncompatibleCheckpoint
from emo_cli.evaluation.published.files import filled
from emo_cli.identity import FaceRecogniser, aligned, five_points

STAGES, LARGEST = 4, 7  # the last picture is 7 x 7
WIDTH = 512

Recogniser = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A picture uint8 (H, W, 3) and its landmarks (478, 3) -> (512,)."""


class ArcFace(nn.Module):
    """The network under the names of the published files; depths: blocks of each stage, (3, 13, 30, 3) for 100."""

    def __init__(self, depths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1, self.prelu = nn.BatchNorm2d(64), nn.PReLU(64)
        width = 64
        for number, depth in enumerate(depths, start=1):
            out = 64 * 2 ** (number - 1)
            blocks = [Block(out if index else width, out, 1 if index else 2) for index in range(depth)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            width = out
        self.bn2 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * LARGEST**2, WIDTH)
        self.features = nn.BatchNorm1d(WIDTH)
        self.stages = len(depths)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces (batch, 3, 112, 112) in -1..1 -> (batch, 512)."""
        x = self.prelu(self.bn1(self.conv1(faces)))
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return self.features(self.fc(self.bn2(x).flatten(1)))


class Block(nn.Module):
    """Norm, convolution, norm, PReLU, convolution, norm; added to what came in."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(width), nn.Conv2d(width, out, 3, 1, 1, bias=False)
        self.bn2, self.prelu = nn.BatchNorm2d(out), nn.PReLU(out)
        self.conv2, self.bn3 = nn.Conv2d(out, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample = nn.Sequential()
        if stride != 1 or width != out:
            self.downsample.append(nn.Conv2d(width, out, 1, stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, H, W) -> (batch, out, H / stride, W / stride)."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + self.downsample(x)


def opened(path: Path, device: torch.device) -> Recogniser:
    """Whoever tells faces apart by the published file, in either format."""
    if path.suffix.lower() == ".onnx":
        return FaceRecogniser(path)
    stages = depths(read_weights(path), path)
    network = filled(lambda: ArcFace(stages), path).to(device)

    def tell(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        square = torch.from_numpy(np.array(aligned(picture, five_points(landmarks)))).permute(2, 0, 1)[None]
        with torch.inference_mode():
            told = network(square.to(device, torch.float32) / 127.5 - 1)[0]
        return np.asarray(told.cpu())

    return tell


def depths(weights: dict[str, torch.Tensor], path: Path) -> tuple[int, ...]:
    """How many blocks each stage of a file has."""
    found = []
    for number in range(1, STAGES + 1):
        begin = f"layer{number}."
        blocks = {name.removeprefix(begin).split(".")[0] for name in weights if name.startswith(begin)}
        found.append(len(blocks))
    if not all(found):
        shown = ", ".join(sorted(weights)[:5])
        raise IncompatibleCheckpoint(f"{path} is no ArcFace network (it holds {shown}). Choose matching weights.")
    return tuple(found)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Cosine of the angle between two embeddings, in per cent."""
    return 100 * float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))
