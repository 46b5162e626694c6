"""From a photo to a portrait that can speak: the face found, framed, masked, with a way back."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from emo_cli.errors import FaceError, UsageError
from emo_cli.face import Box, Detection, Face, FaceFinder
from emo_cli.face.finder import tilt
from emo_cli.face.found import overlap
from emo_cli.face.landmarks import FACE_OVAL, NOSE_TIP
from emo_cli.photo import decode as decode_photo
from emo_cli.photo import label, read_bytes

__all__ = ["Box", "Cut", "Face", "Framing", "Portrait", "decode_photo", "find_faces", "read"]

Framing = Literal["face", "portrait", "full"]

SIDES = {"portrait": 2.4, "full": 2.4, "face": 1.6}  # side of the crop in heights of the face
FACE_FROM_TOP = {"portrait": 0.45, "full": 0.45, "face": 0.48}  # where the face's middle stands in the crop
KEEP_WHOLE = 1.4  # a photo at most this many times larger than the wanted crop is kept whole
ROOM = 1.25  # a crop holds the face with at least this much room, even where the photo must be extended
SMALLEST_OUTPUT = 64
# How far the region of motion reaches from the face's middle, in times the face oval: hair, ears, neck.
REACH_UP, REACH_DOWN, REACH_ASIDE = 1.9, 1.5, 1.5
FRONTAL, REACH_BEHIND = 0.2, 1.2  # a nose further aside shows the back of the head: so much further by its offset
SOFTNESS = 0.07  # blur of the mask's edge, in heights of the face
COVERED = 0.1  # share of motion from which on the frame replaces the photo
SEAM = 0.06  # width of the faded border where the crop meets the rest of the photo, in sides of the crop
LYING = math.radians(60)  # a face turned further than this is a photo that lies on its side


@dataclass(frozen=True)
class Portrait:
    """What the models and the codec get of a photo.

    image: uint8 (H, W, 3), the framed crop. landmarks: float32 (478, 3) in its pixels, face: the box around
    them. mask: float32 (H, W), 1 where motion is allowed, 0 where the photo stays, with a soft edge. crop:
    where the image lies in the photo, in photo pixels; it reaches outside where the photo had to be extended.
    photo: uint8 (Hp, Wp, 3), upright. score: how sure the mesh is that this is a face, 0.5..1. identity: a
    recognition embedding, for models that want one. sha256: of the photo's bytes, if they are known. faces: all that
    were found in the photo, largest first, in its pixels; None where nobody looked for more than the one.
    """

    image: np.ndarray
    landmarks: np.ndarray
    face: Box
    mask: np.ndarray
    crop: Box
    photo: np.ndarray
    score: float
    identity: np.ndarray | None = None
    sha256: str | None = None
    faces: tuple[Face, ...] | None = None

    @property
    def photo_face(self) -> Box:
        """The face's box in pixels of the photo."""
        scale = self.crop.width / self.image.shape[1]
        moved = (self.crop.x + self.face.x * scale, self.crop.y + self.face.y * scale)
        return Box(*moved, self.face.width * scale, self.face.height * scale)

    def compose(self, frame: np.ndarray) -> np.ndarray:
        """Paste a frame uint8 (H, W, 3) back into the whole photo -> uint8 (Hp, Wp, 3), no seam visible."""
        if frame.shape != self.image.shape:
            raise ValueError(f"A frame of {frame.shape} does not fit a portrait of {self.image.shape}.")
        rows, columns = self._visible[:2]
        whole = self.photo.copy()
        below = whole[rows, columns].astype(np.float32)
        blended = below + self._opacity * (self._patch(frame) + self._lost - below)
        whole[rows, columns] = np.rint(blended).clip(0, 255).astype(np.uint8)
        return whole

    def _patch(self, frame: np.ndarray) -> np.ndarray:
        """A frame in the photo's scale, the part inside the photo: float32 (rows, columns, 3)."""
        _, _, rows, columns = self._visible
        return _resized(frame, round(self.crop.width))[rows, columns].astype(np.float32)

    @cached_property
    def _lost(self) -> np.ndarray:
        """What an enlarged crop loses on the way there and back, so that an unchanged frame gives the photo back.

        A reduced crop loses true detail; standing still over a moving face, that would look like a ghost.
        """
        rows, columns = self._visible[:2]
        patch = self._patch(self.image)
        if self.crop.width > self.image.shape[1]:
            return np.zeros_like(patch)
        return self.photo[rows, columns].astype(np.float32) - patch

    @cached_property
    def _visible(self) -> tuple[slice, slice, slice, slice]:
        """The crop's part inside the photo: rows and columns of the photo, rows and columns of the crop."""
        height, width = self.photo.shape[:2]
        left, top, side = round(self.crop.x), round(self.crop.y), round(self.crop.width)
        x, y, right, bottom = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
        return slice(y, bottom), slice(x, right), slice(y - top, bottom - top), slice(x - left, right - left)

    @cached_property
    def _opacity(self) -> np.ndarray:
        """How much a frame covers the photo (rows, columns, 1): all of it where it may move, faded at the border.

        Motion fades with the mask already; fading the picture as well would show moved and still hair at once.
        """
        rows, columns, inner_rows, inner_columns = self._visible
        side = round(self.crop.width)
        height, width = self.photo.shape[:2]
        mask = np.asarray(Image.fromarray(self.mask).resize((side, side), Image.Resampling.BILINEAR))
        down = _fade(rows.start, rows.stop, height, side * SEAM)
        across = _fade(columns.start, columns.stop, width, side * SEAM)
        moving = np.clip(mask[inner_rows, inner_columns] / COVERED, 0, 1)
        opacity: np.ndarray = moving * down[:, None] * across[None]
        return opacity[..., None].astype(np.float32)


