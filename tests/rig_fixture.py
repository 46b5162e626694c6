"""A plausible face rig made in code: the real mesh and landmark numbers on an analytic face, no downloaded head."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from emo_cli.chart.geometry import (
    LEFT_LOWER_LID,
    LEFT_UPPER_LID,
    LOWER_INNER_LIP,
    LOWER_OUTER_LIP,
    OVAL,
    POINTS,
    RIGHT_LOWER_LID,
    RIGHT_UPPER_LID,
    UPPER_INNER_LIP,
    UPPER_OUTER_LIP,
)
from emo_cli.face.landmarks import LEFT_BROW, RIGHT_BROW, triangles
from emo_cli.training.rig import Rig

MOUTH_HEIGHT = -3.4
UPPER_ROWS = (
    UPPER_INNER_LIP,
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    UPPER_OUTER_LIP,
)
LOWER_ROWS = (
    LOWER_INNER_LIP,
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    LOWER_OUTER_LIP,
)
LIDS = ((RIGHT_UPPER_LID, 1), (RIGHT_LOWER_LID, -1), (LEFT_UPPER_LID, 1), (LEFT_LOWER_LID, -1))
NOSE = (168, 6, 197, 195, 5, 4, 1, 2)
JAW = (152, 148, 377, 175, 199, 176, 400)
STILL = {point: np.zeros(3) for point in (*OVAL[:9], *OVAL[-9:], *NOSE, *(p for lid, _ in LIDS for p in lid))}

Anchors = dict[int, np.ndarray]


@cache
def small_rig() -> Rig:
    """The face, about as large as a real one in centimetres, with every expression that the teacher uses."""
    mean = _surface(_filled(_layout()))
    moves: dict[str, Anchors] = _mouth_moves(mean) | _eye_moves(mean)
    expressions: dict[str, np.ndarray] = {}
    for name, anchors in sorted(moves.items()):
        if name in WHOLE:
            expressions[name] = _filled({**STILL, **anchors})
        else:
            left = np.clip(0.5 + mean[:, :1] / 3, 0, 1)
            expressions[f"{name}_L"] = left * _filled({**STILL, **anchors})
            expressions[f"{name}_R"] = (1 - left) * _filled({**STILL, **anchors})
    bias = np.tile([0.02, 0.05, 0.1], (POINTS, 1))
    tables = (mean, np.stack([*expressions.values()]), _identities(mean), bias)
    return Rig(*(torch.from_numpy(np.ascontiguousarray(table, dtype=np.float32)) for table in tables), (*expressions,))


WHOLE = ("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugUpper")


def _layout() -> Anchors:
    """Where the named points are from the front, (x, y, 0)."""
    places: Anchors = {}
    for step, point in enumerate(OVAL):
        angle = 2 * np.pi * step / len(OVAL)
        places[point] = np.array([7.2 * np.sin(angle), 0.5 + 8.2 * np.cos(angle), 0])
    for row, (upper, lower) in enumerate(zip(UPPER_ROWS, LOWER_ROWS, strict=True)):
        for step in range(11):
            x, height = (2.1 + 0.07 * row) * (step / 5 - 1), np.sin(np.pi * step / 10)
            places[upper[step]] = np.array([x, MOUTH_HEIGHT + (0.04 + 0.2 * row) * height, 0])
            places[lower[step]] = np.array([x, MOUTH_HEIGHT - (0.04 + 0.3 * row) * height, 0])
    for lid, side in LIDS:
        middle = -3.0 if lid in (RIGHT_UPPER_LID, RIGHT_LOWER_LID) else 3.0
        for step, point in enumerate(lid):
            places[point] = np.array([middle + 1.4 * (step / 4 - 1), 3.2 + 0.45 * side * np.sin(np.pi * step / 8), 0])
    for step, point in enumerate(NOSE):
        places[point] = np.array([0, 3.6 - 0.75 * step, 0])
    return places


def _mouth_moves(mean: np.ndarray) -> dict[str, Anchors]:
    def lips(upper: tuple[float, float, float], lower: tuple[float, float, float], pull: float = 0.0) -> Anchors:
        """Middle of the lips moves by `upper` and `lower`, the corners not; x shrinks by the share `pull`."""
        return {
            point: np.sin(np.pi * step / 10) * np.array(move) - np.array([pull * mean[point, 0], 0, 0])
            for rows, move in ((UPPER_ROWS, upper), (LOWER_ROWS, lower))
            for row in rows
            for step, point in enumerate(row)
        }

    def corners(out: float, up: float, back: float) -> Anchors:
        sides = {point: mean[point, 0] / 2.2 for rows in (UPPER_ROWS, LOWER_ROWS) for row in rows for point in row}
        return {point: abs(side) ** 3 * np.array([out * np.sign(side), up, -back]) for point, side in sides.items()}

    opening = lips((0, 1.05, 0), (0, -2.2, -0.8))
    opening = {point: move + np.array([0, -1.3, -1.1]) for point, move in opening.items()}
    return {
        "jawOpen": {**opening, **{point: np.array([0, -2.7, -2.7]) for point in JAW}},
        "mouthClose": lips((0, 0.2, 0), (0, 3.6, 1.4)),
        "mouthFunnel": lips((0, 0.5, 0.6), (0, -0.7, 0.6), pull=0.2),
        "mouthPucker": {
            point: move + np.array([0, 0, 0.9]) for point, move in lips((0, 0, 0), (0, 0, 0), pull=0.25).items()
        },
        "mouthRollLower": lips((0, 0, 0), (0, 0.26, -1.3)),
        "mouthRollUpper": lips((0, 0.28, -1.0), (0, 0, 0)),
        "mouthShrugUpper": lips((0, 0.5, 0), (0, 0, 0)),
        "mouthLowerDown": lips((0, 0, 0), (0, -0.68, 0)),
        "mouthUpperUp": lips((0, 0.69, 0), (0, 0, 0)),
        "mouthPress": lips((0, -0.1, 0), (0, 0.15, 0)),
        "mouthSmile": corners(0.7, 0.9, 0.8),
        "mouthStretch": corners(0.75, -0.15, 0.5),
        "mouthDimple": corners(0.15, 0.25, 0.6),
        "mouthFrown": corners(0.2, -0.4, 0.2),
        "cheekSquint": {50: np.array([0, 0.5, 0.1]), 280: np.array([0, 0.5, 0.1])},
    }


def _eye_moves(mean: np.ndarray) -> dict[str, Anchors]:
    def lids(upper: float, lower: float) -> Anchors:
        """Lids move by these shares of their height above and below the eye's middle."""
        return {
            point: np.array([0, (upper if side > 0 else lower) * (mean[point, 1] - 3.2), 0])
            for lid, side in LIDS
            for point in lid
        }

    def brows(points: tuple[int, ...], up: float) -> Anchors:
        return {point: np.array([0, up, 0]) for point in points}

    return {
        "eyeBlink": lids(-1.8, -0.2),
        "eyeWide": lids(0.6, 0.1),
        "eyeSquint": lids(-0.1, -0.6),
        "browInnerUp": brows((107, 66, 55, 65, 336, 296, 285, 295), 0.5),
        "browOuterUp": brows((70, 63, 46, 53, 300, 293, 276, 283), 0.7),
        "browDown": brows((*RIGHT_BROW, *LEFT_BROW), -0.4),
    }


