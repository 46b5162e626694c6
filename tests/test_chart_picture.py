"""Tests of the drawn frames: a photo whose colours tell where they came from shows what the drawing did to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import LEFT_EYE, RIGHT_EYE
from emo_cli.chart.head import LIMITS, soft_limited
from emo_cli.chart.raster import rasterise
from emo_cli.chart.sheet import continued
from emo_cli.networks.codec import Motion, Strength
from emo_cli.portrait import Box, Portrait
from made_photo import MOUTH, SIZE, drawn, motion, of_skin, open_face, portrait
from rig_fixture import small_rig

# From the upper lid to what is under the ring of skin around the eye.
HUGE_RIGHT_EYE = (33, 161, 159, 157, 133, 233, 232, 230, 228, 31)
HUGE_LEFT_EYE = (263, 388, 386, 384, 362, 453, 452, 450, 448, 261)


def shift(frame: np.ndarray, photo: Portrait) -> np.ndarray:
    """How many pixels further right and down (height, width, 2) the content comes from."""
    return (frame - photo.image.astype(int))[..., :2] * SIZE / 235


def around(photo: Portrait, point: int) -> tuple[int, int]:
    """Row and column of a landmark."""
    x, y = photo.landmarks[point, :2]
    return int(y), int(x)


def blueness(frame: np.ndarray) -> int:
    return int((frame[..., 2] > 60).sum())


def test_no_motion_is_exactly_the_photo(codec: FlowCodec) -> None:
    photo = portrait()
    assert np.array_equal(drawn(codec, photo, Motion(torch.zeros(1, 49, 8, 8))), photo.image)


def test_no_motion_of_an_open_mouth_is_exactly_the_photo(codec: FlowCodec) -> None:
    photo = portrait(open_face(), painted=MOUTH)
    still = motion(codec, pose=[0.0, 0.0, 0.0], lids=[0.0])
    assert np.array_equal(drawn(codec, photo, still), photo.image)


def test_frames_have_the_portraits_size_and_type(codec: FlowCodec) -> None:
    frames = list(codec.decode(codec.open(portrait()), Motion(torch.zeros(3, 49, 8, 8)), Strength()))
    assert [(frame.shape, frame.dtype) for frame in frames] == [((SIZE, SIZE, 3), np.dtype(np.uint8))] * 3


def test_frames_do_not_depend_on_how_they_are_batched(codec: FlowCodec) -> None:
    canvas = codec.open(portrait(), 1024)  # two at a time
    moves = torch.randn(3, 49, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.03
    pose = torch.tensor([[4.0, 1.0, 0.0], [0.0, -3.0, 2.0], [-5.0, 0.0, 1.0]])
    together = list(codec.decode(canvas, Motion(moves, pose), Strength()))
    alone = [next(codec.decode(canvas, Motion(moves[i : i + 1], pose[i : i + 1]), Strength())) for i in range(3)]
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(together, alone, strict=True)) <= 1


def test_twice_the_size_shows_the_same_geometry(codec: FlowCodec) -> None:
    photo, moves = portrait(), motion(codec, 0.1 * small_rig().expression("mouthSmile"), pose=[6.0, 3.0, -4.0])
    small, large = drawn(codec, photo, moves), drawn(codec, photo, moves, 2 * SIZE)
    assert large.shape == (2 * SIZE, 2 * SIZE, 3)
    halved = large.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    assert np.abs(shift(small, photo)).max() > 3
    assert np.abs(halved - small).mean() * SIZE / 235 < 0.2  # pixels


def test_the_nose_follows_a_turn_of_the_head(codec: FlowCodec) -> None:
    photo = portrait()
    frame = shift(drawn(codec, photo, motion(codec, pose=[8.0, 0.0, 0.0])), photo)
    assert frame[around(photo, 1)][0] < -3
    assert frame[around(photo, 1)][0] < frame[around(photo, 234)][0] - 2  # nearer points go further


def test_what_the_mask_forbids_does_not_move(codec: FlowCodec) -> None:
    photo = portrait(margin=20)
    frame = shift(drawn(codec, photo, motion(codec, pose=[12.0, 8.0, 8.0])), photo)
    outside = np.ones((SIZE, SIZE), bool)
    outside[14:-14, 14:-14] = False
    assert np.abs(frame).max() > 5
    assert np.abs(frame[outside]).max() < 1


def test_a_border_where_the_photo_goes_on_does_not_move(codec: FlowCodec) -> None:
    photo = portrait(margin=0)
    cut = replace(photo, crop=Box(50, 50, SIZE, SIZE), photo=np.zeros((SIZE + 100, SIZE + 100, 3), np.uint8))
    frame = drawn(codec, cut, motion(codec, pose=[12.0, 8.0, 8.0]))
    ring = np.ones((SIZE, SIZE), bool)
    ring[1:-1, 1:-1] = False
    assert np.array_equal(frame[ring], cut.image[ring])


def test_hair_at_the_photos_own_border_follows_the_head(codec: FlowCodec) -> None:
    photo = portrait(margin=0)
    frame = shift(drawn(codec, photo, motion(codec, pose=[0.0, 8.0, 0.0])), photo)
    top, column = round(photo.landmarks[10, 1]), round(photo.landmarks[10, 0])
    above = frame[: top + 1, column, 1]
    assert above[-1] < -5  # the head goes down
    assert np.abs(np.diff(above[12:])).max() < 1.5  # and nothing between it and the border is squeezed
    assert above[12] < 0.6 * above[-1]


def test_a_large_picture_is_continued_as_a_small_one_and_without_a_step() -> None:
    small = (torch.arange(600) // 40 % 2 * 200.0).expand(1, 3, 600, 600)
    large = continued(small.repeat_interleave(4, 2).repeat_interleave(4, 3), 4 * 60)
    assert torch.allclose(large[..., 240:-240, 240:-240], small.repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert (functional.avg_pool2d(large, 4) - continued(small, 60)).abs().mean() < 3
    assert large[..., :241, 1000].diff(dim=-1).abs().max() < 10


def test_a_picture_is_continued_softly_and_without_a_step() -> None:
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., ::2] = 255
    wide = continued(stripes, 20)
    assert torch.equal(wide[..., 20:-20, 20:-20], stripes)
    contrast = wide[0, 0, :20, 20:-20].std(1)
    assert contrast[-1] > 80
    assert contrast[:-4].max() < 30


@pytest.mark.parametrize("loop", [RIGHT_EYE, LEFT_EYE])
def test_closed_lids_leave_nothing_of_the_eye(codec: FlowCodec, loop: tuple[int, ...]) -> None:
    photo = portrait(painted=loop)
    open_eye, closed = (blueness(drawn(codec, photo, motion(codec, lids=[lids]))) for lids in (0.0, 1.0))
    assert open_eye > 100
    assert closed <= 0.08 * open_eye


def test_half_closed_lids_cover_about_half_of_the_eye(codec: FlowCodec) -> None:
    photo = portrait(painted=LEFT_EYE)
    whole, half = (blueness(drawn(codec, photo, motion(codec, lids=[lids]))) for lids in (0.0, 0.5))
    assert 0.3 * whole < half < 0.7 * whole


@pytest.mark.parametrize("larger", [False, True])
def test_drawn_eyes_that_are_larger_than_those_found_stay_open(codec: FlowCodec, larger: bool) -> None:
    eyes = (HUGE_RIGHT_EYE, HUGE_LEFT_EYE) if larger else (RIGHT_EYE, LEFT_EYE)
    photo = of_skin(small_rig().mean, dict.fromkeys(eyes, (60, 120, 170)))
    blinked = not np.array_equal(drawn(codec, photo, motion(codec, lids=[1.0])), photo.image)
    assert blinked is not larger


def test_closed_lips_leave_nothing_of_an_open_mouth(codec: FlowCodec) -> None:
    photo = portrait(open_face(), painted=MOUTH)
    assert blueness(photo.image) > 80
    assert blueness(drawn(codec, photo, motion(codec, closure=1.0))) <= 4


def test_an_opening_mouth_is_dark_inside(codec: FlowCodec) -> None:
    photo = portrait()
    frame = drawn(codec, photo, motion(codec, 0.4 * small_rig().expression("jawOpen")))
    row, column = around(photo, 14)
    inside = frame[row + 3, column]
    assert inside.sum() < 0.6 * photo.image[row + 3, column].sum()
    assert inside[0] > inside[1]  # and warm


def test_a_slightly_wider_mouth_keeps_its_own_teeth(codec: FlowCodec) -> None:
    photo = portrait(open_face(), painted=MOUTH)
    frame = drawn(codec, photo, motion(codec, 0.01 * small_rig().expression("jawOpen")))
    assert blueness(frame) > 0.8 * blueness(photo.image)


def test_strength_zero_is_the_photo(codec: FlowCodec) -> None:
    photo = portrait()
    moves = motion(codec, 0.3 * small_rig().expression("jawOpen"), pose=[9.0, 4.0, 3.0], lids=[1.0])
    assert np.array_equal(drawn(codec, photo, moves, strength=Strength(0.0, 0.0, 0.0)), photo.image)


def test_lips_and_expression_are_scaled_apart(codec: FlowCodec) -> None:
    photo, rig = portrait(), small_rig()
    moves = motion(codec, 0.3 * rig.expression("mouthSmile") + rig.expression("browOuterUp"))
    full = Strength()
    lips_only, face_only = replace(full, expression=0.0), replace(full, lips=0.0)
    brow, corner = around(photo, 105), around(photo, 291)
    for strength, still, moving in ((lips_only, brow, corner), (face_only, corner, brow)):
        frame = np.abs(shift(drawn(codec, photo, moves, strength=strength), photo)).sum(-1)
        assert frame[still] < 0.8 < 1.0 < frame[moving]


def test_poses_are_bent_under_the_limits_and_small_ones_kept() -> None:
    limited = soft_limited(torch.tensor([[90.0, -90.0, 90.0], [1.0, 1.0, 1.0]]), turned=0.0)
    assert (limited[0].abs() <= torch.tensor(LIMITS) + 1e-4).all()
    torch.testing.assert_close(limited[1], torch.ones(3), atol=0.01, rtol=0)


def test_a_photo_that_is_already_turned_turns_less() -> None:
    wide = torch.tensor([[30.0, 0.0, 0.0]])
    assert float(soft_limited(wide, turned=30.0)[0, 0]) == pytest.approx(
        0.5 * float(soft_limited(wide, turned=0.0)[0, 0]), rel=0.1
    )


def test_the_reference_tells_faces_apart(codec: FlowCodec) -> None:
    rig = small_rig()
    one, other = (codec.open(portrait(face)).reference for face in (rig.mean, rig.mean + 2 * rig.identities[3]))
    assert one.shape == (1, 49, 8, 8)
    assert one.abs().max() < 0.05 < (one - other).abs().max()


def test_later_triangles_cover_earlier_ones() -> None:
    corners = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    target = torch.stack([corners, corners])[None]
    values = torch.tensor([1.0, 2.0])[None, :, None, None].expand(1, 2, 3, 1)
    for order, winner in (([0, 1], 2.0), ([1, 0], 1.0)):
        drawn_values, covered = rasterise(target, values, torch.tensor([order]), 8, 8)
        assert drawn_values[covered].unique().tolist() == [winner]
        assert covered.sum() == 36


def test_two_triangles_fill_a_square_without_cracks_and_keep_a_plane() -> None:
    corners = torch.tensor([[1.3, 0.7], [9.1, 1.9], [8.2, 9.4], [0.6, 8.8]])
    target = corners[torch.tensor([[0, 1, 2], [0, 2, 3]])][None]
    drawn_values, covered = rasterise(target, target, torch.tensor([[0, 1]]), 10, 10)
    y, x = covered[0].nonzero(as_tuple=True)
    assert covered[0, 2:8, 2:8].all()
    torch.testing.assert_close(drawn_values[0, y, x], torch.stack([x, y], 1) + 0.5, atol=0.01, rtol=0)
