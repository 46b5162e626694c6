"""Head pose from landmarks: angles, place and speed of a mean face that is turned and moved."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emo_cli.face.pose import STILL, pose, poses, rotation_speed


def _seen(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, scale: float = 10.0) -> np.ndarray:
    """Landmarks (478, 3) of the mean face, turned to the picture's right, upwards and clockwise by degrees."""
    y, p, r = math.radians(yaw), -math.radians(pitch), -math.radians(roll)
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    points = np.zeros((478, 3))
    face = np.array(list(STILL.values()))
    points[list(STILL)] = (face - face.mean(0)) @ (about_z @ about_y @ about_x).T * scale * np.array([1, -1, -1])
    return points + np.array([100.0, 200.0, 0.0])


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (20, 0, 0), (0, 15, 0), (0, 0, -30), (12, -8, 25)])
def test_a_known_turn_is_found(yaw: float, pitch: float, roll: float) -> None:
    found = pose(_seen(yaw, pitch, roll))
    assert (found.yaw, found.pitch, found.roll) == (yaw, pitch, roll)


def test_a_face_that_looks_to_the_right_and_up_shows_its_nose_there() -> None:
    straight, turned = _seen(), _seen(yaw=20, pitch=10)
    nose = turned[4] - turned[168] - (straight[4] - straight[168])
    assert nose[0] > 0 and nose[1] < 0


def test_place_and_size_are_told_in_pixels() -> None:
    found = poses(np.stack([_seen(yaw=10), _seen(yaw=10, scale=20.0)]))
    assert found[:, 3:] == pytest.approx(np.array([[100, 200, 10], [100, 200, 20]]))


def test_speed_is_degrees_per_frame_in_either_direction() -> None:
    angles = np.array([[0.0, 1, 5], [2, 1, 4], [4, 1, 3], [4, 1, 2]])
    assert rotation_speed(angles, tremor=0) == pytest.approx(np.array([[2, 0, 1], [2, 0, 1], [1, 0, 1], [0, 0, 1]]))


def test_tremor_hardly_adds_to_the_speed_of_a_turning_head() -> None:
    angles = np.arange(100.0)[:, None] * 0.5 + np.random.default_rng(0).normal(0, 0.1, (100, 3))
    assert rotation_speed(angles)[5:-5] == pytest.approx(0.5, abs=0.1)
