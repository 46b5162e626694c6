"""Whether the camera stands still and nothing moves behind the head, measured beside and above the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BESIDE, _ABOVE = 0.35, 0.45  # of the face's width and height: ears and hair move with the head
_FEWEST = 200  # pixels; less background cannot be told from noise
_QUIET = 2.0  # levels: differences of this size are noise of the camera and of the coding
_PASSES = 3  # of the robust fit


@dataclass(frozen=True)
class Drift:
    """What happened behind the head since the frame before: x, y as shares of the picture's width, zoom as a share of
    its size, change as the mean difference of the pixels after that, of full scale."""

    x: float
    y: float
    zoom: float
    change: float


STILL = Drift(0.0, 0.0, 0.0, 0.0)


class CameraWatch:
    """Follows the background from one small grey picture to the next."""

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def push(self, grey: np.ndarray, face: np.ndarray) -> Drift:
        """How the background moved: grey float (height, width), 0..255; face: x0, y0, x1, y1 in its pixels.

        STILL for the first picture, and where the face leaves too little background to tell.
        """
        behind = background(grey.shape, face)
        last, self._last = self._last, (grey, behind)
        if last is None:
            return STILL
        both = behind & last[1]
        return drift(last[0], grey, both) if both.sum() >= _FEWEST else STILL

    def forget(self) -> None:
        """The next picture belongs to another shot."""
        self._last = None


def background(shape: tuple[int, ...], face: np.ndarray) -> np.ndarray:
    """Where a picture shows background for sure, bool (height, width): above the chin, beside and above the head."""
    behind = np.ones(shape, bool)
    x0, y0, x1, y1 = face
    beside, above = (x1 - x0) * _BESIDE, (y1 - y0) * _ABOVE
    behind[round(max(0.0, y1 - 0.15 * (y1 - y0))) :] = False
    left, right = round(max(0.0, x0 - beside)), round(max(0.0, x1 + beside))
    behind[round(max(0.0, y0 - above)) :, left:right] = False
    return behind


def drift(before: np.ndarray, after: np.ndarray, where: np.ndarray) -> Drift:
    """The shift and zoom that make one grey picture (height, width) into the other where `where` (bool) is true.

    Least squares on the brightness gradient (Lucas & Kanade 1981), pixels that move on their own counting less; exact
    for small motion, an underestimate for motion of more than about two pixels.
    """
    height, width = before.shape
    down, across = np.gradient((before + after) / 2)
    y, x = (grid[where] for grid in np.mgrid[:height, :width])
    across, down, difference = across[where], down[where], (before - after)[where]
    zoom = (across * (x - width / 2) + down * (y - height / 2)) / width
    ways = np.stack([across, down, zoom], 1)
    weight = np.ones(len(difference))
    found = np.zeros(3)
    for _ in range(_PASSES):
        weighed = ways * weight[:, None]
        # The noise of a flat wall must not look like motion: what is not seen stays 0.
        normal = weighed.T @ ways + len(difference) * 0.25 * np.diag([1.0, 1.0, 0.1])
        found = np.linalg.solve(normal, weighed.T @ difference)
        left = difference - ways @ found
        weight = 1 / (1 + np.square(left / (2 * _QUIET)))
    change = np.clip(np.abs(left) - _QUIET, 0, None).mean() / 255
    return Drift(found[0] / width, found[1] / width, found[2] / width, float(change))


def wandering(drifts: list[Drift]) -> float:
    """How far the camera got in a clip: the largest range of place or half zoom, as a share of the picture's width."""
    steps = np.array([(drift.x, drift.y, drift.zoom / 2) for drift in drifts[1:]]).reshape(-1, 3)
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)])
    return float((path.max(0) - path.min(0)).max())


def changing(drifts: list[Drift]) -> float:
    """Mean change behind the head from frame to frame, of full scale."""
    return float(np.mean([drift.change for drift in drifts[1:]])) if len(drifts) > 1 else 0.0
