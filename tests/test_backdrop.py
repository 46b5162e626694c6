"""What stays behind a moving head: two layers that are the photo, and a background that does not move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_cli.chart.backdrop import believed, beyond_the_top, continued_behind, filled, nearest, parted
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import upright
from emo_cli.errors import WeightsError
from emo_cli.face.person import PersonNetwork
from emo_cli.networks.codec import Strength
from emo_cli.portrait import Portrait, read
from made_photo import SIZE, motion, portrait

SLOPE = 4  # levels per pixel of the pattern behind the head
SKIN, HAIR = (215, 168, 136), (60, 40, 30)


def zigzag(size: int) -> np.ndarray:
    """Levels that rise and fall by `SLOPE` a pixel, so that they tell every shift."""
    return (np.abs(np.arange(size) * SLOPE % 400 - 200) + 20).astype(np.uint8)


def round_head(radius: float = 1.35) -> tuple[Portrait, np.ndarray]:
    """A face in hair before a pattern, and what of the picture is the person (height, width), shoulders too."""
    photo = portrait()
    x, y, _ = photo.landmarks[:468].T
    middle, half = (x.min() + x.max()) / 2, (x.max() - x.min()) / 2
    centre = (y.min() + y.max()) / 2
    down, across = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    away = np.hypot((across - middle) / half, (down - centre) / (y.max() - centre))
    person = (away < radius) | ((down > y.max()) & (np.abs(across - middle) < half * (0.6 + (down - y.max()) / 40)))
    wall = np.stack([np.tile(zigzag(SIZE), (SIZE, 1)), np.tile(zigzag(SIZE)[:, None], (1, SIZE))], -1)
    image = np.concatenate([wall, np.full((SIZE, SIZE, 1), 255, np.uint8)], -1)
    image[person] = HAIR
    image[away < 1] = SKIN
    return replace(photo, image=image, photo=image), person


def edged(person: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(person.astype(np.float32))


def levels(image: np.ndarray) -> torch.Tensor:
    return torch.tensor(image).permute(2, 0, 1)[None].float()


def test_the_layers_together_are_the_photo() -> None:
    photo, person = round_head()
    layers = parted(levels(photo.image), edged(person))
    together = layers.person + (1 - layers.cover) * layers.still
    torch.testing.assert_close(together, levels(photo.image), atol=1e-3, rtol=0)
    assert layers.cover[0, 0, SIZE // 2, SIZE // 2] == 1
    assert layers.cover[0, 0, 10, 10] == 0


def test_the_layers_of_a_large_photo_are_the_photo_too() -> None:
    photo, person = round_head()
    large = torch.nn.functional.interpolate(levels(photo.image), (1600, 1600), mode="nearest")
    layers = parted(large, edged(person))
    together = layers.person + (1 - layers.cover) * layers.still
    torch.testing.assert_close(together, large, atol=1e-3, rtol=0)
    assert layers.cover[0, 0, 800, 800] == 1
    assert layers.cover[0, 0, 40, 40] == 0


def test_no_part_of_a_person_is_darker_than_black_or_whiter_than_white() -> None:
    photo, person = round_head()
    belief = edged(person)
    belief[:, SIZE // 8 : SIZE // 3] = belief[:, SIZE // 8 : SIZE // 3].clamp(min=0.4)  # what is neither here nor there
    layers = parted(levels(photo.image), belief)
    assert layers.person.min() > -13
    assert (layers.person - 255 * layers.cover).max() < 13


def test_no_motion_is_exactly_the_photo_whoever_is_believed_to_be_in_it(codec: FlowCodec) -> None:
    photo, person = round_head()
    still = motion(codec, pose=[0.0, 0.0, 0.0])
    belief = torch.nn.functional.avg_pool2d(edged(person)[None], 9, 1, 4)[0]
    frame = next(codec.decode(codec.open(photo, belief=belief), still, Strength()))
    assert np.array_equal(frame, photo.image)


@pytest.mark.parametrize("pose", [[6.0, 0.0, 0.0], [0.0, -4.0, 0.0], [0.0, 0.0, 4.0], [-6.0, 4.0, -4.0]])
def test_the_background_moves_by_less_than_a_pixel_outside_the_head(codec: FlowCodec, pose: list[float]) -> None:
    photo, person = round_head()
    frame = next(codec.decode(codec.open(photo, belief=edged(person)), motion(codec, pose=pose), Strength()))
    change = np.abs(frame.astype(int) - photo.image)
    head = person | (frame[..., 2] < 250)
    region = torch.nn.functional.max_pool2d(edged(head)[None], 17, 1, 8)[0].numpy() > 0  # and eight pixels around it
    assert change[~region].max() < SLOPE
    assert change[person].max() > 100  # the head did move


def test_lines_go_on_behind_the_head() -> None:
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., 20:24, :] = 255
    free = torch.ones(1, 1, 64, 64)
    free[..., :, 32:] = 0
    behind = continued_behind(stripes * free, free)
    assert behind[0, 0, 21:23, 32:36].min() > 150
    assert behind[0, 0, 40:60, 32:36].max() < 20


def test_a_frame_beyond_a_dark_background_does_not_appear_behind_the_head() -> None:
    photo = torch.full((1, 3, 128, 128), 20.0)
    photo[..., :14], photo[..., -14:] = 220.0, 220.0
    free = torch.ones(1, 1, 128, 128)
    free[..., 26:-26] = 0
    continued = continued_behind(photo, free)
    assert float(continued[..., 26:40].max()) < 60


def test_what_is_missing_is_filled_without_a_step() -> None:
    ramp = torch.arange(64.0).expand(1, 1, 64, 64) * 3
    known = torch.ones(1, 1, 64, 64)
    known[..., 24:40, 24:40] = 0
    full = filled(ramp * known, known)
    assert (full - ramp).abs().max() < 12
    assert torch.equal(full * known, ramp * known)


def test_the_nearest_known_cell_is_found() -> None:
    known = torch.zeros(20, 30, dtype=torch.bool)
    known[3, 4] = known[15, 25] = True
    way = nearest(known)
    assert way[:, 3, 4].tolist() == [0, 0]
    assert way[:, 0, 0].tolist() == [4, 3]
    assert way[:, 19, 29].tolist() == [-4, -4]


def test_a_head_cut_by_the_border_goes_on_as_a_cap() -> None:
    cover = torch.zeros(1, 1, 40, 100)
    cover[..., 30:70] = 1
    kept = beyond_the_top(cover, 20, radius=30.0)
    assert kept[-1, 50] == 1
    assert kept[0].max() == 0
    assert kept[-1, :25].max() == 0
    assert (kept.diff(dim=0) >= 0).all()


def test_a_head_wider_than_any_circle_goes_on_for_ever() -> None:
    assert beyond_the_top(torch.ones(1, 1, 40, 100), 20, radius=30.0).min() == 1


def test_a_drawing_that_the_network_does_not_know_is_told_by_its_colours() -> None:
    photo, person = round_head()
    points = upright(torch.from_numpy(photo.landmarks[:468]))
    belief = believed(levels(photo.image), points)
    sure = torch.nn.functional.interpolate(belief[None, None], (SIZE, SIZE), mode="bilinear")[0, 0].numpy() > 0.5
    above = slice(0, int(photo.landmarks[152, 1]))
    assert (sure[above] == person[above]).mean() > 0.95


def test_a_photo_s_person_is_told_from_what_is_behind() -> None:
    photo = read(Path(__file__).parents[1] / "examples" / "portrait.jpg", size=256)
    belief = believed(levels(photo.image), upright(torch.from_numpy(photo.landmarks[:468])))
    assert belief[60:200, 118:142].min() > 0.9  # from the forehead down to the collar
    assert belief[20:100, 190:].max() < 0.1  # the wall
    assert belief[20:100, :40].max() < 0.1  # the flag


def test_broken_weights_of_the_network_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(WeightsError, match="Install emo-cli again"):
        PersonNetwork.load(tmp_path / "x.safetensors")
