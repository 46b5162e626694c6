"""Where EchoMimic finds a face: the square it cuts out of a photo, and the rectangle in which the face may move.

EchoMimic made both with OpenCV and whole numbers. The same whole numbers are computed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_cli.errors import UsageError
from emo_cli.face import Box

MASK_ROOM, CROP_ROOM = 0.1, 0.5  # how far beyond the face's box, in its sides, on every side
SMALLEST_SIDE = 64
_PLACES = 2048  # OpenCV's weights of a resize are whole multiples of 1 / 2048


@dataclass(frozen=True)
class Rectangle:
    """Whole pixels left <= x < right, top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def around(cls, box: Box) -> Rectangle:
        """The box in whole pixels."""
        sides = (box.x, box.y, box.x + box.width, box.y + box.height)
        return cls(*(round(float(side)) for side in sides))

    def dilated(self, room: float) -> Rectangle:
        """Larger by `room` of its sides on every side."""
        across, down = int(room * (self.right - self.left)), int(room * (self.bottom - self.top))
        return Rectangle(self.left - across, self.top - down, self.right + across, self.bottom + down)

    def inside(self, width: int, height: int) -> Rectangle:
        """The part inside a picture."""
        return Rectangle(max(self.left, 0), max(self.top, 0), min(self.right, width), min(self.bottom, height))

    def middle_square(self, width: int, height: int) -> Rectangle:
        """The largest square around its middle, inside a picture."""
        side = min(self.right - self.left, self.bottom - self.top)
        left = max(0, (self.left + self.right) // 2 - side // 2)
        top = max(0, (self.top + self.bottom) // 2 - side // 2)
        side = min(min(width, left + side) - left, min(height, top + side) - top)
        return Rectangle(left, top, left + side, top + side)


@dataclass(frozen=True)
class FaceCut:
    """EchoMimic's way of cutting a portrait out of a photo: a square of about twice the face's width.

    exact: shrink as its own code does, two pixels per axis without smoothing, which leaves jagged edges.
    """

    exact: bool = False

    def square(self, face: Box, width: int, height: int) -> Box:
        """The square, in whole pixels of a photo; it lies inside the photo."""
        found = Rectangle.around(face).dilated(CROP_ROOM).inside(width, height).middle_square(width, height)
        return Box(found.left, found.top, found.right - found.left, found.bottom - found.top)

    def resized(self, picture: np.ndarray, size: int) -> np.ndarray | None:
        """The picture uint8 (H, W, channels) at (size, size), or None to leave it to the usual smooth way."""
        return linear_resize(picture, size, size) if self.exact else None


def face_rectangle(face: Box, crop: Box, size: int, region: float = 1.0, exact: bool = False) -> np.ndarray:
    """What EchoMimic's face locator sees: float32 (size, size), 1 inside the face's rectangle, 0 outside.

    face: in pixels of the photo; crop: the square of the photo that became the portrait; region: how large the
    rectangle is, 1 as trained. exact: as EchoMimic's own code, where a rectangle that begins outside the photo is lost;
    otherwise it is cut at the border.
    """
    if not region > 0:
        raise UsageError(f"The region {region:g} leaves no place to move. Give a factor above 0.")
    place = Rectangle.around(face).dilated(MASK_ROOM)
    if region != 1:
        place = place.dilated((region - 1) / 2)
    square = Rectangle.around(crop)
    return linear_resize(_drawn(place, square, exact), size, size).astype(np.float32) / 255


def _drawn(place: Rectangle, square: Rectangle, exact: bool) -> np.ndarray:
    """uint8 (side, side): 255 where the square shows the rectangle."""
    drawn = np.zeros((square.bottom - square.top, square.right - square.left), np.uint8)
    if exact and (place.left < 0 or place.top < 0):
        return drawn  # a negative index counts from the photo's far end, and nothing lies between
    top, left = max(place.top - square.top, 0), max(place.left - square.left, 0)
    drawn[top : max(place.bottom - square.top, 0), left : max(place.right - square.left, 0)] = 255
    return drawn


def linear_resize(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 (H, W) or (H, W, channels) at another size: two pixels per axis, rounded where OpenCV rounds."""
    if picture.shape[:2] == (height, width):
        return picture.copy()
    rows = picture.reshape(*picture.shape[:2], -1).astype(np.int64)
    first, second, weight = _taps(picture.shape[1], width)
    rows = rows[:, first] * (_PLACES - weight)[:, None] + rows[:, second] * weight[:, None]
    first, second, weight = _taps(picture.shape[0], height)
    upper = ((_PLACES - weight)[:, None, None] * (rows[first] >> 4)) >> 16
    lower = (weight[:, None, None] * (rows[second] >> 4)) >> 16
    resized: np.ndarray = ((upper + lower + 2) >> 2).astype(np.uint8)
    return resized.reshape(height, width, *picture.shape[2:])


def _taps(length: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each wanted place along an axis: its two neighbours, and the weight of the second, of 2048."""
    place = ((np.arange(wanted) + 0.5) * (length / wanted) - 0.5).astype(np.float32)
    first = np.floor(place).astype(int)
    share = np.where((first < 0) | (first >= length - 1), 0, place - first)
    first = first.clip(0, length - 1)
    return first, np.minimum(first + 1, length - 1), np.rint(share * _PLACES).astype(np.int64)
