"""Who is seen: a face recognition network's numbers for a face, for models that want to know.

The only network that Hallo's weights understand is InsightFace's glintr100, whose licence allows non-commercial
research only. It is not part of emo, and it needs the extra `hallo` (onnxruntime); without it Hallo takes the numbers
of nobody.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emo_cli.errors import WeightsError
from emo_cli.face.landmarks import LEFT_EYE, MOUTH_CORNERS, NOSE_TIP, RIGHT_EYE

SIDE = 112
# ArcFace's places in its square (Deng et al. 2019): eyes, nose, corners of the mouth; left in the picture first.
PLACES = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
WEIGHTS, CONFIG = "model.onnx", "config.json"


class FaceRecogniser:
    """An ArcFace network in ONNX's format; it is opened when the first face is shown to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def ready(self) -> bool:
        """Whether the program that runs it is installed."""
        return importlib.util.find_spec("onnxruntime") is not None

    def __call__(self, picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """A picture uint8 (H, W, 3) with its landmarks (478, 3) -> float32 (512,), not normalised, as Hallo uses it."""
        square = aligned(picture, five_points(landmarks)).astype(np.float32) / 127.5 - 1
        given = {self._session.get_inputs()[0].name: np.ascontiguousarray(square.transpose(2, 0, 1)[None])}
        told: np.ndarray = self._session.run(None, given)[0]
        return told[0].astype(np.float32)

    @cached_property
    def _session(self) -> Any:
        if not self.ready:
            raise WeightsError("The face recognition network needs onnxruntime. Run `pip install 'emo-cli[hallo]'`.")
        import onnxruntime

        try:
            return onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        except Exception as problem:  # onnxruntime has no common kind of error
            raise WeightsError(f"The network {self.path} cannot be opened by onnxruntime. Fetch it again.") from problem

    def save_pretrained(self, folder: Path) -> None:
        """Put the network, as it is, into a model folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps({"_class_name": type(self).__name__}) + "\n")
        shutil.copyfile(self.path, folder / WEIGHTS)

    @classmethod
    def from_pretrained(cls, folder: Path) -> FaceRecogniser:
        """The network of a model folder; WeightsError when it is not there."""
        if not (folder / WEIGHTS).is_file():
            raise WeightsError(f"{folder / WEIGHTS} is missing. Fetch the model again.")
        return cls(folder / WEIGHTS)


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (478, 2 or 3) -> (5, 2): eyes, nose, corners of the mouth; the person's right side first."""
    flat = landmarks[:, :2].astype(np.float64)
    eyes = [flat[list(ring)].mean(0) for ring in (RIGHT_EYE, LEFT_EYE)]
    return np.stack([*eyes, flat[NOSE_TIP], *flat[list(MOUTH_CORNERS)]])


def aligned(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Turn, scale and move a picture uint8 (H, W, 3) so that five points come to ArcFace's places: (112, 112, 3)."""
    matrix = similarity(PLACES, points)
    warped = Image.fromarray(picture).transform(
        (SIDE, SIDE), Image.Transform.AFFINE, tuple(matrix.ravel()), Image.Resampling.BILINEAR
    )
    return np.asarray(warped)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and move (2, 3) that brings points (n, 2) nearest to others (least squares; Umeyama 1991)."""
    centre, other = source.mean(0), target.mean(0)
    x, y = (source - centre).T
    u, v = (target - other).T
    size = (x * x + y * y).sum()
    cosine, sine = (x * u + y * v).sum() / size, (x * v - y * u).sum() / size
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.concatenate([turn, (other - turn @ centre)[:, None]], axis=1)
