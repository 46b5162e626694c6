"""Which stretches of a video become clips: one face, one shot, neither too short nor too long."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from emo_cli.dataset.following import NOTHING, Sight
from emo_cli.dataset.limits import Limits
from emo_cli.dataset.survey import Gap, Stretch, survey

LIMITS = Limits(fps=10, shortest=1, longest=3)
POINTS = np.tile([80.0, 60.0, 0.0], (478, 1))
RED, BLUE = ((np.zeros((90, 160, 3), np.uint8) + np.array(colour, np.uint8)) for colour in ((200, 0, 0), (0, 0, 200)))


class _Told:
    """Says what it was told that each frame shows: f a face, F a face and a count, 2 two faces, j a jump, - nothing."""

    def __init__(self, story: str) -> None:
        self._story: Iterator[str] = iter(story)

    def forget(self) -> None: ...

    def look(self, frame: np.ndarray) -> Sight:
        sign = next(self._story)
        if sign == "-":
            return NOTHING
        return Sight(POINTS, sign in "F2", int(sign == "2"), sign == "j")


def _found(story: str, frames: list[np.ndarray] | None = None) -> list[tuple[str, int, int]]:
    return [_facts(part) for part in survey(frames or [RED] * len(story), LIMITS, _Told(story))]


def _facts(part: Stretch | Gap) -> tuple[str, int, int]:
    if isinstance(part, Gap):
        return part.reason, part.first, part.stop
    return "face", part.first, part.first + len(part.points)


def test_a_stretch_with_a_face_lies_between_those_without() -> None:
    assert _found("--ffff-") == [("no face", 0, 2), ("face", 2, 6), ("no face", 6, 7)]


def test_a_cut_ends_a_stretch() -> None:
    assert _found("ffffff", [RED] * 4 + [BLUE] * 2) == [("face", 0, 4), ("face", 4, 6)]


def test_a_face_that_jumps_ends_a_stretch() -> None:
    assert _found("fffjff") == [("face", 0, 3), ("face", 3, 6)]


def test_a_second_face_takes_away_what_lies_since_the_last_count() -> None:
    assert _found("FfFff2ff") == [("face", 0, 3), ("two faces", 3, 6), ("face", 6, 8)]


@pytest.mark.parametrize(
    ("frames", "lengths"), [(29, [29]), (31, [15, 16]), (39, [19, 20]), (45, [30, 15]), (75, [30, 30, 15])]
)
def test_a_long_stretch_becomes_clips_none_of_which_is_too_short(frames: int, lengths: list[int]) -> None:
    assert [stop - first for _, first, stop in _found("f" * frames)] == lengths


def test_every_frame_is_in_exactly_one_stretch() -> None:
    found = _found("--FfffF2f-fjfffff" + "f" * 50)
    assert found[0][1] == 0
    assert all(stop == first for (_, _, stop), (_, first, _) in pairwise(found))
    assert found[-1][2] == 67


def test_stretches_hold_one_landmark_row_and_one_drift_per_frame() -> None:
    (part,) = survey([RED] * 5, LIMITS, _Told("fffff"))
    assert isinstance(part, Stretch)
    assert part.points.shape == (5, 478, 3) and len(part.drifts) == 5
    assert (part.width, part.height) == (160, 90)
