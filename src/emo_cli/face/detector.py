"""Find faces: BlazeFace in plain torch, one network for portraits and one for small faces."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from emo_cli.face.crops import cut, letterbox
from emo_cli.face.found import Box, Detection, Square
from emo_cli.face.layers import BlazeBlock, DoubleBlazeBlock, SameConv

THRESHOLD = 0.5  # below this score a box is no face
SAME_FACE = 0.3  # boxes that overlap more than this are one face
LARGEST_SIDE = 1024  # a whole picture is first reduced towards this: the networks see 192 pixels at most


class ShortRange(nn.Module):
    """BlazeFace for faces that fill a good part of the picture: 128 x 128 pixels, 896 anchors."""

    pixels = 128
    grids = ((16, 2), (8, 6))  # (cells per side, anchors per cell)

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 24, 5, stride=2)
        self.fine = nn.Sequential(
            BlazeBlock(24, 24), BlazeBlock(24, 28), BlazeBlock(28, 32, stride=2),
            BlazeBlock(32, 36), BlazeBlock(36, 42), BlazeBlock(42, 48, stride=2),
            BlazeBlock(48, 56), BlazeBlock(56, 64), BlazeBlock(64, 72), BlazeBlock(72, 80),
            BlazeBlock(80, 88),
        )  # fmt: skip
        self.coarse = nn.Sequential(
            BlazeBlock(88, 96, stride=2), BlazeBlock(96, 96), BlazeBlock(96, 96), BlazeBlock(96, 96),
            BlazeBlock(96, 96),
        )  # fmt: skip
        self.fine_score, self.coarse_score = nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)
        self.fine_box, self.coarse_box = nn.Conv2d(88, 2 * 16, 1), nn.Conv2d(96, 6 * 16, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (b, 3, 128, 128) in -1..1 -> score logits (b, 896), boxes and points (b, 896, 16)."""
        fine = self.fine(torch.relu(self.stem(x)))
        coarse = self.coarse(fine)
        scores = [_per_anchor(self.fine_score(fine), 1), _per_anchor(self.coarse_score(coarse), 1)]
        boxes = [_per_anchor(self.fine_box(fine), 16), _per_anchor(self.coarse_box(coarse), 16)]
        return torch.cat(scores, 1)[..., 0], torch.cat(boxes, 1)


class _Upward(nn.Module):
    """One step of the full-range pyramid: the coarse map doubled in size, plus the finer map, mixed."""

    def __init__(self, coarse: int, fine: int, width: int, blocks: int) -> None:
        super().__init__()
        self.from_coarse, self.from_fine = nn.Conv2d(coarse, width, 1), nn.Conv2d(fine, width, 1)
        self.blocks = nn.Sequential(*(DoubleBlazeBlock(width, width // 2, width) for _ in range(blocks)))

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        narrow = torch.relu(self.from_coarse(coarse))
        larger = functional.interpolate(narrow, scale_factor=2, mode="bilinear", align_corners=False)
        mixed: torch.Tensor = self.blocks(torch.relu(self.from_fine(fine)) + larger)
        return mixed


class FullRange(nn.Module):
    """BlazeFace with a feature pyramid, for faces small in the picture: 192 x 192 pixels, 2304 anchors."""

    pixels = 192
    grids = ((48, 1),)

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, stride=2)
        self.down48 = nn.Sequential(
            DoubleBlazeBlock(32, 8, 32), DoubleBlazeBlock(32, 8, 32), DoubleBlazeBlock(32, 12, 48, stride=2),
            DoubleBlazeBlock(48, 12, 48), DoubleBlazeBlock(48, 16, 64),
        )  # fmt: skip
        self.down24 = nn.Sequential(
            DoubleBlazeBlock(64, 24, 96, stride=2),
            DoubleBlazeBlock(96, 32, 128),
            DoubleBlazeBlock(128, 32, 128),
        )
        self.down12 = nn.Sequential(
            DoubleBlazeBlock(128, 36, 144, stride=2), DoubleBlazeBlock(144, 48, 192),
            DoubleBlazeBlock(192, 64, 256),
        )  # fmt: skip
        self.down6 = nn.Sequential(
            DoubleBlazeBlock(256, 96, 384, stride=2), DoubleBlazeBlock(384, 96, 384),
            DoubleBlazeBlock(384, 96, 384), DoubleBlazeBlock(384, 96, 384),
        )  # fmt: skip
        self.up12, self.up24 = _Upward(384, 256, 96, blocks=2), _Upward(96, 128, 64, blocks=2)
        self.up48 = _Upward(64, 64, 48, blocks=1)
        self.score, self.box = nn.Conv2d(48, 1, 1), nn.Conv2d(48, 16, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (b, 3, 192, 192) in -1..1 -> score logits (b, 2304), boxes and points (b, 2304, 16)."""
        grid48 = self.down48(torch.relu(self.stem(x)))
        grid24 = self.down24(grid48)
        grid12 = self.down12(grid24)
        top = self.up48(self.up24(self.up12(self.down6(grid12), grid12), grid24), grid48)
        return _per_anchor(self.score(top), 1)[..., 0], _per_anchor(self.box(top), 16)


def _per_anchor(x: torch.Tensor, values: int) -> torch.Tensor:
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)


def anchors(grids: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Anchor centres (anchors, 2) in fractions of the picture, row by row, finest grid first."""
    centres = []
    for cells, repeats in grids:
        axis = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(axis, axis, indexing="ij")
        centres.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), repeats, axis=0))
    return np.concatenate(centres)


