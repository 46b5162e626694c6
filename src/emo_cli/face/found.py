"""What can be found in a picture: a box, a detection, a face with its 478 landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Box:
    """An upright rectangle in pixels; (x, y) is its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def contains(self, x: float, y: float) -> bool:
        return self.x <= x <= self.x + self.width and self.y <= y <= self.y + self.height

    def moved(self, x: float, y: float) -> Box:
        return Box(self.x + x, self.y + y, self.width, self.height)


@dataclass(frozen=True)
class Square:
    """A turned square in a picture; `angle` in radians, clockwise as seen (the picture's y points down)."""

    x: float
    y: float
    side: float
    angle: float

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in fractions of the square, 0..1 -> picture pixels (..., 2)."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        turned = (points - 0.5) * self.side @ np.array([[cosine, sine], [-sine, cosine]])
        placed: np.ndarray = turned + np.array([self.x, self.y])
        return placed


@dataclass(frozen=True)
class Detection:
    """A face as the detector sees it.

    box: square around the face's middle, picture pixels. points (6, 2): the person's right eye (on the left
    of the picture), left eye, nose, mouth, right ear, left ear. score 0..1. angle: radians by which the eye
    line is turned clockwise.
    """

    box: Box
    points: np.ndarray
    score: float
    angle: float

    def moved(self, x: float, y: float) -> Detection:
        return Detection(self.box.moved(x, y), self.points + np.array([x, y]), self.score, self.angle)


@dataclass(frozen=True)
class Face:
    """A face with its landmarks.

    box: around all landmarks, pixels. landmarks (478, 3) float32: x, y in pixels, z in the same unit, smaller
    is nearer to the camera. score: how sure the mesh is that this is a face, 0..1.
    """

    box: Box
    landmarks: np.ndarray
    score: float

    def moved(self, x: float, y: float) -> Face:
        shift = np.array([x, y, 0], np.float32)
        return Face(self.box.moved(x, y), self.landmarks + shift, self.score)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (one.area + other.area - shared) if shared > 0 else 0.0
