"""Cut a turned square out of a picture, scaled down without aliasing, with nothing but torch and Pillow."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from emo_cli.face.found import Square

# Above this many source pixels per crop pixel a box average comes first: it costs little, and what it blurs
# is far finer than the crop can show.
COARSE = 8.0
# Up to this many pixels the whole picture is resampled, though only a part is needed: in a portrait or a
# small video the sampling then does not depend on where that part happens to start.
WHOLE = 1 << 20


def cut(picture: np.ndarray, square: Square, pixels: int) -> torch.Tensor:
    """Picture uint8 (H, W, 3) -> (1, 3, pixels, pixels) float, 0..255; beyond the border its last pixels repeat."""
    region, left, top = _region(picture, square, pixels)
    step = square.side / pixels
    factor = int(step * 2 / COARSE) if step >= COARSE else 1
    source = np.array(Image.fromarray(region).reduce(factor) if factor > 1 else region)
    height, width = source.shape[0] * factor, source.shape[1] * factor  # in picture pixels
    x = torch.from_numpy(source).permute(2, 0, 1)[None].float()
    if step > 1.5:
        size = max(1, round(height / step)), max(1, round(width / step))
        x = functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
    centre = torch.tensor([square.x - left, square.y - top], dtype=torch.float32)
    points = _grid(pixels, square) + centre  # (pixels, pixels, 2), region pixels
    grid = 2 * points / torch.tensor([float(width), float(height)]) - 1
    return functional.grid_sample(x, grid[None], align_corners=False, padding_mode="border")


def letterbox(picture: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The picture (H, W, 3) in the middle of a black square -> (square, left border, top border)."""
    height, width = picture.shape[:2]
    if height == width:
        return picture, 0, 0
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[top : top + height, left : left + width] = picture
    return square, left, top


def _region(picture: np.ndarray, square: Square, pixels: int) -> tuple[np.ndarray, int, int]:
    """The part of the picture that the square can touch, with its left and top."""
    height, width = picture.shape[:2]
    if height * width <= WHOLE:
        return picture, 0, 0
    reach = square.side / 2 * (abs(math.cos(square.angle)) + abs(math.sin(square.angle)))
    reach += 3 * square.side / pixels + 2
    left = min(max(math.floor(square.x - reach), 0), width - 1)
    top = min(max(math.floor(square.y - reach), 0), height - 1)
    right = max(min(math.ceil(square.x + reach), width), left + 1)
    bottom = max(min(math.ceil(square.y + reach), height), top + 1)
    return picture[top:bottom, left:right], left, top


def _grid(pixels: int, square: Square) -> torch.Tensor:
    """The crop's pixel centres relative to the square's centre, in picture pixels: (pixels, pixels, 2)."""
    axis = ((torch.arange(pixels, dtype=torch.float32) + 0.5) / pixels - 0.5) * float(square.side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cosine, sine = math.cos(square.angle), math.sin(square.angle)
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)
