"""Where a head ends, told by colours: what moves with the head, where no network takes it for a person."""

from __future__ import annotations

import pytest
import torch

from emo_cli.chart.silhouette import told_by_colours

FACE, SIZE, CELLS = 40.0, 256, 128  # pixels: radius of the face, side of the picture; cells along it
SKIN, HAIR, WALL = (210, 165, 140), (60, 40, 30), (120, 150, 190)


def places(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right and up (count, count) from the face's middle, in its radii."""
    place = ((torch.arange(count) + 0.5) * SIZE / count - SIZE / 2) / FACE
    return place.expand(count, count), -place[:, None].expand(count, count)


def picture(hair: float, wall: tuple[int, int, int] = WALL, noise: float = 4.0) -> torch.Tensor:
    """A round face with hair out to `hair` radii, from the eyes upwards."""
    right, up = places(SIZE)
    radius = torch.hypot(right, up)
    out = torch.tensor(wall, dtype=torch.float32).expand(SIZE, SIZE, 3).clone()
    out[(radius < hair) & (up > -0.25)] = torch.tensor(HAIR, dtype=torch.float32)
    out[radius < 1] = torch.tensor(SKIN, dtype=torch.float32)
    out[(radius < 1) & (up > 0.6)] = torch.tensor(HAIR, dtype=torch.float32)
    out += torch.randn(out.shape, generator=torch.Generator().manual_seed(0)) * noise
    return out.permute(2, 0, 1)[None]


def told(photo: torch.Tensor) -> torch.Tensor:
    right, up = places(CELLS)
    return told_by_colours(photo, torch.hypot(right, up), up)


def upward(person: torch.Tensor) -> float:
    """Radii from the face's middle straight up to where the person ends."""
    column = person[: CELLS // 2, CELLS // 2].flip(0)
    return float((column > 0.5).sum()) * SIZE / CELLS / FACE


@pytest.mark.parametrize("hair", (1.3, 1.6, 2.0))
def test_a_head_ends_where_its_hair_does(hair: float) -> None:
    assert upward(told(picture(hair))) == pytest.approx(hair, abs=0.1)


def test_a_post_beside_the_head_is_background() -> None:
    photo = picture(1.3)
    photo[..., :, 20:32] = 15.0
    assert told(photo)[: CELLS // 2, 10:16].max() < 0.1


def test_where_head_and_background_look_alike_the_head_reaches_far() -> None:
    assert upward(told(picture(1.3, wall=HAIR, noise=0.0))) > 2


def test_neck_and_shoulders_belong_to_the_person_whatever_their_colours() -> None:
    person = told(picture(1.3))
    assert person[-4, CELLS // 4 : 3 * CELLS // 4].min() > 0.9
    assert person[CELLS // 2, 0] < 0.1
