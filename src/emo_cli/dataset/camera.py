"""Whether the camera stands still and nothing moves behind the head, measured beside and above the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PARTS = ("left", "right", "above")
_BESIDE, _ABOVE = 0.6, 0.45  # of the face's width and height: ears and long hair move with the head
_FEWEST = 100  # pixels of a part; less cannot be told from noise
_TEXTURE = 1.0  # mean square of the gradient, levels per pixel; less is a bare wall that looks still however it moves
_QUIET = 2.0  # levels: differences of this size are noise of the camera and of the coding
_PASSES = 3  # of the robust fit


@dataclass(frozen=True)
class Drift:
    """What happened behind the head since the frame before.

    shifts: (parts, 2) how far the background moved left of the head, right of it and above it: x, y as shares of the
    picture's width, not a number where too little is seen. change: mean difference of the pixels besides, 0..1.
    """

    shifts: np.ndarray
    change: float


STILL = Drift(np.zeros((len(PARTS), 2)), 0.0)


class CameraWatch:
    """Follows the background from one small grey picture to the next."""

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, list[np.ndarray]] | None = None

    def push(self, grey: np.ndarray, face: np.ndarray) -> Drift:
        """How the background moved: grey float (height, width), 0..255; face: x0, y0, x1, y1 in its pixels.

        STILL for the first picture.
        """
        parts = background(grey.shape, face)
        last, self._last = self._last, (grey, parts)
        if last is None:
            return STILL
        return drift(last[0], grey, [one & other for one, other in zip(parts, last[1], strict=True)])

    def forget(self) -> None:
        """The next picture belongs to another shot."""
        self._last = None


def background(shape: tuple[int, ...], face: np.ndarray) -> list[np.ndarray]:
    """Where a picture shows background, bool (height, width) for each part: beside the head and above it."""
    width = shape[1]
    x0, y0, x1, y1 = face
    beside, above = (x1 - x0) * _BESIDE, (y1 - y0) * _ABOVE
    bottom, top = round(max(0.0, y1 - 0.15 * (y1 - y0))), round(max(0.0, y0 - above))
    left, right = round(max(0.0, x0 - beside)), round(max(0.0, x1 + beside))
    areas = ((slice(0, bottom), slice(0, left)), (slice(0, bottom), slice(right, width)),
             (slice(0, top), slice(left, right)))  # fmt: skip
    parts = []
    for area in areas:
        part = np.zeros(shape, bool)
        part[area] = True
        parts.append(part)
    return parts


def drift(before: np.ndarray, after: np.ndarray, parts: list[np.ndarray]) -> Drift:
    """How each part (bool, height x width) of one grey picture moved to become the other.

    Least squares on the brightness gradient (Lucas & Kanade 1981), pixels that move on their own counting less; exact
    for small motion, an underestimate for motion of more than about two pixels.
    """
    down, across = np.gradient((before + after) / 2)
    shifts, changes = np.full((len(parts), 2), np.nan), []
    for number, where in enumerate(parts):
        ways, difference = np.stack([across[where], down[where]], 1), (before - after)[where]
        if len(difference) < _FEWEST or np.square(ways).mean() < _TEXTURE:
            continue
        shift, left = _fitted(ways, difference)
        shifts[number] = shift / before.shape[1]
        changes.append(np.clip(np.abs(left) - _QUIET, 0, None))
    return Drift(shifts, float(np.concatenate(changes).mean()) / 255 if changes else 0.0)


def _fitted(ways: np.ndarray, difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shift (2,) in pixels, and what of the difference (pixels,) it leaves."""
    weight, left = np.ones(len(difference)), difference
    shift = np.zeros(2)
    for _ in range(_PASSES):
        weighed = ways * weight[:, None]
        # The noise of a smooth wall must not look like motion: what is hardly seen stays 0.
        shift = np.linalg.solve(weighed.T @ ways + len(left) * 0.25 * np.eye(2), weighed.T @ difference)
        left = difference - ways @ shift
        weight = 1 / (1 + np.square(left / (2 * _QUIET)))
    return shift, left


def wandering(drifts: list[Drift]) -> float:
    """How far the camera got in a clip: the range of the part that moved least, as a share of the picture's width.

    The least, because hair or somebody behind moves one part only, a camera all; 0 where no part can be seen.
    """
    if len(drifts) < 2:
        return 0.0
    steps = np.stack([drift.shifts for drift in drifts[1:]])  # (frames, parts, 2)
    seen = np.isfinite(steps[..., 0]).mean(0) > 0.5
    path = np.concatenate([np.zeros((1, *steps.shape[1:])), np.cumsum(np.nan_to_num(steps), 0)])
    reach = (path.max(0) - path.min(0)).max(-1)
    return float(reach[seen].min()) if seen.any() else 0.0


def changing(drifts: list[Drift]) -> float:
    """Mean change behind the head from frame to frame, of full scale."""
    return float(np.mean([drift.change for drift in drifts[1:]])) if len(drifts) > 1 else 0.0
