"""Tests of deriving a rig from a head model: rendering, matching points to vertices, left and right alike."""

from __future__ import annotations

import numpy as np
import pytest

from emo_cli.chart.geometry import POINTS, UPPER_INNER_LIP
from emo_cli.errors import FaceError
from emo_cli.face.landmarks import triangles
from emo_cli.training.correspondence import (
    BACKGROUND,
    OPEN_JAW,
    PICTURE,
    PIXELS_PER_CENTIMETRE,
    Sighting,
    derive_rig,
    even_handed,
    match,
    mirrored_points,
    project,
    render,
)
from emo_cli.training.rig import HeadModel
from rig_fixture import small_rig


def small_head(order: np.ndarray) -> HeadModel:
    """The fixture's rig as a head model whose vertex k is mesh point order[k]."""
    rig = small_rig()
    place = np.argsort(order)
    faces = place[triangles()].astype(np.int32)
    return HeadModel(
        rig.mean.numpy()[order],
        rig.expressions.numpy()[:, order],
        rig.identities.numpy()[:, order],
        rig.names,
        faces,
        np.arange(len(faces), dtype=np.int32),
    )


def seen(vertices: np.ndarray, order: np.ndarray, open_mouth: bool) -> Sighting:
    """A sighting by a perfect finder whose depth has another origin."""
    points = vertices[np.argsort(order)]
    landmarks = np.concatenate([project(points), -PIXELS_PER_CENTIMETRE * points[:, 2:] + 200], 1)
    return Sighting(vertices, landmarks, open_mouth)


def test_points_find_their_own_vertices() -> None:
    order = np.random.default_rng(0).permutation(POINTS)
    head = small_head(order)
    jaw = head.expressions[head.names.index("jawOpen")]
    sightings = [seen(head.neutral, order, False), seen(head.neutral + OPEN_JAW * jaw, order, True)]
    picked = match(head, sightings)
    assert len(set(picked.tolist())) == POINTS
    assert (picked == np.argsort(order)).mean() > 0.95
    lips = list(UPPER_INNER_LIP[1:-1])
    assert (picked[lips] == np.argsort(order)[lips]).all()


def test_skin_that_looks_away_is_not_chosen() -> None:
    order = np.arange(POINTS)
    front = small_head(order)
    inside = np.concatenate([front.neutral, front.neutral + np.array([0, 0.02, -0.1])])
    head = HeadModel(
        inside.astype(np.float32),
        np.concatenate([front.expressions] * 2, 1),
        np.concatenate([front.identities] * 2, 1),
        front.names,
        np.concatenate([front.triangles, POINTS + front.triangles[:, ::-1]]),
        np.arange(2 * len(front.triangles)),
    )
    jaw = head.expressions[head.names.index("jawOpen")]
    sightings = []
    for weight in (0.0, OPEN_JAW):
        vertices = head.neutral + weight * jaw
        hidden = seen(vertices[POINTS:], order, weight > 0)  # where the inside is, so it would be the nearest
        sightings.append(Sighting(vertices, hidden.landmarks, hidden.open_mouth))
    assert (match(head, sightings) < POINTS).mean() > 0.99


def test_partners_are_mirror_images() -> None:
    head = small_head(np.arange(POINTS))
    landmarks = np.concatenate([project(head.neutral), -PIXELS_PER_CENTIMETRE * head.neutral[:, 2:]], 1)
    partner = mirrored_points(head, lambda picture: landmarks)  # the head is symmetric: both pictures look the same
    assert (partner[partner] == np.arange(POINTS)).all()
    assert partner[[10, 33, 61, 172, 234]].tolist() == [10, 263, 291, 397, 454]


def test_what_a_finder_prefers_on_one_side_cancels_out() -> None:
    partner = np.arange(POINTS)
    truth = np.full((POINTS, 3), 50.0)
    picture = np.zeros((100, 100, 3), np.uint8)
    found = even_handed(lambda picture: truth + np.array([3, 0, 0]), partner)(picture)
    assert found is not None
    np.testing.assert_allclose(found, truth)


def test_a_head_that_is_not_seen_is_a_face_error() -> None:
    with pytest.raises(FaceError, match="centimetres"):
        derive_rig(small_head(np.arange(POINTS)), lambda picture: None)


def test_the_nearer_triangle_hides_the_farther_one() -> None:
    flat = np.array([[-2, -2, 0], [2, -2, 0], [0, 3, 0]], dtype=np.float32)
    vertices = np.concatenate([flat, flat + np.array([0, 0, 1])])
    picture = render(vertices, np.array([[3, 4, 5], [0, 1, 2]]), np.array([0, 17006]))
    assert picture.shape == (PICTURE, PICTURE, 3)
    x, y = project(np.zeros((1, 3)))[0].astype(int)
    skin, teeth = picture[y, x], render(vertices, np.array([[0, 1, 2]]), np.array([17006]))[y, x]
    assert tuple(picture[5, 5]) == BACKGROUND
    assert skin[0] > skin[2] + 30  # skin is reddish, teeth are not
    assert teeth[0] < teeth[2] + 30


def test_the_back_of_the_skin_is_not_drawn() -> None:
    flat = np.array([[-2, -2, 0], [2, -2, 0], [0, 3, 0]], dtype=np.float32)
    assert (render(flat, np.array([[0, 2, 1]]), np.array([0])) == BACKGROUND).all()
