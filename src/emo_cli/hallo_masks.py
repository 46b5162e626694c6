"""Where Hallo lets the sound act on a portrait: the whole picture, the face, the lips, as soft masks of every size.

Hallo made its masks with OpenCV, in whole numbers. The same whole numbers are computed here, so that its weights see
the masks they were trained with; on rectangles they agree with OpenCV's bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from emo_cli.errors import UsageError
from emo_cli.face.landmarks import FACE_OVAL, OUTER_LIPS
from emo_cli.networks.audio import RegionMasks
from emo_cli.regions import Rectangle, linear_resize

FACE_ROOM, LIP_ROOM = 1.2, 2.0  # a region's rectangle is so many times larger than the landmarks' own
SIDE = 64  # masks are blurred at this size, whatever the size of the picture
FACE_BLUR, LIP_BLUR = (51, 8.0), (31, 5.0)  # taps, sigma
LEVELS = 4
_TAPS = 256  # OpenCV's weights of a blur are whole multiples of 1 / 256


@dataclass(frozen=True)
class HalloRegions:
    """What Hallo is told about the places of a portrait.

    face: the face's rectangle, float32 (size, size) in 0..1, for the face locator; masks: for the audio layers.
    """

    face: np.ndarray
    masks: RegionMasks


def find_regions(
    landmarks: np.ndarray,
    picture: tuple[int, int],
    size: int,
    exact: bool = False,
    face_room: float = FACE_ROOM,
) -> HalloRegions:
    """Regions of a face by its landmarks (478, 2 or 3) in pixels of a picture (height, width).

    size: side of the square video, a multiple of 64; UsageError otherwise. exact: as Hallo's own code, where most of a
    rectangle larger than the picture is lost; otherwise it is cut at the picture's border.
    """
    if size % 64:
        raise UsageError(f"This model makes pictures whose side is a multiple of 64, not {size}. Try --size 512.")
    face = _drawn(_rectangle(landmarks[list(FACE_OVAL), :2], picture, face_room), picture, exact)
    lips = _drawn(_rectangle(landmarks[list(OUTER_LIPS), :2], picture, LIP_ROOM), picture, exact)
    located = np.asarray(Image.fromarray(face).resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255
    return HalloRegions(located, RegionMasks(_levels(_soft_masks(face, lips, exact), size)))


def _rectangle(points: np.ndarray, picture: tuple[int, int], room: float) -> Rectangle:
    """The points' rectangle, enlarged around its middle and moved into the picture, for which it may be too large."""
    low, high = np.round(points.min(0)), np.round(points.max(0))
    middle, half = np.floor((low + high) / 2), np.floor((high - low) * room / 2)
    low, high = middle - half, middle + half
    below = np.minimum(low, 0)
    low, high = low - below, high - below
    above = np.maximum(high - np.array(picture[::-1]), 0)
    low, high = low - above, high - above
    return Rectangle(round(low[0]), round(low[1]), round(high[0]), round(high[1]))


def _drawn(place: Rectangle, picture: tuple[int, int], exact: bool) -> np.ndarray:
    """uint8 (height, width): 255 inside the rectangle. A negative border counts from the far end in Hallo's code."""
    drawn = np.zeros(picture, np.uint8)
    left, top = (place.left, place.top) if exact else (max(place.left, 0), max(place.top, 0))
    drawn[top : place.bottom, left : place.right] = 255
    return drawn


def _soft_masks(face: np.ndarray, lips: np.ndarray, exact: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The masks of the three audio branches, uint8 (64, 64): beside the face, the face without lips, the lips."""
    soft_face = _stretched(_blurred(linear_resize(face, SIDE, SIDE), *FACE_BLUR), exact)
    soft_lips = _stretched(_blurred(linear_resize(lips, SIDE, SIDE), *LIP_BLUR), exact)
    beside = ((1 - soft_face / 255) * 255).astype(np.uint8)
    without_lips = np.maximum(soft_face.astype(np.int16) - soft_lips, 0).astype(np.uint8)
    return beside, without_lips, soft_lips


def _levels(masks: tuple[np.ndarray, ...], size: int) -> tuple[torch.Tensor, ...]:
    """Per level of the Backbone (1, 3, h * w, 1) in 0..1, finest first."""
    pictures, levels = [Image.fromarray(mask) for mask in masks], []
    for side in (size // 8 >> level for level in range(LEVELS)):
        shrunk = [np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR)) for picture in pictures]
        levels.append(torch.from_numpy(np.stack(shrunk).reshape(1, len(masks), -1, 1)).float() / 255)
    return tuple(levels)


def _bell(taps: int, sigma: float) -> np.ndarray:
    """A Gaussian of whole numbers whose sum is 256; what rounding takes from one tap the next one gets."""
    place = np.arange(taps) - taps // 2
    smooth = np.exp(-(place**2) / (2 * sigma**2))
    bell, carried = np.zeros(taps, np.int64), 0.0
    for index, value in enumerate(smooth[: taps // 2] / smooth.sum() * _TAPS):
        bell[index] = bell[-1 - index] = round(value + carried)
        carried += value - bell[index]
    bell[taps // 2] = _TAPS - bell.sum()
    return bell


def _blurred(picture: np.ndarray, taps: int, sigma: float) -> np.ndarray:
    """uint8 (h, w) through a Gaussian; the picture is mirrored at its border."""
    bell, windows = _bell(taps, sigma), np.lib.stride_tricks.sliding_window_view
    mirrored = np.pad(picture, taps // 2, mode="reflect").astype(np.int64)
    across = windows(mirrored, taps, axis=1) @ bell
    total = windows(across, taps, axis=0) @ bell
    blurred: np.ndarray = ((total + _TAPS * _TAPS // 2) >> 16).astype(np.uint8)
    return blurred


def _stretched(picture: np.ndarray, exact: bool) -> np.ndarray:
    """uint8 stretched to 0..255. One that is the same everywhere stays so; Hallo's code makes it 0."""
    low, high = int(picture.min()), int(picture.max())
    if low == high:
        return np.zeros_like(picture) if exact else picture
    factor = 255 * (1 / (high - low))
    narrow, shift = np.float64(np.float32(factor)), np.float64(np.float32(-low * factor))
    # OpenCV multiplies and adds in one operation of 32 bits: the factors are narrow, the product is not.
    return np.rint((picture * narrow + shift).astype(np.float32)).astype(np.uint8)
