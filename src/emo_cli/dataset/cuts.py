"""Where one shot ends and the next begins, found while the frames go by."""

from __future__ import annotations

from collections import deque

import numpy as np

_SURE = 0.10  # mean change of a pixel, of full scale, that is a cut whatever went before
_LEAST = 0.03  # a smaller change is none, however still the picture was
_SUDDEN = 4.0  # times the mean change of the frames before
_MEMORY = 8  # frames
_LEVELS = 8  # per colour, of the histogram
_OTHER_COLOURS = 0.12  # share of the pixels that change their place in the histogram; less is only motion


class CutFinder:
    """Tells cuts by two signs that must agree: much changes at once, and the colours are other ones.

    A camera that pans changes every pixel too, but frame after frame, and hardly the colours; a flash or a person who
    moves changes the colours of a part. Fades are not told: the face is lost in them.
    """

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._changes: deque[float] = deque(maxlen=_MEMORY)

    def push(self, picture: np.ndarray) -> bool:
        """Whether a small picture uint8 (height, width, 3) is the first of a new shot; the very first one is not."""
        last, self._last = self._last, picture
        if last is None:
            return False
        change = float(np.abs(picture.astype(np.int16) - last).mean()) / 255
        usual = sum(self._changes) / len(self._changes) if self._changes else 0.0
        sudden = change > _SURE or change > max(_LEAST, _SUDDEN * usual)
        cut = sudden and _moved_colours(last, picture) > _OTHER_COLOURS
        if cut:
            self._changes.clear()
        else:
            self._changes.append(change)
        return cut


def _moved_colours(one: np.ndarray, other: np.ndarray) -> float:
    """Half of the distance between two pictures' colour histograms, 0 (alike) to 1."""
    return 0.5 * float(np.abs(_histogram(one) - _histogram(other)).sum())


def _histogram(picture: np.ndarray) -> np.ndarray:
    levels = picture.reshape(-1, 3).astype(np.int64) * _LEVELS // 256
    counts = np.bincount(levels @ np.array([_LEVELS**2, _LEVELS, 1]), minlength=_LEVELS**3).astype(np.float64)
    # Neighbouring levels share, or a slow change of light would move half of the pixels at once.
    cube = counts.reshape(_LEVELS, _LEVELS, _LEVELS)
    for axis in range(3):
        cube = (np.roll(cube, 1, axis) + 2 * cube + np.roll(cube, -1, axis)) / 4
    shares: np.ndarray = cube.ravel() / cube.sum()
    return shares