class Cut(Protocol):
    """A model's own way of cutting a portrait out of a photo."""

    def square(self, face: Box, width: int, height: int) -> Box:
        """The crop for a face in a photo of a size, in whole pixels."""
        ...

    def resized(self, picture: np.ndarray, size: int) -> np.ndarray | None:
        """The crop uint8 (H, W, 3) at (size, size), or None to leave it to the usual way."""
        ...


def find_faces(photo: np.ndarray) -> list[Face]:
    """All faces in an upright photo uint8 (H, W, 3), largest first."""
    return FaceFinder().find(photo)


def read(
    source: Path | bytes,
    framing: Framing = "portrait",
    face: str = "largest",
    size: int = 512,
    cut: Cut | None = None,
) -> Portrait:
    """Read a photo, find the face and frame it.

    framing: "portrait" takes head and shoulders, "face" is tighter, "full" frames like "portrait" and is
    meant to be composed back into the whole photo. face: largest, left, right, a number counted by size from
    1, a point "x,y" or a box "x,y,w,h" in photo pixels. size: side of the square image, an even number of
    pixels. cut: takes the place of the framing. A photo lying on its side is turned by the face.
    """
    if framing not in SIDES:
        raise UsageError(f'The framing "{framing}" is unknown. Choose face, portrait or full.')
    if size < SMALLEST_OUTPUT or size % 2:
        raise UsageError(f"The size {size} is not an even number of at least {SMALLEST_OUTPUT}. Try 512.")
    name, content = label(source), source if isinstance(source, bytes) else read_bytes(source)
    photo = decode_photo(content, name)
    numbers = _numbers(face)
    by_hand = len(numbers) == 4
    found = () if by_hand else tuple(find_faces(photo))
    chosen = _in_box(photo, Box(*numbers), name) if by_hand else _choose(found, face, numbers, name)
    photo, chosen, found = _upright(photo, chosen, found)
    height, width = photo.shape[:2]
    crop = cut.square(chosen.box, width, height) if cut else _frame(chosen.box, width, height, framing)
    scale = size / crop.width
    shift = np.array([crop.x, crop.y, 0], np.float32)
    landmarks = ((chosen.landmarks - shift) * scale).astype(np.float32)
    box = chosen.box.moved(-crop.x, -crop.y)
    picture = _cut(photo, crop)
    resized = cut.resized(picture, size) if cut else None
    return Portrait(
        image=_resized(picture, size) if resized is None else resized,
        landmarks=landmarks,
        face=Box(box.x * scale, box.y * scale, box.width * scale, box.height * scale),
        mask=_mask(landmarks, size),
        crop=crop,
        photo=photo,
        score=chosen.score,
        sha256=hashlib.sha256(content).hexdigest(),
        faces=None if by_hand else found,
    )


