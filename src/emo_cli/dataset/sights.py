"""Hands and writing in a finished clip, told by cheap signs while its frames go by."""

from __future__ import annotations

import numpy as np
from PIL import Image

_SMALL = 96  # side of the picture that hands are looked for in
_SKIN = 2.2  # deviations from the face's own colour
_MOVING = 14  # levels of brightness between two looks
_HAND = 0.12  # of the face's area: skin that moves beside it
_OFTEN = 0.08  # share of the looks
_EVERY = 0.2  # seconds between two looks

_BAND = (0.62, 1.0)  # of the height: where captions stand
_BAND_WIDTH = 384
_STROKE = 70  # levels between neighbours that make an edge of a letter
_LETTERS = 14  # edges in a row of pixels that make it a row of writing
_ROWS = 4  # such rows, one below another
_LASTING = 0.6  # of the edges are there again at the next look


class HandWatch:
    """Skin of the face's own colour that moves outside of head and neck."""

    def __init__(self, fps: float) -> None:
        self._stride = max(1, round(_EVERY * fps))
        self._last: np.ndarray | None = None
        self._looks, self._seen = 0, 0

    def push(self, index: int, frame: np.ndarray, face: np.ndarray) -> None:
        """Look at frame `index`, uint8 (size, size, 3), with the face's box x0, y0, x1, y1 in its pixels."""
        if index % self._stride:
            return
        small = np.asarray(Image.fromarray(frame).convert("YCbCr").resize((_SMALL, _SMALL), Image.Resampling.BOX))
        ycc = small.astype(np.float32)
        last, self._last = self._last, ycc
        if last is None:
            return
        box = face * (_SMALL / frame.shape[0])
        moved = np.abs(ycc[..., 0] - last[..., 0]) > _MOVING
        hand = moved & (_skin(ycc, box) | _skin(last, box)) & _beside(box)
        area = max(1.0, float((box[2] - box[0]) * (box[3] - box[1])))
        self._looks += 1
        self._seen += int(hand.sum()) > _HAND * area

    @property
    def share(self) -> float:
        """Share of the looks that saw a hand."""
        return self._seen / max(1, self._looks)

    @property
    def found(self) -> bool:
        """Whether hands were seen, and not in one look only."""
        return self._seen >= 2 and self.share > _OFTEN


def _skin(ycc: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Where a picture (height, width, 3) of brightness and two colours has the colour of the middle of the face."""
    x0, y0, x1, y1 = box
    across, down = x1 - x0, y1 - y0
    inner = ycc[_span(y0 + 0.3 * down, y1 - 0.3 * down), _span(x0 + 0.2 * across, x1 - 0.2 * across)].reshape(-1, 3)
    if not len(inner):
        return np.zeros(ycc.shape[:2], bool)
    middle, spread = np.median(inner, 0), np.maximum(inner.std(0), (12.0, 3.0, 3.0))
    distance = np.abs(ycc - middle) / spread
    return np.asarray((distance[..., 1:] < _SKIN).all(-1) & (distance[..., 0] < 2 * _SKIN))


def _beside(box: np.ndarray) -> np.ndarray:
    """Where neither head nor neck is, bool."""
    x0, y0, x1, y1 = box
    across, down = x1 - x0, y1 - y0
    outside = np.ones((_SMALL, _SMALL), bool)
    outside[_span(y0 - 0.5 * down, y1 + 0.15 * down), _span(x0 - 0.25 * across, x1 + 0.25 * across)] = False
    outside[_span(y1, y1 + 0.8 * down), _span(x0 + 0.05 * across, x1 - 0.05 * across)] = False
    return outside


def _span(start: float, stop: float) -> slice:
    return slice(max(0, round(float(start))), max(0, round(float(stop))))


class CaptionWatch:
    """Rows of fine, strong, upright edges in the lower part that stay where they are, as letters do.

    Stripes of a shirt that does not move look the same; the reason is told, so that such a clip can be had back with
    --captions keep.
    """

    def __init__(self, fps: float) -> None:
        self._stride = max(1, round(2 * _EVERY * fps))
        self._last: np.ndarray | None = None
        self._looks, self._seen = 0, 0

    def push(self, index: int, frame: np.ndarray) -> None:
        """Look at frame `index`, uint8 (size, size, 3)."""
        if index % self._stride:
            return
        edges = letter_edges(frame)
        last, self._last = self._last, edges
        if last is None:
            return
        both, any_ = (edges & last).sum(), max(1, (edges | last).sum())
        self._looks += 1
        self._seen += bool(edges.any()) and both > _LASTING * any_

    @property
    def share(self) -> float:
        """Share of the looks that saw writing."""
        return self._seen / max(1, self._looks)

    @property
    def found(self) -> bool:
        """Whether writing stood there for about a second."""
        return self._seen >= 2


def letter_edges(frame: np.ndarray) -> np.ndarray:
    """Strong upright edges within rows of writing of the lower part of uint8 (size, size, 3), bool (rows, columns)."""
    size = frame.shape[0]
    lower = Image.fromarray(frame[round(_BAND[0] * size) : round(_BAND[1] * size)]).convert("L")
    height = round(_BAND_WIDTH * (_BAND[1] - _BAND[0]))
    grey = np.asarray(lower.resize((_BAND_WIDTH, height), Image.Resampling.BOX), np.int16)
    edges = np.abs(grey[:, 2:] - grey[:, :-2]) > _STROKE
    # A stroke counts once however wide its edge is.
    begins = edges & ~np.pad(edges, ((0, 0), (1, 0)))[:, :-1]
    dense = begins.sum(1) >= _LETTERS
    rows = np.convolve(dense.astype(int), np.ones(_ROWS, int), "same") >= _ROWS - 1
    return np.asarray(edges & rows[:, None])
