"""Tests of what real photos do to the drawing: lashes, the photo's own teeth, coloured light, turned heads, sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import LEFT_EYE, LEFT_UPPER_LID, RIGHT_EYE
from emo_cli.chart.head import flattened
from emo_cli.chart.openings import opening
from emo_cli.chart.sheet import LARGE
from emo_cli.face.landmarks import triangles
from emo_cli.portrait import Portrait
from emo_cli.training.fitting import fit_codec
from made_photo import MOUTH, drawn, motion, of_skin, open_face, portrait
from rig_fixture import small_rig

SKIN, EYE, ENAMEL = (215, 168, 136), (235, 226, 220), (228, 220, 204)
DEPTH = 1.8  # landmarks of turned heads are often deeper than heads are
EYES = {RIGHT_EYE: EYE, LEFT_EYE: EYE}


@pytest.fixture(scope="module")
def codec() -> FlowCodec:
    """A codec whose drawn teeth are plain enamel."""
    codec = fit_codec(small_rig(), torch.from_numpy(triangles()))
    for picture in (codec.upper_teeth, codec.lower_teeth):
        picture.copy_(torch.tensor([*ENAMEL, 255], dtype=torch.uint8).expand_as(picture))
    return codec


def lit(photo: Portrait, light: tuple[float, float, float]) -> Portrait:
    """The photo in coloured light."""
    return replace(photo, image=(photo.image * np.asarray(light)).round().clip(0, 255).astype(np.uint8))


def tooth(codec: FlowCodec, photo: Portrait) -> np.ndarray:
    """Colour in the middle of a mouth that has opened by half a centimetre."""
    frame = drawn(codec, photo, motion(codec, 0.15 * small_rig().expression("jawOpen")))
    x, y = photo.landmarks[14, :2]
    return frame[int(y), int(x)]


def turned_face(degrees: float) -> torch.Tensor:
    """The rig's face, deeper than it is, turned by so many degrees of yaw."""
    angle = torch.deg2rad(torch.tensor(degrees))
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros(()), torch.ones(())
    turn = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos]).view(3, 3)
    mean = small_rig().mean
    centre = mean.mean(0)
    return (mean - centre) * torch.tensor([1.0, 1.0, DEPTH]) @ turn.T + centre * torch.tensor([1.0, 1.0, 0.0])


def column(frame: np.ndarray, photo: Portrait, point: int) -> np.ndarray:
    """Colours (height, 3) down the picture at a landmark."""
    return frame[:, round(float(photo.landmarks[point, 0]))]


def test_a_closed_lid_is_clean_skin_whatever_stands_above_the_eye(codec: FlowCodec) -> None:
    photo = of_skin(small_rig().mean, EYES)
    image = photo.image.copy()
    top, bottom = (int(photo.landmarks[p, 1]) for p in (257, 386))
    image[top : bottom - 1, ::4] = (30, 20, 15)  # lashes that stand up, or the rim of glasses
    photo = replace(photo, image=image)
    frame = drawn(codec, photo, motion(codec, lids=[1.0]))
    left, right = (int(photo.landmarks[p, 0]) for p in (384, 388))
    edge = int(photo.landmarks[386, 1]) + 3  # where the eye was, well above the seam
    lid = frame[edge : edge + 3, min(left, right) : max(left, right)].mean(-1)
    assert lid.min() > 0.75 * np.mean(SKIN)
    assert lid.std() < 0.06 * np.mean(SKIN)


