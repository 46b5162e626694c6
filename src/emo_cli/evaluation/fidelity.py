"""How near the frames of a video are to those of the truth: PSNR and SSIM."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from emo_cli.evaluation.stability import LUMA
from emo_cli.footage import Frame

MOST = 100.0  # dB; that of identical frames would be infinite
WINDOW, SPREAD = 11, 1.5  # pixels
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Fidelity:
    """Means over the frames of a video and its truth, which are compared one by one."""

    def __init__(self) -> None:
        self._psnr = self._ssim = 0.0
        self._count = 0

    def compare(self, frame: Frame, truth: Frame) -> None:
        """One frame of each; the truth is brought to the frame's size."""
        if truth.shape != frame.shape:
            size = frame.shape[1], frame.shape[0]
            truth = np.asarray(Image.fromarray(truth).resize(size, Image.Resampling.LANCZOS))
        self._psnr += psnr(frame, truth)
        self._ssim += ssim(frame, truth)
        self._count += 1

    def psnr(self) -> float | None:
        """Mean over the frames, dB."""
        return self._psnr / self._count if self._count else None

    def ssim(self) -> float | None:
        """Mean over the frames, -1..1."""
        return self._ssim / self._count if self._count else None


def psnr(frame: Frame, truth: Frame) -> float:
    """Peak signal-to-noise ratio of two pictures uint8 (H, W, 3), dB over all three colours; 100 at most."""
    error = float(np.square(frame.astype(np.float64) - truth).mean())
    return MOST if error == 0 else min(MOST, 10 * math.log10(255**2 / error))


def ssim(frame: Frame, truth: Frame) -> float:
    """Structural similarity of the brightness of two pictures uint8 (H, W, 3), -1..1 (Wang et al. 2004).

    Windows of 11 pixels with a Gaussian weight of standard deviation 1.5, K1 0.01 and K2 0.03, averaged over all places
    where a window lies inside the picture; a picture smaller than a window is one window.
    """
    one, other = (torch.from_numpy((picture @ LUMA).astype(np.float64)) for picture in (frame, truth))
    both = torch.stack([one, other, one * one, other * other, one * other])[:, None]  # (5, 1, H, W)
    a, b, aa, bb, ab = _windows(both)
    covariance, spread = ab - a * b, aa - a * a + bb - b * b
    likeness = (2 * a * b + C1) * (2 * covariance + C2) / ((a * a + b * b + C1) * (spread + C2))
    return float(likeness.mean())


def _windows(maps: torch.Tensor) -> torch.Tensor:
    """Weighted means (5, 1, rows, columns) of all windows of maps (5, 1, H, W)."""
    for axis in (2, 3):
        size = min(WINDOW, maps.shape[axis])
        place = torch.arange(size, dtype=maps.dtype) - (size - 1) / 2
        weights = torch.exp(-0.5 * (place / SPREAD) ** 2)
        weights = (weights / weights.sum()).view(1, 1, *((size, 1) if axis == 2 else (1, size)))
        maps = functional.conv2d(maps, weights)
    return maps
