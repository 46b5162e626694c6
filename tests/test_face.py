"""The face detectors and the mesh: equal to what they were converted from, and steady on turned and moved faces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emo_cli.errors import FaceError, WeightsError
from emo_cli.face import Box, Detection, Face, FaceFinder
from emo_cli.face import landmarks as names
from emo_cli.face.crops import cut, letterbox
from emo_cli.face.detector import anchors
from emo_cli.face.finder import around, tilt
from emo_cli.face.found import Square, overlap

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"


@dataclass(frozen=True)
class Expected:
    """What the original networks (run from their TensorFlow Lite files) gave for the example portrait."""

    landmarks: np.ndarray
    detection: Detection

    @property
    def eye_distance(self) -> float:
        return float(np.linalg.norm(self.landmarks[33, :2] - self.landmarks[263, :2]))


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.asarray(Image.open(PHOTO).convert("RGB"))


@pytest.fixture(scope="module")
def face(finder: FaceFinder, photo: np.ndarray) -> Face:
    return finder.find(photo)[0]


@pytest.fixture(scope="module")
def expected() -> Expected:
    stored = np.load(Path(__file__).parent / "data" / "face_portrait.npz")
    (left, top), (right, bottom), *points = stored["detection"]
    across = points[1] - points[0]
    box = Box(left, top, right - left, bottom - top)
    return Expected(stored["landmarks"], Detection(box, np.array(points), 1.0, math.atan2(across[1], across[0])))


def distances(found: np.ndarray, wanted: np.ndarray, unit: float) -> np.ndarray:
    return np.linalg.norm(found[:, :2] - wanted[:, :2], axis=1) / unit


def test_the_mesh_gives_the_landmarks_of_the_original_network(
    finder: FaceFinder, photo: np.ndarray, expected: Expected
) -> None:
    found = finder.landmarks(photo, expected.detection, passes=1).landmarks
    assert distances(found, expected.landmarks, expected.eye_distance).max() < 0.001
    assert np.abs(found[:, 2] - expected.landmarks[:, 2]).max() < 0.001 * expected.eye_distance


def test_the_detector_finds_the_face_where_the_original_network_does(
    finder: FaceFinder, photo: np.ndarray, expected: Expected
) -> None:
    found = finder.detect(photo)
    assert len(found) == 1
    assert overlap(found[0].box, expected.detection.box) > 0.9
    assert found[0].angle == pytest.approx(expected.detection.angle, abs=0.1)
    assert distances(found[0].points, expected.detection.points, expected.eye_distance).max() < 0.1


def test_a_face_has_478_landmarks_inside_its_box(face: Face) -> None:
    assert face.landmarks.shape == (478, 3)
    assert face.landmarks.dtype == np.float32
    assert all(face.box.contains(x, y) for x, y, _ in face.landmarks[5:-10:20])
    assert face.score > 0.95


def test_the_persons_right_eye_is_on_the_left_of_the_picture(face: Face) -> None:
    points = face.landmarks
    assert points[list(names.RIGHT_EYE), 0].mean() < points[list(names.LEFT_EYE), 0].mean()
    assert points[list(names.RIGHT_BROW), 1].mean() < points[list(names.RIGHT_EYE), 1].mean()
    assert points[names.CHIN, 1] > points[list(names.OUTER_LIPS), 1].max()


def test_each_iris_lies_in_its_own_eye(face: Face) -> None:
    for iris, eye in ((names.RIGHT_IRIS, names.RIGHT_EYE), (names.LEFT_IRIS, names.LEFT_EYE)):
        corners = face.landmarks[list(eye), 0]
        assert corners.min() < face.landmarks[iris[0], 0] < corners.max()


def test_the_nose_is_nearer_to_the_camera_than_the_ears(face: Face) -> None:
    assert face.landmarks[names.NOSE_TIP, 2] < face.landmarks[[234, 454], 2].min()


@pytest.mark.parametrize("degrees", [-30, 20, 45])
def test_landmarks_turn_with_the_picture(finder: FaceFinder, photo: np.ndarray, face: Face, degrees: int) -> None:
    turned = np.asarray(Image.fromarray(photo).rotate(-degrees, Image.Resampling.BICUBIC))
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    wanted = (face.landmarks[:, :2] - 256) @ turn + 256
    found = finder.find(turned)[0]
    unit = float(np.linalg.norm(wanted[33] - wanted[263]))
    assert distances(found.landmarks, wanted, unit).mean() < 0.03
    assert tilt(found.landmarks) - tilt(face.landmarks) == pytest.approx(angle, abs=0.03)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_face_is_found_whichever_way_up_the_photo_is(
    finder: FaceFinder, photo: np.ndarray, face: Face, quarters: int
) -> None:
    found = finder.find(np.rot90(photo, quarters))[0]
    wanted = -quarters * math.pi / 2
    difference = math.remainder(tilt(found.landmarks) - tilt(face.landmarks) - wanted, 2 * math.pi)
    assert abs(difference) < 0.05


def test_a_face_too_small_for_the_whole_picture_is_found_in_a_tile(finder: FaceFinder, photo: np.ndarray) -> None:
    picture = np.full((1200, 1600, 3), 127, np.uint8)
    picture[700:800, 1100:1200] = np.asarray(Image.fromarray(photo).resize((100, 100)))
    assert not finder._any_way_up(picture)
    x, y = finder.find(picture)[0].box.centre
    assert (x, y) == pytest.approx((1151, 746), abs=6)


def two_faces(photo: np.ndarray) -> np.ndarray:
    """A small face on the left, and a large one."""
    picture = np.zeros((512, 900, 3), np.uint8)
    picture[76:436, 20:380] = np.asarray(Image.fromarray(photo).resize((360, 360)))
    picture[:, 388:] = photo
    return picture


def test_two_faces_are_found_largest_first(finder: FaceFinder, photo: np.ndarray) -> None:
    first, second = finder.find(two_faces(photo))
    assert first.box.centre[0] > 450 > second.box.centre[0]
    assert first.box.area > second.box.area


def test_a_face_that_was_first_placed_badly_is_not_lost_to_a_smaller_one(photo: np.ndarray) -> None:
    class Misled(FaceFinder):
        def _attempts(self, picture: np.ndarray) -> Iterator[list[Detection]]:
            both = sorted(self._upright(picture), key=lambda detection: -detection.box.area)
            yield [replace(both[0].moved(-250, 250), score=0.99), both[1]]
            yield both

    found = Misled().find(two_faces(photo))
    assert [face.box.centre[0] > 450 for face in found] == [True, False]


def test_what_one_way_of_looking_found_stays_where_the_next_finds_nothing(photo: np.ndarray) -> None:
    class Misled(FaceFinder):
        def _attempts(self, picture: np.ndarray) -> Iterator[list[Detection]]:
            larger, smaller = sorted(self._upright(picture), key=lambda detection: -detection.box.area)
            yield [replace(larger.moved(-250, 250), score=0.99), smaller]
            yield []

    (face,) = Misled().find(two_faces(photo))
    assert face.box.centre[0] < 450


def test_where_there_is_no_face_none_is_found(finder: FaceFinder) -> None:
    wall = np.full((200, 300, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    assert finder.detect(wall) == []
    assert finder.find(noise) == []


def test_the_mesh_refuses_what_is_no_face(finder: FaceFinder, photo: np.ndarray) -> None:
    flag = Detection(Box(0, 300, 100, 100), np.zeros((6, 2)), 1.0, 0.0)
    with pytest.raises(FaceError, match="not a human face"):
        finder.landmarks(photo, flag)


def test_a_second_pass_makes_landmarks_steadier(finder: FaceFinder, photo: np.ndarray) -> None:
    shifts = [(0, 0), (7, 3), (-5, 9), (11, -6)]
    spread = {}
    for passes in (1, 2):
        found = []
        for x, y in shifts:
            moved = np.roll(photo, (y, x), (0, 1))
            detection = finder.detect(moved)[0]
            found.append(finder.landmarks(moved, detection, passes).landmarks - np.array([x, y, 0]))
        spread[passes] = np.std(found, axis=0)[:, :2].mean()
    assert spread[2] < spread[1]


def test_a_face_is_followed_and_found_again_after_it_was_away(finder: FaceFinder, photo: np.ndarray) -> None:
    empty = np.zeros_like(photo)
    frames = [photo, np.roll(photo, 6, 1), empty, np.roll(photo, 12, 1)]
    first, second, away, again = finder.track(iter(frames))
    assert first is not None and second is not None and again is not None
    assert away is None
    assert (second - first)[:, 0].mean() == pytest.approx(6, abs=0.7)
    assert (again - first)[:, 0].mean() == pytest.approx(12, abs=1.2)


def test_tracking_asks_for_one_frame_at_a_time(finder: FaceFinder, photo: np.ndarray) -> None:
    asked = []

    def frames():
        for index in range(3):
            asked.append(index)
            yield photo

    next(finder.track(frames()))
    assert asked == [0]


def test_triangles_cover_the_mesh_and_face_the_viewer(face: Face) -> None:
    triangles = names.triangles()
    assert triangles.shape == (852, 3)
    assert set(triangles.ravel()) == set(range(468))
    edges = {(a, b) for row in triangles.tolist() for a, b in zip(row, row[1:] + row[:1], strict=True)}
    assert len(edges) == 3 * len(triangles), "neighbours must run along a shared edge in opposite directions"
    corners = face.landmarks[triangles, :2]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # y points down, so that anticlockwise as seen is negative here.
    assert ((first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) < 0).mean() > 0.97


def test_anchors_stand_in_the_middle_of_their_cells() -> None:
    short = anchors(((16, 2), (8, 6)))
    assert short.shape == (896, 2)
    assert short[0] == pytest.approx([1 / 32, 1 / 32])
    assert short[2] == pytest.approx([3 / 32, 1 / 32])
    assert short[-1] == pytest.approx([15 / 16, 15 / 16])


def test_a_cut_of_the_whole_picture_at_its_own_size_is_the_picture(photo: np.ndarray) -> None:
    small = photo[:192, :192]
    crop = cut(small, Square(96, 96, 192, 0.0), 192)[0].permute(1, 2, 0).numpy()
    assert np.abs(crop - small).max() < 0.1


def test_a_coarse_cut_of_a_large_picture_agrees_with_a_fine_one() -> None:
    x, y = np.meshgrid(np.arange(2400), np.arange(1800))
    picture = np.stack([x / 2400 * 255, y / 1800 * 255, (x + y) / 4200 * 255], -1).astype(np.uint8)
    crop = cut(picture, Square(1300, 900, 1100, 0.3), 128)[0].permute(1, 2, 0).numpy()
    unit = (np.stack(np.meshgrid(np.arange(128), np.arange(128)), -1) + 0.5) / 128
    place = Square(1300, 900, 1100, 0.3).to_picture(unit)
    assert np.abs(crop[..., 0] - place[..., 0] / 2400 * 255).max() < 2
    assert np.abs(crop[..., 1] - place[..., 1] / 1800 * 255).max() < 2


def test_a_letterbox_puts_the_picture_in_the_middle_of_black() -> None:
    square, left, top = letterbox(np.full((40, 100, 3), 9, np.uint8))
    assert (square.shape, left, top) == ((100, 100, 3), 0, 30)
    assert (square[30:70] == 9).all() and not square[:30].any() and not square[70:].any()


def test_the_square_around_a_face_holds_all_its_landmarks(face: Face) -> None:
    square = around(face.landmarks)
    assert square.side / 2 > np.abs(face.landmarks[:468, :2] - [square.x, square.y]).max()


def test_the_networks_keep_no_gradients(finder: FaceFinder) -> None:
    assert not any(parameter.requires_grad for parameter in finder.mesh.parameters())
    assert finder.mesh.points.weight.dtype == torch.float32


def test_damaged_weights_are_refused_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="Install emo-cli again"):
        FaceFinder(tmp_path / "weights.safetensors")
