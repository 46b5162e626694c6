"""Where a head ends, told by colours: how far hair, ears and background follow the head."""

from __future__ import annotations

import pytest
import torch

from emo_cli.chart.silhouette import DIRECTIONS, cells_for, reaches

FACE, SIZE = 40.0, 256  # pixels: radius of the face, side of the picture
SKIN, HAIR, WALL = (210, 165, 140), (60, 40, 30), (120, 150, 190)


def polar() -> tuple[torch.Tensor, torch.Tensor]:
    """Radius in faces and direction of every cell."""
    rows, columns, cell = cells_for(SIZE, SIZE)
    x, y = (torch.arange(columns) + 0.5) * cell - SIZE / 2, SIZE / 2 - (torch.arange(rows) + 0.5) * cell
    return torch.hypot(x[None], y[:, None]) / FACE, torch.atan2(y[:, None], x[None])


def picture(hair: float, wall: tuple[int, int, int] = WALL, noise: float = 4.0) -> torch.Tensor:
    """A round face with hair out to `hair` radii, from the eyes upwards."""
    place = torch.arange(SIZE) + 0.5 - SIZE / 2
    radius, up = torch.hypot(place[None], place[:, None]) / FACE, -place[:, None].expand(-1, SIZE)
    out = torch.tensor(wall, dtype=torch.float32).expand(SIZE, SIZE, 3).clone()
    out[(radius < hair) & (up > -10)] = torch.tensor(HAIR, dtype=torch.float32)
    out[(radius < 1) & (radius > 0)] = torch.tensor(SKIN, dtype=torch.float32)
    out[(radius < 1) & (up > 25)] = torch.tensor(HAIR, dtype=torch.float32)
    out += torch.randn(out.shape, generator=torch.Generator().manual_seed(0)) * noise
    return out.permute(2, 0, 1)[None]


def found(photo: torch.Tensor) -> torch.Tensor:
    return reaches(photo, *polar(), torch.full((DIRECTIONS,), 3.1))


@pytest.mark.parametrize("hair", (1.3, 1.6, 2.0))
def test_a_head_ends_where_its_hair_does(hair: float) -> None:
    up = found(picture(hair))[DIRECTIONS // 8 : 3 * DIRECTIONS // 8]
    assert ((up - hair).abs() < 0.2).all()


def test_a_post_beside_the_head_is_background() -> None:
    photo = picture(1.3)
    photo[..., :, 20:32] = 15.0
    beside = found(photo)[DIRECTIONS // 2 - 3 : DIRECTIONS // 2]
    assert (beside < 1.6).all()


def test_where_head_and_background_look_alike_the_head_reaches_far() -> None:
    assert found(picture(1.3, wall=HAIR, noise=0.0))[DIRECTIONS // 4] > 2


def test_nothing_reaches_beyond_what_is_asked() -> None:
    limit = torch.full((DIRECTIONS,), 1.25)
    assert (reaches(picture(2.0), *polar(), limit) <= limit).all()
