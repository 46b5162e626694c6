"""Derive the 468-point rig from a head model: show rendered heads to the face mesh and see which vertex is which point.

python -m emo_cli.training.correspondence ICT-FaceKit/FaceXModel --out rig.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from emo_cli.chart.geometry import (
    LOWER_INNER_LIP,
    LOWER_OUTER_LIP,
    POINTS,
    UPPER_INNER_LIP,
    UPPER_OUTER_LIP,
    procrustes,
    upright,
)
from emo_cli.errors import FaceError
from emo_cli.face.landmarks import LEFT_EYE_REGION, RIGHT_EYE_REGION, STABLE
from emo_cli.training.rig import HeadModel, Rig

LandmarkFinder = Callable[[np.ndarray], np.ndarray | None]
"""From a picture uint8 (H, W, 3) to 468 or more landmarks (n, 3) in pixels, z smaller when nearer; None: no face."""

PICTURE = 768
PIXELS_PER_CENTIMETRE = 24.0
HORIZON = 0.46
"""Where the head's origin lies in the picture, as a share of its height."""
FACE_VERTICES = 9409
"""ICT-FaceKit's first vertices are the skin of the face; ears, neck, teeth and eyes follow."""
OPEN_JAW = 0.25
"""Weight of jawOpen in half of the pictures: on closed lips nobody can tell upper from lower."""
LOWER_LIP_DROP = 1.0
"""Centimetres that a lip vertex falls at full jawOpen: less is upper lip, more is lower lip."""
SEAM = 0.12
"""Centimetres between an upper and a lower lip vertex that touch when the mouth is closed."""
NEVER = 1e6
"""A distance in pixels that rules a vertex out."""
DEPTH_SHARE = 0.3
"""How much depth counts beside x and y: it is the mesh's weakest coordinate, but keeps the jaw line off the neck."""

# Between the outer and the inner contour each lip has two more rows, from the right corner to the left one.
RED_ROWS = (
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
)
UPPER_LIP = (*UPPER_INNER_LIP[1:-1], *UPPER_OUTER_LIP[1:-1], *RED_ROWS[0][1:-1], *RED_ROWS[1][1:-1])
LOWER_LIP = (*LOWER_INNER_LIP[1:-1], *LOWER_OUTER_LIP[1:-1], *RED_ROWS[2][1:-1], *RED_ROWS[3][1:-1])
LIP_CORNERS = (61, 76, 62, 78, 291, 306, 292, 308)

# Polygon ranges of the head model's parts and their colours; parts without a row (tear film, lashes) are not drawn.
PARTS = (
    (0, 11144, (205, 160, 140)),  # skin
    (11144, 14034, (90, 40, 40)),  # mouth and eye sockets
    (14034, 17006, (160, 80, 80)),  # gums and tongue
    (17006, 21496, (240, 235, 225)),  # teeth
    (21496, 24692, (235, 235, 235)),  # eyeballs
)
SKIN = 11144
BACKGROUND = (200, 200, 200)
LIGHT = (0.0, 0.38, 0.92)
"""From the front and above; light from one side would pull the landmarks to that side."""
EYES = ((21496, 23094), (23094, 24692))
IRIS, IRIS_RADIUS = (60, 45, 35), 0.6


@dataclass(frozen=True)
class Sighting:
    """One rendered head and where its landmarks were found.

    Attributes:
        vertices: (vertices, 3), cm; landmarks: (468, 3), pixels of the picture.
        open_mouth: whether the jaw was open.
    """

    vertices: np.ndarray
    landmarks: np.ndarray
    open_mouth: bool


def derive_rig(head: HeadModel, find_landmarks: LandmarkFinder, people: int = 8, seed: int = 0) -> Rig:
    """Measure which head vertex each landmark is, and how much the landmark finder is off on average.

    Every person is rendered with closed and with open mouth. A landmark becomes the face vertex nearest to it on
    average; lips are matched on open mouths only, each lip to vertices of its own.

    Raises:
        FaceError: the finder sees a face in less than half of the pictures.
    """
    finder = even_handed(find_landmarks, mirrored_points(head, find_landmarks))
    sightings = [seen for seen in observe(head, finder, people, seed) if seen is not None]
    closed = [seen for seen in sightings if not seen.open_mouth]
    if len(sightings) < people or not closed or len(closed) == len(sightings):
        raise FaceError(
            f"The face mesh saw only {len(sightings)} of {2 * people} rendered heads. Check the head model's units."
        )
    picked = match(head, sightings)
    bias = np.mean([_excess(seen, picked) for seen in closed], 0)

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    expressions, identities = head.expressions[:, picked], head.identities[:, picked]
    return Rig(tensor(head.neutral[picked]), tensor(expressions), tensor(identities), tensor(bias), head.names)