def _identities(mean: np.ndarray, count: int = 100) -> np.ndarray:
    """Smooth bumps of about 2 mm in random places and directions."""
    random = np.random.default_rng(0)
    centres = mean[random.integers(POINTS, size=count)]
    bumps = np.exp(-0.5 * (np.linalg.norm(mean[None] - centres[:, None], axis=2) / 2.5) ** 2)
    return bumps[:, :, None] * random.normal(size=(count, 1, 3)) * 0.2


def _surface(flat: np.ndarray) -> np.ndarray:
    """Bend the flat face round an egg with a nose."""
    x, y = flat[:, 0], flat[:, 1]
    nose = 2.0 * np.exp(-((x / 1.0) ** 2) - ((y + 0.3) / 1.8) ** 2)
    return np.stack([x, y, 11 - 0.11 * x**2 - 0.03 * (y - 1) ** 2 + nose], 1)


def _filled(anchors: Anchors) -> np.ndarray:
    """Values (468, 3) at all points from those at some: every other point is the mean of its neighbours in the mesh."""
    matrix = np.zeros((POINTS, POINTS))
    for corner, following in ((0, 1), (1, 2), (2, 0)):
        first, second = triangles()[:, corner], triangles()[:, following]
        matrix[first, second] = matrix[second, first] = -1
    matrix -= np.diag(matrix.sum(1))
    values = np.zeros((POINTS, 3))
    for point, value in anchors.items():
        matrix[point], matrix[point, point], values[point] = 0, 1, value
    return np.linalg.solve(matrix, values)
