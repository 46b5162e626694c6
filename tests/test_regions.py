"""EchoMimic's squares, rectangles and drawings of a face, where the official vectors do not reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_cli import portrait as portraits
from emo_cli.errors import FaceError, UsageError
from emo_cli.face import Box
from emo_cli.landmark_images import draw, followed, pictures
from emo_cli.regions import FaceCut, face_rectangle, linear_resize

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"
CROP = Box(0, 0, 100, 100)


def test_a_rectangle_that_begins_outside_the_photo_is_cut_not_lost() -> None:
    face = Box(-4, 2, 50, 60)
    assert face_rectangle(face, CROP, 100, exact=True).sum() == 0
    mask = face_rectangle(face, CROP, 100)
    assert mask[0, 0] == 1 and mask[:, 60:].sum() == 0 and mask.sum() > 2000


def test_the_region_grows_and_shrinks_the_rectangle_around_its_middle() -> None:
    face = Box(30, 40, 40, 20)
    small, usual, large = (face_rectangle(face, CROP, 100, region) for region in (0.5, 1.0, 1.5))
    assert small.sum() < usual.sum() < large.sum()
    middles = {tuple(np.round(np.argwhere(mask > 0).mean(0))) for mask in (small, usual, large)}
    assert len(middles) == 1


def test_a_region_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="above 0"):
        face_rectangle(Box(30, 40, 40, 20), CROP, 100, region=0)


def test_the_mask_lies_on_the_face_wherever_the_crop_is() -> None:
    mask = face_rectangle(Box(110, 60, 20, 20), Box(100, 50, 40, 40), 80)
    rows, columns = np.argwhere(mask > 0.5).min(0), np.argwhere(mask > 0.5).max(0)
    assert (rows == 16).all() and (columns == 63).all()


def test_the_square_never_leaves_the_photo() -> None:
    chance = np.random.default_rng(0)
    for _ in range(200):
        width, height = chance.integers(80, 300, 2)
        x, y = chance.uniform(0, width - 40), chance.uniform(0, height - 40)
        square = FaceCut().square(Box(x, y, chance.uniform(20, 90), chance.uniform(20, 90)), int(width), int(height))
        assert square.width == square.height > 0
        assert square.x >= 0 and square.y >= 0
        assert square.x + square.width <= width and square.y + square.height <= height


def test_a_photo_of_one_colour_keeps_it_at_every_size() -> None:
    flat = np.full((37, 53, 3), 201, np.uint8)
    assert (linear_resize(flat, 20, 64) == 201).all()


def test_the_portrait_of_an_echomimic_family_is_its_own_square() -> None:
    portrait = portraits.read(PHOTO, size=64, cut=FaceCut())
    assert portrait.crop == FaceCut().square(portrait.photo_face, *portrait.photo.shape[1::-1])
    assert portrait.image.shape == (64, 64, 3)
    rough = portraits.read(PHOTO, size=64, cut=FaceCut(exact=True))
    assert not np.array_equal(portrait.image, rough.image)


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    return portraits.read(PHOTO, size=256).landmarks


def test_a_drawing_shows_eyes_pupils_and_nose_where_they_are(landmarks: np.ndarray) -> None:
    drawn = draw(landmarks, 256, 512)
    for index, colour in ((468, (10, 200, 250)), (473, (250, 200, 10)), (4, (200, 200, 200))):
        x, y = (landmarks[index, :2] * 2).astype(int)
        assert tuple(drawn[y, x]) == colour
    x, y = (landmarks[13, :2] * 2).astype(int)
    assert drawn[y, x].sum() == 0, "the mouth is not drawn: it follows the sound"


def test_drawings_are_what_the_face_locator_takes(landmarks: np.ndarray) -> None:
    shown = pictures(np.stack([landmarks, landmarks + 20]), 256, [0, 1, 5, 0])
    assert shown.shape == (4, 3, 256, 256) and shown.dtype == np.float32 and 0.5 < shown.max() <= 1
    assert np.array_equal(shown[1], shown[2]) and np.array_equal(shown[0], shown[3])
    assert not np.array_equal(shown[0], shown[1])


def test_a_driving_face_is_laid_on_the_portrait_once_and_moves_from_there(landmarks: np.ndarray) -> None:
    angle = 0.3
    turn = 1.7 * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    first = landmarks[:, :2] @ turn + [40, -12]
    later = (landmarks[:, :2] + [5, 0]) @ turn + [40, -12]
    moved = followed([None, first, None, later, None], 6, landmarks)[:]
    assert moved.shape == (5, 478, 2), "the last row stands for all that follow"
    for index in (0, 1, 2):
        assert np.allclose(moved[index], landmarks[:, :2], atol=1e-2)
    for index in (3, 4):
        assert np.allclose(moved[index], landmarks[:, :2] + [5, 0], atol=1e-2)


def test_a_driving_video_without_a_face_is_refused(landmarks: np.ndarray) -> None:
    with pytest.raises(FaceError, match="driving video"):
        followed([None, None], 4, landmarks)