def even_handed(find_landmarks: LandmarkFinder, partner: np.ndarray) -> LandmarkFinder:
    """Let a finder also look at the mirrored picture and take the mean: what it prefers on one side cancels out."""

    def find(picture: np.ndarray) -> np.ndarray | None:
        straight, flipped = find_landmarks(picture), find_landmarks(np.ascontiguousarray(picture[:, ::-1]))
        if straight is None or flipped is None:
            return None
        mean: np.ndarray = (straight[:POINTS] + _unflipped(flipped, picture)[partner]) / 2
        return mean

    return find


def mirrored_points(head: HeadModel, find_landmarks: LandmarkFinder) -> np.ndarray:
    """Return the partner (468,) of every mesh point on the other side of the face.

    Lips and eyes are known by their lists; the others are paired on the symmetric neutral head and its mirror image.
    """
    picture = render(head.neutral, head.triangles, head.face_ids)
    straight, flipped = find_landmarks(picture), find_landmarks(np.ascontiguousarray(picture[:, ::-1]))
    if straight is None or flipped is None:
        raise FaceError("The face mesh does not see the neutral head. Check the head model's units: centimetres.")
    distance = np.linalg.norm(straight[:POINTS, None] - _unflipped(flipped, picture)[None], axis=2)
    partner = np.full(POINTS, -1)
    rows = (UPPER_INNER_LIP, LOWER_INNER_LIP, UPPER_OUTER_LIP, LOWER_OUTER_LIP, *RED_ROWS)
    known = [pair for row in rows for pair in zip(row, row[::-1], strict=True)]
    known += [
        *zip(RIGHT_EYE_REGION, LEFT_EYE_REGION, strict=True),
        *zip(LEFT_EYE_REGION, RIGHT_EYE_REGION, strict=True),
    ]
    for point, other in known:
        partner[point] = other
        distance[point], distance[:, other] = np.inf, np.inf
    for _ in range(int((partner < 0).sum())):  # nearest pair first
        point, other = np.unravel_index(distance.argmin(), distance.shape)
        partner[point] = other
        distance[point], distance[:, other] = np.inf, np.inf
    return partner


def _unflipped(landmarks: np.ndarray, picture: np.ndarray) -> np.ndarray:
    return landmarks[:POINTS] * (-1, 1, 1) + (picture.shape[1], 0, 0)


def observe(head: HeadModel, find_landmarks: LandmarkFinder, people: int, seed: int) -> list[Sighting | None]:
    """Render every person twice, mouth closed and open, the first being the neutral head; None: no face was seen."""
    random = np.random.default_rng(seed)
    jaw = head.expressions[head.names.index("jawOpen")]
    sightings: list[Sighting | None] = []
    for person in range(people):
        modes = (0.7 if person else 0.0) * random.normal(size=30)
        face = head.neutral + np.tensordot(modes, head.identities[:30], 1)
        for weight in (0.0, OPEN_JAW):
            vertices = (face + weight * jaw).astype(np.float32)
            landmarks = find_landmarks(render(vertices, head.triangles, head.face_ids))
            sightings.append(None if landmarks is None else Sighting(vertices, landmarks[:POINTS], weight > 0))
    return sightings


def match(head: HeadModel, sightings: list[Sighting]) -> np.ndarray:
    """Return the vertex (468,) of each landmark, all different."""
    distance = _distance(sightings)
    lips = [*UPPER_LIP, *LOWER_LIP, *LIP_CORNERS]
    distance[lips] = _distance([seen for seen in sightings if seen.open_mouth])[lips]
    falls = -head.expressions[head.names.index("jawOpen")][:FACE_VERTICES, 1] > LOWER_LIP_DROP
    distance += NEVER / 4 * ~_in_view(head)
    seam = _seam(head.neutral[:FACE_VERTICES], falls)
    distance[list(UPPER_LIP)] += NEVER * falls
    distance[list(LOWER_LIP)] += NEVER * ~falls
    distance[[*UPPER_INNER_LIP, *LOWER_INNER_LIP]] += NEVER / 2 * ~seam
    picked = np.zeros(POINTS, dtype=np.int64)
    rank = distance.min(1)
    rank[[*UPPER_INNER_LIP, *LOWER_INNER_LIP]] -= NEVER
    for landmark in rank.argsort():  # the lips' seam, then the surest first; a vertex serves one landmark only
        picked[landmark] = distance[landmark].argmin()
        distance[:, picked[landmark]] = 2 * NEVER
    return picked


