"""Eyes larger than a person's: lids find the end of the white, and photos of people keep theirs."""

from __future__ import annotations

import pytest
import torch

from emo_cli import weights
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import LEFT_LOWER_LID, RIGHT_LOWER_LID
from emo_cli.chart.whites import round_the_white

SKIN, WHITE, GREY = (236.0, 190.0, 158.0), (248.0, 246.0, 242.0), (190.0, 190.0, 190.0)


@pytest.fixture(scope="module")
def landmarks() -> torch.Tensor:
    """The average face in a picture of 400 pixels."""
    mean = FlowCodec.from_pretrained(weights.locate("mini") / "codec").mean
    return torch.stack([200 + 18 * mean[:, 0], 200 - 18 * mean[:, 1], mean[:, 2]], 1).float()


def _photo(landmarks: torch.Tensor, skin: tuple[float, ...], beyond: float) -> torch.Tensor:
    """A plain face whose whites go on so many pixels beyond the lids."""
    photo = torch.tensor(skin).view(1, 3, 1, 1).repeat(1, 1, 400, 400)
    y, x = torch.meshgrid(torch.arange(400) + 0.5, torch.arange(400) + 0.5, indexing="ij")
    for lid in (RIGHT_LOWER_LID, LEFT_LOWER_LID):
        outer, inner = landmarks[lid[0], :2], landmarks[lid[-1], :2]
        centre, half = (outer + inner) / 2, float((outer - inner).norm()) / 2 + beyond
        down = float(landmarks[lid[4], 1] - centre[1]) + beyond
        inside = ((x - centre[0]) / half).square() + ((y - centre[1]) / down).square() < 1
        photo[:, :, inside] = torch.tensor(WHITE)[:, None]
    return photo


def test_lids_lie_round_a_white_that_is_larger_than_they_believed(landmarks: torch.Tensor) -> None:
    moved = round_the_white(landmarks, _photo(landmarks, SKIN, 6.0)) - landmarks
    middle = moved[[RIGHT_LOWER_LID[4], LEFT_LOWER_LID[4]], 1]
    assert ((middle - 6).abs() < 1).all()
    assert torch.equal(moved[:, 2], torch.zeros(468))


def test_eyes_as_people_have_them_stay_as_they_are(landmarks: torch.Tensor) -> None:
    assert torch.equal(round_the_white(landmarks, _photo(landmarks, SKIN, 0.5)), landmarks)


def test_where_skin_is_grey_nothing_is_taken_for_white(landmarks: torch.Tensor) -> None:
    assert torch.equal(round_the_white(landmarks, _photo(landmarks, GREY, 6.0)), landmarks)
