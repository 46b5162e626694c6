"""Draw a face as EchoMimic's pose models want to see it: lines for eyes and brows, dots for pupils and nose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise

import numpy as np
from PIL import Image, ImageDraw

from emo_cli.errors import FaceError
from emo_cli.face.landmarks import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE, STABLE
from emo_cli.tape import Rows, Tape

DRAWN_SIZE = 512  # the pictures the weights were trained with; others are shrunk from it
LINE, DOT = 2, 3  # thickness of a line, half the side of a dot, pixels of 512
# Colours of the drawings that the weights were trained with, in the order of their channels.
EYES = ((RIGHT_EYE, (10, 200, 180)), (LEFT_EYE, (180, 200, 10)))
BROWS = ((RIGHT_BROW, (10, 220, 180)), (LEFT_BROW, (180, 220, 10)))
DOTS = ((468, (10, 200, 250)), (473, (250, 200, 10)), (4, (200, 200, 200)))

Drawings = Callable[[Sequence[int]], np.ndarray]
"""Frames by their numbers -> what the face locator sees in them, float32 (frames, 3, height, width) in 0..1."""


def pictures(landmarks: Rows, size: int, places: Sequence[int]) -> np.ndarray:
    """Drawings float32 (frames, 3, size, size) in 0..1 of some rows of landmarks (rows, 478, 2 or 3).

    The landmarks are in pixels of a picture `size` wide; places beyond the last row show the last.
    """
    rows = np.clip(np.asarray(places), 0, len(landmarks) - 1)
    drawn = {row: draw(landmarks[row : row + 1][0], size, size) for row in set(rows.tolist())}
    return np.stack([drawn[row] for row in rows.tolist()]).transpose(0, 3, 1, 2).astype(np.float32) / 255


def draw(landmarks: np.ndarray, side: float, size: int) -> np.ndarray:
    """One drawing uint8 (size, size, 3) of landmarks (478, 2 or 3) in pixels of a square picture `side` wide."""
    points = landmarks[:, :2] * (DRAWN_SIZE / side)
    image = Image.new("RGB", (DRAWN_SIZE, DRAWN_SIZE))
    pen = ImageDraw.Draw(image)
    for ring, colour in EYES:
        pen.line([_place(points[index]) for index in (*ring, ring[0])], fill=colour, width=LINE)
    for brow, colour in BROWS:
        for edge in (brow[:5], brow[5:]):
            for first, second in pairwise(edge):
                pen.line([_place(points[first]), _place(points[second])], fill=colour, width=LINE)
    for index, colour in DOTS:
        x, y = _place(points[index])
        pen.rectangle((x - DOT, y - DOT, x + DOT - 1, y + DOT - 1), fill=colour)
    if size != DRAWN_SIZE:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _place(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def followed(tracks: Iterable[np.ndarray | None], frames: int, still: np.ndarray) -> Tape:
    """The landmarks (frames or fewer, 478, 2) by which the portrait moves like a driving face, on a tape.

    tracks: the driving face's landmarks per video frame, None where it was not seen: there the face keeps its last
    place, as it does after the last row. still: the portrait's own landmarks. The driving face is turned, scaled and
    moved once so that its first frame lies on the portrait. Raises FaceError when no frame shows a face.
    """
    seen = _held(tracks, frames)
    first = next(seen, None)
    if first is None:
        raise FaceError("No face was found in the driving video. Give one that shows a face, or leave out --pose.")
    turn, shift = _fitted(first[:, :2], still[:, :2])
    moved = Tape(len(first), 2)
    for points in chain([first], seen):
        moved.add((points[:, :2] @ turn + shift)[None])
    return moved


def _held(tracks: Iterable[np.ndarray | None], frames: int) -> Iterator[np.ndarray]:
    """One row of landmarks per frame from the first face on; frames before it get it as well."""
    last, waiting = None, 0
    for index, points in enumerate(tracks):
        if index == frames:
            return
        if points is None and last is None:
            waiting += 1
            continue
        last = last if points is None else points
        assert last is not None
        yield from (last for _ in range(waiting + 1))
        waiting = 0


def _fitted(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(2, 2) rotation and scale, (2,) shift that bring source points (478, 2) onto target points.

    Least squares over the points that expressions hardly move; a picture's rotation and scale are one complex factor.
    """
    index = list(STABLE)
    here, there = (points[index].astype(np.float64) @ np.array([1, 1j]) for points in (source, target))
    centred = here - here.mean()
    factor = np.vdot(centred, there - there.mean()) / np.vdot(centred, centred).real
    turn = np.array([[factor.real, factor.imag], [-factor.imag, factor.real]])
    return turn, target[index].mean(0) - source[index].mean(0) @ turn
