"""SyncNet: how well lips and sound go together, and which of the two is late (Chung & Zisserman 2016).

Five frames of a face and 0.2 seconds of sound each become a point; the nearer the points, the better they go together.
The weights are published for PyTorch as `syncnet_v2.model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from emo_cli.evaluation.published.files import filled

FPS, SIDE, FRAMES = 25, 224, 5
ROWS, PER_FRAME = 20, 4  # cepstra that are heard at once, and per frame
MOST_LAG = 15  # frames
WIDTH = 1024


@dataclass(frozen=True)
class SyncScore:
    """confidence: LSE-C, median of the mean distances of all lags minus the least; distance: LSE-D, the least itself;
    offset: frames by which the lips are late at that lag."""

    confidence: float
    distance: float
    offset: int


class SyncNet(nn.Module):
    """Both halves under the names of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_heard(1, 64), nn.MaxPool2d(1, 1),
            *_heard(64, 192), nn.MaxPool2d(3, (1, 2)),
            *_heard(192, 384), *_heard(384, 256), *_heard(256, 256), nn.MaxPool2d(3, 2),
            *_heard(256, 512, (5, 4), 0),
        )  # fmt: skip
        self.netfcaud, self.netfclip = _point(), _point()
        shrink = (1, 2, 2)
        self.netcnnlip = nn.Sequential(
            *_seen(3, 96, (5, 7, 7), shrink), nn.MaxPool3d((1, 3, 3), shrink),
            *_seen(96, 256, (1, 5, 5), shrink, 1), nn.MaxPool3d((1, 3, 3), shrink, (0, 1, 1)),
            *_seen(256, 256, around=1), *_seen(256, 256, around=1), *_seen(256, 256, around=1),
            nn.MaxPool3d((1, 3, 3), shrink),
            *_seen(256, 512, (1, 6, 6)),
        )  # fmt: skip

    def hear(self, cepstra: torch.Tensor) -> torch.Tensor:
        """Cepstra (batch, 1, 13, 20) -> (batch, 1024)."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))

    def see(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces (batch, 3, 5, 224, 224), blue first, 0..255 -> (batch, 1024)."""
        return self.netfclip(self.netcnnlip(faces).flatten(1))


def opened(path: Path) -> SyncNet:
    """The network of the published file."""
    return filled(SyncNet, path)


class Distances:
    """Mean distances between what is seen and what is heard at every lag; keeps no more than their sums.

    heard: cepstra (time, 13) of the whole sound.
    """

    def __init__(self, network: SyncNet, heard: torch.Tensor, device: torch.device) -> None:
        self.network, self.heard, self.device = network, heard, device
        # As in the authors' code, the last window is left out.
        self.windows = max(0, len(heard) // PER_FRAME - FRAMES)
        self._sum = torch.zeros(2 * MOST_LAG + 1, dtype=torch.float64)
        self._count = 0

    @torch.inference_mode()
    def add(self, faces: torch.Tensor) -> None:
        """Windows (batch, 3, 5, 224, 224) of the faces that follow those of the last call."""
        start = self._count
        faces = faces[: max(0, self.windows - start)]
        if not len(faces):
            return
        seen = self.network.see(faces.to(self.device)).cpu()
        heard = self._listen(start - MOST_LAG, start + len(seen) + MOST_LAG)
        for index, point in enumerate(seen):
            around = heard[index : index + 2 * MOST_LAG + 1]
            self._sum += functional.pairwise_distance(point.expand_as(around), around).double()
        self._count += len(seen)

    def _listen(self, first: int, last: int) -> torch.Tensor:
        """Points (last - first, 1024) of the sound's windows; beyond its ends all are zero, as in the authors' code."""
        inside = range(max(first, 0), min(last, self.windows))
        points = torch.zeros(last - first, WIDTH)
        if len(inside):
            pieces = [self.heard[PER_FRAME * k : PER_FRAME * k + ROWS].T for k in inside]
            told = self.network.hear(torch.stack(pieces)[:, None].to(self.device)).cpu()
            points[inside.start - first : inside.stop - first] = told
        return points

    def score(self) -> SyncScore | None:
        """None for sounds or videos that are shorter than a window."""
        if not self._count:
            return None
        mean = self._sum / self._count
        best = int(mean.argmin())
        # Lag k sets the faces beside the sound k - 15 frames later.
        return SyncScore(float(mean.median() - mean[best]), float(mean[best]), MOST_LAG - best)


def _heard(width: int, out: int, kernel: tuple[int, int] = (3, 3), around: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(width, out, kernel, padding=around), nn.BatchNorm2d(out), nn.ReLU()


def _seen(
    width: int,
    out: int,
    kernel: tuple[int, int, int] = (1, 3, 3),
    stride: tuple[int, int, int] = (1, 1, 1),
    around: int = 0,
) -> tuple[nn.Module, ...]:
    return nn.Conv3d(width, out, kernel, stride, (0, around, around)), nn.BatchNorm3d(out), nn.ReLU()


def _point() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, WIDTH))
