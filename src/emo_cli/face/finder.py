"""Find the faces in a picture and follow a face through a video."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from emo_cli.errors import FaceError, WeightsError
from emo_cli.face.crops import cut
from emo_cli.face.detector import SAME_FACE, FullRange, ShortRange, detect
from emo_cli.face.found import Box, Detection, Face, Square, overlap
from emo_cli.face.landmarks import LEFT_EYE_CORNERS, MESH_POINTS, RIGHT_EYE_CORNERS, WEIGHTS
from emo_cli.face.mesh import PIXELS, FaceMesh

PRESENCE = 0.5  # below this the mesh saw no face, and its landmarks mean nothing
MARGIN = 1.5  # the mesh was trained on squares this many times the face's longer side
# The detectors also see faces that lie or stand on their head, but place them badly and score them lower
# (0.5-0.86 against 0.89-0.95 upright). So below SURE all four ways up are tried, and another way must be
# clearly better.
SURE = 0.87
CLEARLY = 0.05
TILINGS = (2, 3)  # tiles per side, tried in this order for faces too small for the whole picture
TILE_OVERLAP = 0.25  # of a tile: a face on the seam of two tiles is whole in one of them


Found = TypeVar("Found", Detection, Face)


class FaceFinder:
    """Both detectors and the mesh, on the CPU; loads the packaged weights once (about 1.8 M parameters)."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        with torch.device("meta"):  # the file's numbers take the place of random ones that nobody wants
            self.short_range, self.full_range, self.mesh = ShortRange(), FullRange(), FaceMesh()
        networks = {"short": self.short_range, "full": self.full_range, "mesh": self.mesh}
        try:
            with safe_open(weights, framework="pt") as file:
                for name, network in networks.items():
                    _load(network, file, f"{name}.")
        except (OSError, SafetensorError, RuntimeError) as error:
            raise WeightsError(
                f"The face networks in {weights} cannot be read ({error}). Install emo-cli again."
            ) from error

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """Faces in a picture uint8 (H, W, 3), best first; harder ways are tried only until one finds any."""
        found = next((found for found in self._attempts(picture) if found), [])
        return sorted(found, key=lambda detection: -detection.score)

    def landmarks(self, picture: np.ndarray, detection: Detection, passes: int = 2) -> Face:
        """The 478 landmarks of a detected face.

        The first pass looks where the detector points, each further one where the landmarks before it lie:
        the second halves what a shift of the picture changes (0.5 % -> 0.24 % of the eye distance); a third
        adds little. Raises FaceError when the mesh is less than half sure that there is a face.
        """
        middle_x, middle_y = detection.box.centre
        side = MARGIN * max(detection.box.width, detection.box.height)
        face = self._read(picture, Square(middle_x, middle_y, side, detection.angle))
        for _ in range(passes - 1):
            if face.score >= PRESENCE:
                face = self._read(picture, around(face.landmarks))
        if face.score < PRESENCE:
            raise FaceError(
                f"What was found is probably not a human face ({face.score:.0%} sure). Use a clearer picture."
            )
        return face

    def find(self, picture: np.ndarray) -> list[Face]:
        """All faces with landmarks, largest first.

        An attempt whose surest find the mesh takes for no face has perhaps only placed it badly: the next one counts
        too, so that a hand does not speak in the face's place.
        """
        faces: list[Face] = []
        for detections in self._attempts(picture):
            found = [(detection.score, self._checked(picture, detection)) for detection in detections]
            faces = _distinct(faces + [face for _, face in found if face])
            _, surest = max(found, key=lambda pair: pair[0], default=(0.0, None))
            if surest:
                break
        return sorted(faces, key=lambda face: -face.box.area)

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
        """Follow a face through frames uint8 (H, W, 3): per frame landmarks (478, 3) in pixels, or None."""
        last: Face | None = None
        for frame in frames:
            face = (self.follow(frame, last) if last else None) or next(self.upright(frame), None)
            yield face.landmarks if face else None
            last = face

    def follow(self, frame: np.ndarray, last: Face) -> Face | None:
        """The face of the frame before in this one, uint8 (H, W, 3); None where it is lost."""
        face = self._read(frame, around(last.landmarks))
        return face if face.score >= PRESENCE else None

    def upright(self, frame: np.ndarray) -> Iterator[Face]:
        """The upright faces of one frame, as detected, best first; cheaper than `find`, which misses none."""
        found = (self._checked(frame, detection) for detection in self._upright(frame))
        return (face for face in found if face)

    def _checked(self, picture: np.ndarray, detection: Detection) -> Face | None:
        try:
            return self.landmarks(picture, detection)
        except FaceError:
            return None

    def _attempts(self, picture: np.ndarray) -> Iterator[list[Detection]]:
        """Ways of looking, from the usual to the costly."""
        yield self._any_way_up(picture)
        for count in TILINGS:
            yield _distinct([found for tile in _tiles(picture, count) for found in self._in_tile(picture, tile)])

    def _any_way_up(self, picture: np.ndarray) -> list[Detection]:
        upright = self._upright(picture)
        if upright and min(found.score for found in upright) >= SURE:
            return upright
        ranked = [(found.score + CLEARLY, found) for found in upright]
        for turn in (1, 2, 3):
            ranked += [(found.score, found) for found in self._turned(picture, turn * math.pi / 2)]
        return _distinct([found for _, found in sorted(ranked, key=lambda pair: -pair[0])])

    def _upright(self, picture: np.ndarray) -> list[Detection]:
        return self._turned(picture, 0.0)

    def _turned(self, picture: np.ndarray, angle: float) -> list[Detection]:
        """Short range first; where both networks see a face, the short-range one places it better."""
        near = detect(self.short_range, picture, angle)
        return _distinct(near + detect(self.full_range, picture, angle))

    def _in_tile(self, picture: np.ndarray, tile: tuple[int, int, int, int]) -> list[Detection]:
        left, top, right, bottom = tile
        return [found.moved(left, top) for found in self._upright(picture[top:bottom, left:right])]

    @torch.inference_mode()
    def _read(self, picture: np.ndarray, square: Square) -> Face:
        points, presence = self.mesh(cut(picture, square, PIXELS) / 255)
        inside = points[0].double().numpy() / PIXELS
        placed = np.concatenate([square.to_picture(inside[:, :2]), inside[:, 2:] * square.side], 1)
        low, high = placed[:, :2].min(0), placed[:, :2].max(0)
        box = Box(*(float(value) for value in (*low, *(high - low))))
        return Face(box, placed.astype(np.float32), float(torch.sigmoid(presence[0])))