def _in_view(head: HeadModel) -> np.ndarray:
    """Whether a face vertex (vertices,) looks to the viewer, mouth open: the lips' inside and the nostrils do not."""
    corners = (head.neutral + OPEN_JAW * head.expressions[head.names.index("jawOpen")])[head.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    toward = np.zeros(len(head.neutral))
    for corner in range(3):
        np.add.at(toward, head.triangles[:, corner], normals[:, 2])
    return toward[:FACE_VERTICES] > 0


def _seam(face: np.ndarray, falls: np.ndarray) -> np.ndarray:
    """Whether a vertex (vertices, 3) lies where the closed lips touch, so that "no gap" means closed for the rig."""
    near = np.flatnonzero(np.linalg.norm((face - face[falls].mean(0))[:, :2], axis=1) < 6)
    upper, lower = near[~falls[near]], near[falls[near]]
    touching = np.linalg.norm(face[upper][:, None] - face[lower][None], axis=2) < SEAM
    seam = np.zeros(len(face), dtype=bool)
    seam[upper[touching.any(1)]] = seam[lower[touching.any(0)]] = True
    return seam


def _distance(sightings: list[Sighting]) -> np.ndarray:
    """Mean distance in pixels (468, face vertices), depth counting less."""
    total = np.zeros((POINTS, len(sightings[0].vertices[:FACE_VERTICES])))
    for seen in sightings:
        face = seen.vertices[:FACE_VERTICES]
        flat = np.linalg.norm(seen.landmarks[:, None, :2] - project(face)[None], axis=2)
        depth, near = -seen.landmarks[:, 2], PIXELS_PER_CENTIMETRE * face[:, 2]
        # Landmark depth has no origin: let the stable points tell where it is.
        nearest = (flat + 1e3 * (face[:, 2] < 0))[list(STABLE)].argmin(1)
        depth = depth + np.median(near[nearest] - depth[list(STABLE)])
        total += np.hypot(flat, DEPTH_SHARE * (depth[:, None] - near[None]))
    return total / len(sightings)


def _excess(seen: Sighting, picked: np.ndarray) -> np.ndarray:
    """Landmarks minus vertices (468, 3), cm, after bringing the landmarks into the head's frame."""
    landmarks = upright(torch.from_numpy(seen.landmarks.astype(np.float64)))
    vertices = torch.from_numpy(seen.vertices[picked].astype(np.float64))
    similarity = procrustes(landmarks[list(STABLE)], vertices[list(STABLE)])
    return (similarity.apply(landmarks) - vertices).numpy()


def project(vertices: np.ndarray) -> np.ndarray:
    """Where vertices (n, 3), cm, are in the picture: (n, 2) pixels, seen from far away."""
    x = PICTURE / 2 + PIXELS_PER_CENTIMETRE * vertices[:, 0]
    return np.stack([x, PICTURE * HORIZON - PIXELS_PER_CENTIMETRE * vertices[:, 1]], 1)


def render(vertices: np.ndarray, triangles: np.ndarray, face_ids: np.ndarray) -> np.ndarray:
    """Draw a head from the front, flat-shaded, far triangles first: uint8 (768, 768, 3)."""
    corners = vertices[triangles]  # (triangles, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    colours = np.full((len(triangles), 3), -1.0)
    for first, stop, colour in PARTS:
        colours[(face_ids >= first) & (face_ids < stop)] = colour
    for first, stop in EYES:  # the iris lies behind a clear cornea, so its colour goes onto the eyeball
        eye = np.flatnonzero((face_ids >= first) & (face_ids < stop))
        middles = corners[eye].mean(1)[:, :2]
        if len(eye):
            centre = (middles.min(0) + middles.max(0)) / 2
            colours[eye[np.linalg.norm(middles - centre, axis=1) < IRIS_RADIUS]] = IRIS
    shown = (colours[:, 0] >= 0) & ((normals[:, 2] > 0) | (face_ids >= SKIN))
    shaded = colours * (0.35 + 0.65 * np.abs(normals @ np.array(LIGHT)).clip(0, 1))[:, None]
    # Twice the size, then halved: PIL draws without anti-aliasing.
    outline = (2 * project(vertices)[triangles]).reshape(-1, 6).round().astype(int)
    picture = Image.new("RGB", (2 * PICTURE, 2 * PICTURE), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for k in np.flatnonzero(shown)[corners[shown, :, 2].mean(1).argsort()]:
        draw.polygon(outline[k].tolist(), fill=tuple(int(value) for value in shaded[k]))
    return np.asarray(picture.resize((PICTURE, PICTURE), Image.Resampling.BOX))


def _main() -> None:
    from emo_cli.face.finder import FaceFinder

    parser = argparse.ArgumentParser(description="Derive the 468-point rig from ICT-FaceKit.")
    parser.add_argument("source", type=Path, help="folder of OBJ files, or an .npz of the head model")
    parser.add_argument("--out", type=Path, required=True, help="the rig to write, .npz")
    options = parser.parse_args()
    finder = FaceFinder()

    def find_landmarks(picture: np.ndarray) -> np.ndarray | None:
        faces = finder.find(picture)
        return faces[0].landmarks if faces else None

    derive_rig(HeadModel.load(options.source), find_landmarks).save(options.out)


if __name__ == "__main__":
    _main()
