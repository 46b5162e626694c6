"""How a head is held and how fast it turns: 478 landmarks -> yaw, pitch, roll, place and size, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Where points that speech and expressions hardly move lie on the mean face, as the mesh sees it: centimetres, x to the
# picture's right, y up, z towards the camera.
STILL = {
    10: (0.0, 9.5, 10.0), 151: (0.0, 7.7, 10.4), 9: (0.0, 5.7, 10.7), 168: (0.0, 4.1, 10.5), 6: (0.0, 3.4, 10.9),
    195: (0.0, 2.0, 11.9), 4: (0.0, 0.4, 12.8), 2: (0.0, -1.0, 10.9), 297: (3.7, 9.0, 9.2), 67: (-3.7, 9.0, 9.2),
    284: (6.5, 7.2, 6.7), 54: (-6.5, 7.2, 6.7), 389: (7.5, 4.4, 4.1), 162: (-7.5, 4.4, 4.1), 454: (7.4, 1.0, 2.5),
    234: (-7.4, 1.0, 2.5), 263: (4.6, 3.5, 8.2), 33: (-4.6, 3.5, 8.2), 362: (1.8, 3.3, 8.8), 133: (-1.8, 3.3, 8.8),
    358: (2.0, -0.3, 9.8), 129: (-2.0, -0.3, 9.8), 327: (1.6, -1.0, 10.1), 98: (-1.6, -1.0, 10.1),
}  # fmt: skip
_UPRIGHT = np.array([1.0, -1.0, -1.0])  # landmarks count y downwards and z away from the camera
_SIGNS = np.array([1.0, -1.0, -1.0])  # of a rotation's angles: pitch is told upwards, roll clockwise


@dataclass(frozen=True)
class Pose:
    """How a head is held, degrees: yaw to the picture's right, pitch upwards, roll clockwise."""

    yaw: float
    pitch: float
    roll: float


def pose(landmarks: np.ndarray) -> Pose:
    """The head's pose from its landmarks (478, 3), in tenths of a degree."""
    return Pose(*(round(float(angle), 1) for angle in poses(landmarks[None])[0, :3]))


def poses(points: np.ndarray) -> np.ndarray:
    """Six degrees of freedom per frame, by the best rigid fit of the mean face (Umeyama 1991).

    Args:
        points: (frames, 478, 3) landmarks, pixels, z in the same unit and smaller when nearer.

    Returns:
        (frames, 6): yaw to the picture's right, pitch upwards, roll clockwise, in degrees, the rotation being roll
        after yaw after pitch; x, y of the head's middle in pixels; scale in pixels per centimetre of a mean face.
    """
    rotations, scale, place = rigid(points)
    yaw = np.arcsin(np.clip(-rotations[:, 2, 0], -1, 1))
    pitch = np.arctan2(rotations[:, 2, 1], rotations[:, 2, 2])
    roll = np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0])
    angles = np.rad2deg(np.stack([yaw, pitch, roll], 1)) * _SIGNS
    return np.concatenate([angles, place, scale[:, None]], 1)


def rigid(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks (frames, 478, 3) -> rotations (frames, 3, 3) of the mean face (x right, y up, z to the camera), scale
    (frames,) in pixels per centimetre, and where the middle of its `STILL` points is in the picture (frames, 2)."""
    face = np.array(list(STILL.values()))
    face -= face.mean(0)
    seen = points[:, list(STILL)].astype(np.float64)
    middle = seen.mean(1, keepdims=True)
    seen = (seen - middle) * _UPRIGHT
    left, singular, right = np.linalg.svd(np.einsum("fpi,pj->fij", seen, face))
    signs = np.ones((len(points), 3))
    signs[:, 2] = np.sign(np.linalg.det(left @ right))  # no mirror images
    scale = (singular * signs).sum(1) / np.square(face).sum()
    return left * signs[:, None] @ right, scale, middle[:, 0, :2]


def rotation_speed(angles: np.ndarray, tremor: float = 1.5) -> np.ndarray:
    """How fast a head turns: yaw, pitch, roll (frames, 3) in degrees -> (frames, 3), degrees per frame, 0 or more.

    The mean of the steps to and from each frame, so that a frame's speed stands for the time around it. tremor: frames
    of smoothing before that, since the mesh trembles by a tenth of a degree, which adds half to a calm head's speed.
    """
    if len(angles) < 2:
        return np.zeros_like(angles)
    steps = np.abs(np.diff(steadied(angles, tremor), axis=0))
    return np.asarray((np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2)


def steadied(values: np.ndarray, tremor: float) -> np.ndarray:
    """Values (frames, n) smoothed along time by a Gaussian of `tremor` frames; the ends are held."""
    reach = int(np.ceil(3 * tremor))
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / max(tremor, 1e-6)))
    padded = np.pad(values.astype(np.float64), ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], 1)