def test_a_clean_lid_keeps_the_skin_of_the_photo(codec: FlowCodec) -> None:
    photo = of_skin(small_rig().mean, EYES)
    image = photo.image.copy()
    top, bottom = (int(photo.landmarks[p, 1]) for p in (257, 386))
    stripes = 5 * (np.arange(image.shape[1]) // 6 % 2)[None, :, None]
    image[top - 8 : bottom] = image[top - 8 : bottom] - stripes * (image[top - 8 : bottom] == SKIN)
    frame = drawn(codec, replace(photo, image=image), motion(codec, lids=[1.0]))
    left, right = sorted(int(photo.landmarks[p, 0]) for p in (384, 387))
    lid = frame[bottom, left:right].mean(-1)
    assert np.ptp(lid - np.linspace(lid[0], lid[-1], len(lid))) > 2


def test_lips_that_open_wide_have_round_corners() -> None:
    along = torch.linspace(0, 10, 11)
    bent = torch.sin(torch.linspace(0, torch.pi, 11))
    lips = [torch.stack([along, side * bent], 1) for side in (-0.1, 0.1, -3.0, 3.0)]
    sides = tuple(range(11)), tuple(range(11, 22))
    closed, wide = (torch.cat(pair)[None] for pair in (lips[:2], lips[2:]))
    rest = opening(closed, *sides)
    still, straight, rounded = opening(closed, *sides, rest), opening(wide, *sides), opening(wide, *sides, rest)
    assert torch.equal(still.lower, rest.lower)
    assert rounded.lower[0, 2] > 1.3 * straight.lower[0, 2]
    assert float(rounded.lower[0, 32]) == pytest.approx(float(straight.lower[0, 32]), abs=0.05)


def test_lashes_are_a_dark_line_along_the_closed_lid(codec: FlowCodec) -> None:
    lashes = (*LEFT_UPPER_LID, *[414, 286, 258, 257, 259, 260, 467][::-1])
    photo = of_skin(small_rig().mean, {**EYES, lashes: (40, 30, 25)})
    open_eye, closed = (column(drawn(codec, photo, motion(codec, lids=[lids])), photo, 386) for lids in (0.0, 1.0))
    seam = int(photo.landmarks[374, 1])
    assert open_eye[seam - 3].mean() > 200
    assert closed[seam - 4 : seam + 2].mean(-1).min() < 0.75 * np.mean(SKIN)


def test_the_photos_own_teeth_stay_when_the_mouth_opens_wider(codec: FlowCodec) -> None:
    photo = of_skin(open_face(), {**EYES, MOUTH: (240, 236, 225)})
    still, wide = (
        column(drawn(codec, photo, moves), photo, 14)[: int(photo.landmarks[14, 1])]
        for moves in (motion(codec), motion(codec, 0.4 * small_rig().expression("jawOpen")))
    )
    assert (wide.min(-1) > 220).sum() >= 0.75 * (still.min(-1) > 220).sum() > 5
    below = column(drawn(codec, photo, motion(codec, 0.4 * small_rig().expression("jawOpen"))), photo, 14)
    assert below[int(photo.landmarks[14, 1]) :][:12].mean(-1).min() < 110  # dark under them, not stretched white


@pytest.mark.parametrize("light", [(1.0, 0.8, 0.55), (0.6, 0.8, 1.0), (0.6, 0.6, 0.6)])
def test_drawn_teeth_take_the_colour_of_the_light(codec: FlowCodec, light: tuple[float, float, float]) -> None:
    photo = of_skin(small_rig().mean, EYES)
    plain, seen = tooth(codec, photo), tooth(codec, lit(photo, light))
    expected = plain * light
    assert (np.abs(seen - expected) / expected).max() < 0.3
    whites = np.asarray(EYE) * light
    assert 0.5 * whites.mean() < seen.mean() < 1.05 * whites.mean()


def test_a_picture_without_colour_stays_without_colour(codec: FlowCodec) -> None:
    photo = of_skin(small_rig().mean, {RIGHT_EYE: (220,) * 3, LEFT_EYE: (220,) * 3}, skin=(170, 170, 170))
    frame = drawn(codec, photo, motion(codec, 0.4 * small_rig().expression("jawOpen"), lids=[1.0]))
    assert np.ptp(frame, axis=-1).max() <= 12


@pytest.mark.parametrize("amount", [0.03, 0.1, 0.3, 0.6])
def test_parted_lips_show_the_inside_without_gaps(codec: FlowCodec, amount: float) -> None:
    photo = of_skin(small_rig().mean, EYES)
    frame = drawn(codec, photo, motion(codec, amount * small_rig().expression("jawOpen")))
    inside = np.flatnonzero(np.abs(column(frame, photo, 13) - SKIN).max(-1) > 12)
    assert len(inside) >= amount * 20
    assert (np.diff(inside) == 1).all()


@pytest.mark.parametrize("turned", [-30.0, 30.0])
@pytest.mark.parametrize("yaw", [-12.0, 12.0])
def test_no_part_of_a_turned_face_folds_over_its_contour(codec: FlowCodec, turned: float, yaw: float) -> None:
    photo = portrait(turned_face(turned))
    frame = drawn(codec, photo, motion(codec, pose=[yaw, 0.0, 0.0]))
    left, right = sorted(int(photo.landmarks[point, 0]) for point in (33, 263))
    rows = frame[int(photo.landmarks[10, 1]) : int(photo.landmarks[152, 1])]
    for side in (rows[:, 20:left, 0], rows[:, right:-20, 0]):  # red tells where each pixel's content stood
        assert np.diff(side, axis=1).min() >= -1


def test_no_part_of_a_turned_face_is_steep() -> None:
    face = turned_face(30.0)
    flat = flattened(face)
    apart = torch.cdist(flat[:, :2], flat[:, :2]) + 1e-3
    steepness = (flat[:, None, 2] - flat[None, :, 2]) / apart
    assert ((face[:, None, 2] - face[None, :, 2]) / apart).max() > 4
    assert steepness.max() < 1.6


@pytest.mark.parametrize("size", [256, 2048])
def test_every_size_shows_the_same_picture(codec: FlowCodec, size: int) -> None:
    photo = of_skin(open_face(0.2), {**EYES, MOUTH: (240, 236, 225)})
    moves = motion(codec, 0.2 * small_rig().expression("jawOpen"), pose=[6.0, 3.0, -4.0], lids=[0.6])
    usual, other = drawn(codec, photo, moves, 512), drawn(codec, photo, moves, size)
    assert other.shape == (size, size, 3)
    step = max(1, size // 256), 2
    small = [f.reshape(256, s, 256, s, 3).mean((1, 3)) for f, s in zip((other, usual), step, strict=True)]
    assert np.abs(small[0] - small[1]).mean() < 1


def test_a_large_portrait_is_kept_once_not_fourfold(codec: FlowCodec) -> None:
    for size, density in ((LARGE, 2), (2 * LARGE, 1)):
        sheet = codec.open(portrait(), size).sheet.sheet
        assert sheet.source.shape[-1] == pytest.approx(density * (size + 2 * sheet.around), abs=1)


def test_lips_beside_the_photos_own_teeth_are_not_taken_for_teeth(codec: FlowCodec) -> None:
    photo = of_skin(open_face(0.3), {MOUTH: (150, 70, 70)})
    image = photo.image.copy()
    left, right = sorted(int(photo.landmarks[p, 0]) for p in (81, 311))
    top, bottom = (int(photo.landmarks[p, 1]) for p in (13, 14))
    image[top : (top + bottom) // 2, left:right] = ENAMEL
    own = codec.open(replace(photo, image=image)).sheet.interior.own
    assert own.upper_teeth == 1
    assert own.columns[len(own.columns) // 2] > 0.9
    assert own.columns[:2].max() < 0.1 and own.columns[-2:].max() < 0.1
