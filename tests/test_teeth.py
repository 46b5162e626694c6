"""Tests of the teeth pictures: rendered from a head that is two tooth-like plates and a gum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emo_cli.chart.mouth import PICTURE_DENSITY, UPPER_BOX, picture_shapes
from emo_cli.training.rig import HeadModel
from emo_cli.training.teeth import jaw_travel, mouth_pictures
from rig_fixture import small_rig

TOOTH, GUM = 17100, 14100  # numbers of polygons that the head model calls tooth and gum


def plate(left: float, right: float, bottom: float, top: float, depth: float) -> list[list[float]]:
    return [[left, bottom, depth], [right, bottom, depth], [right, top, depth], [left, top, depth]]


@pytest.fixture(scope="module")
def head() -> HeadModel:
    """An upper tooth under a gum, and a lower tooth that the jaw takes 3 cm down and 2 cm back."""
    plates = [plate(-1, 1, -3.5, -2.5, 10.2), plate(-2, 2, -2.5, -1.8, 10.0), plate(-1, 1, -4.4, -3.4, 10.2)]
    neutral = np.array(plates, np.float32).reshape(-1, 3)
    corners = [[4 * i, 4 * i + 1, 4 * i + 2] for i in range(3)] + [[4 * i, 4 * i + 2, 4 * i + 3] for i in range(3)]
    jaw = np.zeros((1, 12, 3), np.float32)
    jaw[0, 8:] = [0, -3, -2]
    ids = np.array([TOOTH, GUM, TOOTH] * 2)
    return HeadModel(neutral, jaw, np.zeros((0, 12, 3), np.float32), ("jawOpen",), np.array(corners), ids)


def at(picture: torch.Tensor, x: float, y: float) -> list[int]:
    """Colour and alpha of the upper picture at a place in centimetres."""
    left, _, _, top = UPPER_BOX
    return picture[int((top - y) * PICTURE_DENSITY), int((x - left) * PICTURE_DENSITY)].tolist()


def test_pictures_have_the_codecs_shapes(head: HeadModel) -> None:
    assert tuple(picture.shape for picture in mouth_pictures(head)) == picture_shapes()


def test_teeth_are_white_gums_are_red_and_the_rest_is_clear(head: HeadModel) -> None:
    upper, _ = mouth_pictures(head)
    tooth, gum, beside = at(upper, 0, -3), at(upper, 1.5, -2.1), at(upper, 2.5, -3.3)
    assert tooth[3] == gum[3] == 255 and beside[3] == 0
    assert min(tooth[:3]) > 180
    assert gum[0] > 1.5 * gum[1]


def test_the_lower_tooth_is_only_in_the_lower_picture(head: HeadModel) -> None:
    upper, lower = mouth_pictures(head)
    assert at(upper, 0, -3.65)[3] == 0
    assert (lower[..., 3] > 200).float().mean() > 0.05


def test_the_travel_of_the_jaw_is_that_of_the_lower_teeth(head: HeadModel) -> None:
    y, z, chin = jaw_travel(head, small_rig()).tolist()
    assert (y, z) == (-3, -2)
    assert chin > 1