def around(landmarks: np.ndarray) -> Square:
    """The square in which the mesh should look for a face whose landmarks (478, 3) are known."""
    angle = tilt(landmarks)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    level = landmarks[:MESH_POINTS, :2] @ turn
    low, high = level.min(0), level.max(0)
    x, y = turn @ ((low + high) / 2)
    return Square(float(x), float(y), MARGIN * float((high - low).max()), angle)


def tilt(landmarks: np.ndarray) -> float:
    """How far the line through the outer eye corners is turned clockwise in the picture, radians."""
    across = landmarks[LEFT_EYE_CORNERS[0]] - landmarks[RIGHT_EYE_CORNERS[0]]
    return math.atan2(float(across[1]), float(across[0]))


def _load(network: nn.Module, file: safe_open, prefix: str) -> None:
    # The triangles lie beside the mesh's weights and belong to no layer.
    names = [name for name in file.keys() if name.startswith(prefix) and name != "mesh.triangles"]  # noqa: SIM118
    weights = {name.removeprefix(prefix): file.get_tensor(name).float() for name in names}
    network.load_state_dict(weights, assign=True)
    network.eval().requires_grad_(False)


def _distinct(candidates: list[Found]) -> list[Found]:
    """One per face, earlier ones kept."""
    kept: list[Found] = []
    for candidate in candidates:
        if all(overlap(candidate.box, other.box) <= SAME_FACE for other in kept):
            kept.append(candidate)
    return kept


def _tiles(picture: np.ndarray, count: int) -> Iterator[tuple[int, int, int, int]]:
    """Overlapping tiles, count x count: left, top, right, bottom."""
    height, width = picture.shape[:2]
    columns, rows = _spans(width, count), _spans(height, count)
    for top, bottom in rows:
        for left, right in columns:
            yield left, top, right, bottom


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    size = math.ceil(length / (count - (count - 1) * TILE_OVERLAP))
    starts = [round(index * (length - size) / (count - 1)) for index in range(count)]
    return [(start, start + size) for start in starts]
