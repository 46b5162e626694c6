"""How far mouth and eyes are open, by landmarks: what is compared with a sound, and what a blink closes."""

from __future__ import annotations

import numpy as np

from emo_cli.face.landmarks import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS

INNER_LIPS = ((13, 14), (82, 87), (312, 317))  # upper, lower: the middle, and a quarter to either side
LIDS = ((159, 145), (386, 374))  # upper, lower, in the middle of the person's right and left eye


def mouth_opening(points: np.ndarray) -> np.ndarray:
    """Mean gap of the inner lips in distances of the outer eye corners: landmarks (..., 478, 3) -> (...,)."""
    gaps = np.mean([_distance(points, *pair) for pair in INNER_LIPS], axis=0)
    return np.asarray(gaps / _distance(points, RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[0]))


def eye_opening(points: np.ndarray) -> np.ndarray:
    """Height of the eyes over their width, the mean of both: landmarks (..., 478, 3) -> (...,)."""
    eyes = zip(LIDS, (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS), strict=True)
    shares = [_distance(points, *lids) / _distance(points, *corners) for lids, corners in eyes]
    return np.asarray(np.mean(shares, axis=0))


def _distance(points: np.ndarray, one: int, other: int) -> np.ndarray:
    return np.asarray(np.linalg.norm(points[..., one, :] - points[..., other, :], axis=-1))