@torch.inference_mode()
def detect(network: ShortRange | FullRange, picture: np.ndarray, angle: float = 0.0) -> list[Detection]:
    """All faces in a picture uint8 (H, W, 3), best score first.

    angle: radians by which the picture is read turned, for faces that lie on their side.
    """
    small, factor = _reduced(picture)
    boxed, left, top = letterbox(small)
    side = boxed.shape[0]
    square = Square(side / 2, side / 2, side, angle)
    logits, values = network(cut(boxed, square, network.pixels) / 127.5 - 1)
    scores = torch.sigmoid(logits[0].double()).numpy()
    rows = np.flatnonzero(scores > THRESHOLD)
    centres = anchors(network.grids)[rows][:, None]
    points = values[0].double().numpy()[rows].reshape(-1, 8, 2) / network.pixels
    points[:, 2:] += centres
    points[:, 0] += centres[:, 0]
    return [_placed(merged, score, square, (left, top), factor) for merged, score in _merge(points, scores[rows])]


def _reduced(picture: np.ndarray) -> tuple[np.ndarray, int]:
    factor = max(1, max(picture.shape[:2]) // LARGEST_SIDE)
    if factor == 1:
        return picture, 1
    return np.asarray(Image.fromarray(picture).reduce(factor)), factor


def _merge(points: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Overlapping boxes become their average, weighted by score (BlazeFace, section 3.4).

    points (n, 8, 2): centre, size, then six points.
    """
    order = np.argsort(-scores, kind="stable")
    points, scores = points[order], scores[order]
    merged = []
    while len(points):
        same = _overlaps(points[0], points) > SAME_FACE
        same[0] = True
        weights = scores[same] / scores[same].sum()
        merged.append(((points[same] * weights[:, None, None]).sum(0), float(scores[0])))
        points, scores = points[~same], scores[~same]
    return merged


def _overlaps(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    low = np.maximum(one[0] - one[1] / 2, many[:, 0] - many[:, 1] / 2)
    high = np.minimum(one[0] + one[1] / 2, many[:, 0] + many[:, 1] / 2)
    shared = np.clip(high - low, 0, None).prod(-1)
    united = one[1].prod() + many[:, 1].prod(-1) - shared
    overlaps: np.ndarray = shared / np.maximum(united, 1e-9)
    return overlaps


def _placed(points: np.ndarray, score: float, square: Square, border: tuple[int, int], factor: int) -> Detection:
    """From fractions of the network's input (8, 2) to pixels of the picture it was cut from."""
    side = float(points[1].max()) * square.side * factor
    placed = (square.to_picture(np.delete(points, 1, axis=0)) - np.array(border)) * factor
    (x, y), features = placed[0], placed[1:]
    across = features[1] - features[0]
    box = Box(float(x) - side / 2, float(y) - side / 2, side, side)
    return Detection(box, features, score, math.atan2(across[1], across[0]))
