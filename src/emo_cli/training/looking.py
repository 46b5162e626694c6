"""Where a tracked person looks: the irises of the mesh as fixations and the saccades between them."""

from __future__ import annotations

import numpy as np

from emo_cli.chart.glances import SPACING
from emo_cli.face.landmarks import LEFT_EYE_CORNERS, LEFT_IRIS, RIGHT_EYE_CORNERS, RIGHT_IRIS
from emo_cli.training.articulation import smooth

IRISES = (RIGHT_IRIS[0], LEFT_IRIS[0])
EYEBALL = 1.2  # centimetres from the middle of the eye to the pupil
AWAY = 2.5  # degrees from a fixation that are another one; the mesh's irises tremble by about one
_TREMOR = 1.0  # frames of smoothing
_UNSEEN = 0.4  # lid closure from which on the iris is guessed by the mesh


def looks(points: np.ndarray, pose: np.ndarray, shut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Saccades (frames,) bool and the places they go to (frames, 2) float32, degrees as in gaze.py.

    Args:
        points: (frames, 478, 3) centimetres in the rig's frame, the head's motion taken out.
        pose: (frames, 3) degrees of the head around its middle, the rig's signs; gaze is told as the room sees it.
        shut: (frames,) lid closure, 0..1.
    """
    eyes = [points[:, list(corners)].mean(1) for corners in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)]
    offset = sum(points[:, iris] - eye for iris, eye in zip(IRISES, eyes, strict=True))[:, :2] / 2
    turned = np.rad2deg(np.arcsin(np.clip(offset / EYEBALL, -1, 1))) * np.array([1.0, -1.0])
    seen = np.maximum.accumulate(np.where(shut < _UNSEEN, np.arange(len(shut)), 0))
    turned = smooth(turned[seen].astype(np.float64), _TREMOR)
    return fixated(turned - np.median(turned, axis=0) + pose[:, :2])


def fixated(gaze: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gaze (frames, 2) in degrees as saccades (frames,) and fixations (frames, 2); the eyes begin at rest, at 0."""
    saccades, fixations = np.zeros(len(gaze), bool), np.zeros((len(gaze), 2), np.float32)
    place, last = np.zeros(2), -SPACING
    for frame in range(len(gaze) - 1):
        gone = np.linalg.norm(gaze[frame : frame + 2] - place, axis=1) > AWAY
        if gone.all() and frame - last >= SPACING:
            saccades[frame], last = True, frame
            place = np.median(gaze[frame + 1 : frame + 1 + SPACING], axis=0)
        fixations[frame] = place
    fixations[-1] = place
    return saccades, fixations
