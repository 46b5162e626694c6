"""The regions that Hallo's sound acts on, from landmarks drawn by hand."""

import numpy as np
import pytest

from emo_cli.errors import UsageError
from emo_cli.face.landmarks import FACE_OVAL, OUTER_LIPS
from emo_cli.hallo_masks import find_regions

FULL, FACE, LIP = 0, 1, 2


def landmarks(centre: tuple[float, float] = (100, 100), radius: float = 40) -> np.ndarray:
    """A round face with a small round mouth below its middle."""
    points = np.tile(np.array([*centre, 0.0]), (478, 1))
    for ring, size, below in ((FACE_OVAL, radius, 0.0), (OUTER_LIPS, radius / 5, radius / 2)):
        angle = np.linspace(0, 2 * np.pi, len(ring), endpoint=False)
        points[list(ring), :2] = np.stack(
            [centre[0] + size * np.cos(angle), centre[1] + below + size * np.sin(angle)], 1
        )
    return points


def test_there_is_a_mask_of_every_size_down_to_an_eighth_of_the_latents() -> None:
    levels = find_regions(landmarks(), (200, 200), 512).masks.levels
    assert [tuple(level.shape) for level in levels] == [(1, 3, side * side, 1) for side in (64, 32, 16, 8)]
    assert all(level.min() >= 0 and level.max() <= 1 for level in levels)


def test_lips_are_taken_out_of_the_face_and_the_face_out_of_the_rest() -> None:
    masks = find_regions(landmarks(), (200, 200), 512).masks.levels[0].view(3, 64, 64)
    mouth, cheek, corner = (38, 32), (22, 32), (2, 2)
    assert [int(masks[:, row, column].argmax()) for row, column in (mouth, cheek, corner)] == [LIP, FACE, FULL]


def test_the_face_s_rectangle_is_a_fifth_larger_than_its_outline() -> None:
    located = find_regions(landmarks(), (200, 200), 192).face
    assert located.shape == (192, 192)
    assert abs((located > 0.5).sum() ** 0.5 - 80 * 1.2 * 192 / 200) < 2


def test_a_rectangle_at_the_border_is_moved_inside() -> None:
    located = find_regions(landmarks(centre=(42, 100)), (200, 200), 64).face
    rows, columns = np.nonzero(located > 0.5)
    assert columns.min() == 0
    assert abs((columns.max() - columns.min()) - (rows.max() - rows.min())) <= 1


def test_a_face_larger_than_the_picture_fills_it_unless_the_official_fault_is_wanted() -> None:
    face, picture = landmarks(centre=(50, 50), radius=60), (100, 100)
    assert find_regions(face, picture, 64).face.min() == 1
    assert find_regions(face, picture, 64).masks.levels[0][0, FACE].max() == 1
    assert find_regions(face, picture, 64, exact=True).face.mean() < 0.5


def test_a_size_that_does_not_halve_six_times_is_refused_with_one_that_does() -> None:
    with pytest.raises(UsageError, match="--size 512"):
        find_regions(landmarks(), (200, 200), 500)
