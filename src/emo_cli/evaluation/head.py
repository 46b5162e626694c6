"""How head and eyes move: rotation speed and how much it varies from clip to clip, and blinks."""

from __future__ import annotations

import numpy as np

from emo_cli.evaluation.watching import Seen
from emo_cli.face import pose

CLIP = 12  # frames; EMO's own clips
SHUT = 0.5  # of the usual opening
LONGEST_BLINK = 0.5  # seconds; longer ones are closed eyes


class Head:
    """How fast the head turns from one frame to the next, degrees per second, whatever the axis."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.speeds: list[float] = []
        self._last: np.ndarray | None = None

    def see(self, seen: Seen) -> None:
        """The next frame."""
        turned = None if seen.landmarks is None else pose.rigid(seen.landmarks[None])[0][0]
        if turned is not None and self._last is not None:
            self.speeds.append(self.fps * between(self._last, turned))
        self._last = turned

    def speed(self) -> float | None:
        """The mean; None if no two frames in a row show a face."""
        return float(np.mean(self.speeds)) if self.speeds else None

    def variance(self) -> float | None:
        """Variance of the mean speeds of clips of 12 frames, as in EMO's table of speeds (section 4.5); None below two.

        The paper does not name the unit of its speeds; this is in (degrees per second) squared.
        """
        clips = np.array(self.speeds[: len(self.speeds) // CLIP * CLIP]).reshape(-1, CLIP)
        return float(clips.mean(1).var()) if len(clips) > 1 else None


def between(one: np.ndarray, other: np.ndarray) -> float:
    """The angle in degrees that turns one rotation (3, 3) into another."""
    skew = one.T @ other
    sine = np.linalg.norm([skew[2, 1] - skew[1, 2], skew[0, 2] - skew[2, 0], skew[1, 0] - skew[0, 1]])
    return float(np.rad2deg(np.arctan2(sine, np.trace(skew) - 1)))


def blinks(opening: np.ndarray, fps: float) -> int:
    """How often the eyes (frames,) fall below half their usual opening and come back within half a second."""
    known = opening[np.isfinite(opening)]
    if not len(known):
        return 0
    shut = np.concatenate([[False], np.nan_to_num(opening, nan=np.inf) < SHUT * np.median(known), [False]])
    starts, stops = np.flatnonzero(np.diff(shut.astype(int))).reshape(-1, 2).T
    whole = (starts > 0) & (stops < len(opening)) & (stops - starts <= LONGEST_BLINK * fps)
    return int(whole.sum())