def _choose(faces: Sequence[Face], wish: str, numbers: Sequence[float], name: str) -> Face:
    """The face that the user means, of those that were found."""
    if not faces:
        raise FaceError(f"No face found in {name}. Crop it closer, or give the box with --face X,Y,W,H.")
    if wish in ("left", "right"):
        ordered = sorted(faces, key=lambda face: face.box.centre[0])
        return ordered[0] if wish == "left" else ordered[-1]
    if len(numbers) == 2:
        return _at(faces, numbers[0], numbers[1], name)
    index = 1 if wish == "largest" else int(numbers[0])
    if not 1 <= index <= len(faces):
        raise FaceError(
            f"There is no face {index} in {name}: {len(faces)} found. Give a number from 1 to {len(faces)}."
        )
    return faces[index - 1]


def _numbers(wish: str) -> list[float]:
    """The numbers in a wish; none for the words."""
    if wish in ("largest", "left", "right"):
        return []
    parts = wish.split(",")
    if re.fullmatch(r"\d+", wish) or (
        len(parts) in (2, 4) and all(re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", part) for part in parts)
    ):
        return [float(part) for part in parts]
    raise UsageError(f'The face "{wish}" is not understood. Give largest, left, right, N, X,Y or X,Y,W,H.')


def _at(faces: Sequence[Face], x: float, y: float, name: str) -> Face:
    """The smallest face whose box holds a point: of two that overlap, the larger has other points."""
    for face in reversed(faces):
        if face.box.contains(x, y):
            return face
    raise FaceError(f"There is no face at {x:g},{y:g} in {name}. Give a point inside a face.")


def _in_box(photo: np.ndarray, box: Box, name: str) -> Face:
    """The face in a box given by hand: found there if possible, taken on trust if the mesh agrees."""
    height, width = photo.shape[:2]
    if min(box.width, box.height) < 1 or overlap(box, Box(0, 0, width, height)) == 0:
        raise FaceError(f"The box given with --face lies outside {name} ({width} x {height} pixels). Correct it.")
    finder = FaceFinder()
    margin = max(box.width, box.height) / 2
    left, top = max(math.floor(box.x - margin), 0), max(math.floor(box.y - margin), 0)
    right, bottom = math.ceil(box.x + box.width + margin), math.ceil(box.y + box.height + margin)
    inside = [
        moved
        for face in finder.find(photo[top:bottom, left:right])
        if box.contains(*(moved := face.moved(left, top)).box.centre)
    ]
    if inside:
        return inside[0]
    try:
        return finder.landmarks(photo, Detection(box, np.zeros((6, 2)), 1.0, 0.0))
    except FaceError as error:
        raise FaceError(
            f"No face found in {name} inside the box given with --face. Draw the box closely around one face."
        ) from error


def _upright(
    photo: np.ndarray, chosen: Face, others: tuple[Face, ...]
) -> tuple[np.ndarray, Face, tuple[Face, ...]]:
    """The photo turned by quarters until the chosen face stands, with the faces turned along."""
    angle = tilt(chosen.landmarks)
    quarters = math.floor(abs(angle) / (math.pi / 2) + 1 - LYING / (math.pi / 2))
    for _ in range(quarters if angle >= 0 else 4 - quarters):
        width = photo.shape[1]
        photo = np.ascontiguousarray(np.rot90(photo))
        chosen, others = _turned(chosen, width), tuple(_turned(face, width) for face in others)
    return photo, chosen, others


def _turned(face: Face, width: int) -> Face:
    """A face after a photo of a width was turned by a quarter, against the clock."""
    x, y, z = face.landmarks.T
    box = Box(face.box.y, width - face.box.x - face.box.width, face.box.height, face.box.width)
    return Face(box, np.stack([y, width - x, z], 1), face.score)


def _frame(face: Box, width: int, height: int, framing: Framing) -> Box:
    """The square crop for a face: inside the photo wherever the face allows it, whole pixels."""
    inner = min(width, height)
    wanted = SIDES[framing] * max(face.height, face.width)
    side = min(math.ceil(wanted), inner)
    if framing != "face" and inner <= wanted * KEEP_WHOLE:
        side = inner
    side = max(side, math.ceil(ROOM * max(face.width, face.height)))
    x, y = face.centre
    left = _inside(x - side / 2, side, width)
    top = _inside(y - side * FACE_FROM_TOP[framing], side, height)
    return Box(left, top, side, side)


def _inside(start: float, side: int, length: int) -> int:
    """Where a stretch starts so that it lies in 0..length, or around it evenly if it is longer."""
    if side > length:
        return (length - side) // 2
    return min(max(round(start), 0), length - side)


def _cut(photo: np.ndarray, crop: Box) -> np.ndarray:
    """The crop's pixels; the photo continues as its mirror image where the crop reaches outside."""
    left, top, side = int(crop.x), int(crop.y), int(crop.width)
    height, width = photo.shape[:2]
    above, before = max(-top, 0), max(-left, 0)
    below, after = max(top + side - height, 0), max(left + side - width, 0)
    part = photo[max(top, 0) : top + side, max(left, 0) : left + side]
    return np.pad(part, ((above, below), (before, after), (0, 0)), mode="symmetric")


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[:2] == (size, size):
        return image.copy()
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def _mask(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Where motion is allowed: the face's oval enlarged to hair and neck, float32 (size, size), soft edge."""
    angle = tilt(landmarks)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    level = landmarks[list(FACE_OVAL), :2] @ turn
    low, high = level.min(0), level.max(0)
    middle = (low + high) / 2
    outward = level - middle
    reach = np.where(outward[:, 1] < 0, REACH_UP, REACH_DOWN)
    nose = float((landmarks[NOSE_TIP, :2] @ turn - middle)[0] / max((high - low)[0] / 2, 1e-6))  # -1..1
    behind = outward[:, 0] * nose < 0
    aside = REACH_ASIDE + behind * REACH_BEHIND * max(abs(nose) - FRONTAL, 0.0)
    outline = (middle + outward * np.stack([aside, reach], 1)) @ turn.T
    drawn = Image.new("L", (size, size), 0)
    ImageDraw.Draw(drawn).polygon([(float(x), float(y)) for x, y in outline], fill=255)
    soft = drawn.filter(ImageFilter.GaussianBlur(SOFTNESS * float(high[1] - low[1])))
    return np.asarray(soft, dtype=np.float32) / 255


def _fade(start: int, stop: int, length: int, width: float) -> np.ndarray:
    """Opacity along one axis: rises from 0 where an end meets more photo, is 1 at the photo's border."""
    place = np.arange(start, stop) + 0.5
    rising = np.ones(len(place)) if start == 0 else np.clip((place - start) / width, 0, 1)
    falling = np.ones(len(place)) if stop == length else np.clip((stop - place) / width, 0, 1)
    opacity = np.minimum(rising, falling)
    smooth: np.ndarray = opacity**2 * (3 - 2 * opacity)
    return smooth
