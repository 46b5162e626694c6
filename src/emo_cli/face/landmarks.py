"""Names for the 478 landmarks: which numbers are the lips, the eyes, the brows, the face's outline.

Left and right are the PERSON's: the right eye is on the left of the picture. The numbers are those of
MediaPipe's face mesh; rings run once around without repeating the first point.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open

WEIGHTS = Path(__file__).with_name("weights.safetensors")

MESH_POINTS = 468
POINTS = 478

CHIN, NOSE_TIP = 152, 1
RIGHT_EYE_CORNERS = (33, 133)  # outer, inner
LEFT_EYE_CORNERS = (263, 362)  # outer, inner
MOUTH_CORNERS = (61, 291)  # the person's right, left; outer rim of the lips
INNER_MOUTH_CORNERS = (78, 308)
UPPER_LIP_INNER_MIDDLE, LOWER_LIP_INNER_MIDDLE = 13, 14

# Clockwise as seen in the picture, from the top of the forehead.
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

# Lip rings: from the person's right corner along the lower lip to the left corner, back along the upper lip.
OUTER_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
INNER_LIPS = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip

# Eyelid edges: from the outer corner along the lower lid to the inner corner, back along the upper lid.
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)

# The pupil's centre, then four points of the rim: right, top, left, bottom in the picture (mirrored for the
# left).
RIGHT_IRIS = (468, 469, 470, 471, 472)
LEFT_IRIS = (473, 474, 475, 476, 477)

# Lower edge from the outside in, then upper edge from the outside in.
RIGHT_BROW = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
LEFT_BROW = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)

# Points that speech and expressions hardly move: for fitting the head's pose.
STABLE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 234, 127, 162, 21, 54, 103, 67, 109, 93,
    168, 6, 197, 195, 5, 4, 1, 33, 133, 362, 263, 129, 358, 98, 327, 2, 9, 8, 151,
)  # fmt: skip

# What the attention mesh looks at closely, in the order in which it gives the points.
LIPS_REGION = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)  # fmt: skip
RIGHT_EYE_REGION = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245,
    156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
LEFT_EYE_REGION = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
    359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
    446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
    265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465,
    383, 300, 293, 334, 296, 336, 285, 417,
)  # fmt: skip


def triangles() -> np.ndarray:
    """The mesh's faces (852, 3) int64, eyes and mouth left open, all anticlockwise as seen from the front."""
    with safe_open(WEIGHTS, framework="np") as file:
        stored: np.ndarray = file.get_tensor("mesh.triangles")
    return stored.astype(np.int64)
