"""Where things are on a face: the landmark lists of the 468-point mesh, and the way from a photo to the rig's frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from emo_cli.face.landmarks import FACE_OVAL, LEFT_EYE_CORNERS, MESH_POINTS, RIGHT_EYE_CORNERS, STABLE

POINTS = MESH_POINTS  # without those of the irises

# Inner lip contour from the right corner of the face (left in the picture) to the left corner, both ends shared.
UPPER_INNER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_OUTER_LIP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_OUTER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIP_PAIRS = tuple(zip(UPPER_INNER_LIP[1:-1], LOWER_INNER_LIP[1:-1], strict=True))  # nine, upper then lower

# Eye openings from corner to corner; lids are paired vertex by vertex between the corners.
RIGHT_UPPER_LID = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_LOWER_LID = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_UPPER_LID = (362, 398, 384, 385, 386, 387, 388, 466, 263)
LEFT_LOWER_LID = (362, 382, 381, 380, 374, 373, 390, 249, 263)
LID_PAIRS = tuple(zip(RIGHT_UPPER_LID[1:-1], RIGHT_LOWER_LID[1:-1], strict=True)) + tuple(
    zip(LEFT_UPPER_LID[1:-1], LEFT_LOWER_LID[1:-1], strict=True)
)  # fourteen, upper then lower
BESIDE_LIDS: dict[tuple[int, ...], tuple[int, ...]] = {
    RIGHT_UPPER_LID: (247, 30, 29, 27, 28, 56, 190),
    LEFT_UPPER_LID: (414, 286, 258, 257, 259, 260, 467),
    RIGHT_LOWER_LID: (25, 110, 24, 23, 22, 26, 112),
    LEFT_LOWER_LID: (341, 256, 252, 253, 254, 339, 255),
}
"""The ring of skin points beside each lid, in the order of the lids between their corners."""
BEYOND_LIDS: dict[tuple[int, ...], tuple[int, ...]] = {
    RIGHT_UPPER_LID: (113, 225, 224, 223, 222, 221, 189),
    LEFT_UPPER_LID: (413, 441, 442, 443, 444, 445, 342),
    RIGHT_LOWER_LID: (31, 228, 229, 230, 231, 232, 233),
    LEFT_LOWER_LID: (453, 452, 451, 450, 449, 448, 261),
}
"""The next ring outside."""
EYES = (
    (RIGHT_UPPER_LID, RIGHT_LOWER_LID, (50, 101, 205)),
    (LEFT_UPPER_LID, LEFT_LOWER_LID, (280, 330, 425)),
)
"""Per eye, the person's right one first: upper and lower lid, and points of the cheek below."""
RIGHT_EYE = RIGHT_UPPER_LID + RIGHT_LOWER_LID[-2:0:-1]  # closed loops of 16
LEFT_EYE = LEFT_UPPER_LID + LEFT_LOWER_LID[-2:0:-1]

OVAL = FACE_OVAL
EYE_CORNERS = (RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[0])  # outer
CHIN = (152, 175, 199, 148, 377)


@dataclass(frozen=True)
class Similarity:
    """`target = scale * (source - source_centre) @ rotation.T + target_centre`, rows are points."""

    scale: float
    rotation: torch.Tensor  # (3, 3)
    source_centre: torch.Tensor  # (3,)
    target_centre: torch.Tensor  # (3,)

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        """Source points (..., 3) in the target frame."""
        return self.scale * (points - self.source_centre) @ self.rotation.T + self.target_centre

    def invert(self, points: torch.Tensor) -> torch.Tensor:
        """Target points (..., 3) in the source frame."""
        return (points - self.target_centre) @ self.rotation / self.scale + self.source_centre

    def invert_vectors(self, vectors: torch.Tensor) -> torch.Tensor:
        """Differences (..., 3) of target points as differences in the source frame."""
        return vectors @ self.rotation / self.scale


def procrustes(source: torch.Tensor, target: torch.Tensor) -> Similarity:
    """Best similarity in the least-squares sense between two point sets (n, 3) (Kabsch 1976, Umeyama 1991)."""
    source_centre, target_centre = source.mean(0), target.mean(0)
    a, b = source - source_centre, target - target_centre
    u, singular, v = torch.linalg.svd(a.T @ b)
    signs = torch.ones(3, dtype=source.dtype, device=source.device)
    signs[2] = torch.sign(torch.linalg.det(u @ v))  # no mirror images
    rotation = ((u * signs) @ v).T
    scale = float((singular * signs).sum() / a.square().sum())
    return Similarity(scale, rotation, source_centre, target_centre)


def upright(landmarks: torch.Tensor) -> torch.Tensor:
    """Photo landmarks (..., 3) (x right, y down, z away) as x right, y up, z to the viewer, still in pixels."""
    return landmarks * landmarks.new_tensor([1.0, -1.0, -1.0])


def align(landmarks: torch.Tensor, mean: torch.Tensor, bias: torch.Tensor) -> tuple[Similarity, torch.Tensor]:
    """Put a photo's face into the rig's frame.

    Args:
        landmarks: (468, 3) photo pixels, z in the same unit and smaller when nearer.
        mean: (468, 3) centimetres, the rig's mean face.
        bias: (468, 3) centimetres, what the landmark network adds to a face of the rig.

    Returns:
        The similarity from upright pixels to centimetres, and the canonical face (468, 3) in centimetres.
    """
    points = upright(landmarks)
    stable = list(STABLE)
    similarity = procrustes(points[stable], (mean + bias)[stable])
    return similarity, similarity.apply(points) - bias


def lip_gaps(points: torch.Tensor) -> torch.Tensor:
    """Upper minus lower inner lip of points (..., 468, 3) -> (..., 9, 3); y is positive where the mouth is open."""
    upper, lower = zip(*LIP_PAIRS, strict=True)
    return points[..., list(upper), :] - points[..., list(lower), :]


def lid_gaps(points: torch.Tensor) -> torch.Tensor:
    """Upper minus lower lid of points (..., 468, 3) -> (..., 14, 3), right eye first."""
    upper, lower = zip(*LID_PAIRS, strict=True)
    return points[..., list(upper), :] - points[..., list(lower), :]
