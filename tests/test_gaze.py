"""Eyes that look about: what is taught, how it travels as white numbers, and how it is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.eyeballs import LIMITS, in_the_head
from emo_cli.chart.geometry import LEFT_EYE, RIGHT_EYE
from emo_cli.chart.glances import gaze_of, saccade_progress
from emo_cli.chart.whitening import HeadState, HeadWhitening, Looks
from emo_cli.networks.codec import Motion, Strength
from emo_cli.portrait import Portrait
from emo_cli.training.gaze import FARTHEST, SPACING, Gaze, gaze
from emo_cli.training.head import HeadMotion, head_motion, speed
from made_photo import DENSITY, SIZE, area, drawn, of_skin
from rig_fixture import small_rig
from test_head import talk

FPS = 25.0


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def heads() -> list[HeadMotion]:
    return [head_motion(talk(20, seed), FPS, 1.0, np.random.default_rng(seed)) for seed in range(60)]


def looks_of(heads: list[HeadMotion], part: slice) -> Looks:
    return Looks(
        torch.stack([torch.from_numpy(head.gaze.saccades[part]) for head in heads]),
        torch.stack([torch.from_numpy(head.gaze.fixations[part]) for head in heads]),
    )


@pytest.fixture(scope="module")
def table(heads: list[HeadMotion]) -> HeadWhitening:
    poses, onsets = ([torch.from_numpy(getattr(h, name)) for h in heads] for name in ("pose", "blink_onsets"))
    looks = [Looks(torch.from_numpy(h.gaze.saccades), torch.from_numpy(h.gaze.fixations)) for h in heads]
    return HeadWhitening.fit(poses, [torch.from_numpy(speed(h.pose)) for h in heads], onsets, looks)


def steps(looks: Gaze) -> np.ndarray:
    """Degrees of every saccade."""
    before = np.concatenate([np.zeros((1, 2)), looks.fixations[:-1]])
    return np.linalg.norm(looks.fixations - before, axis=1)[looks.saccades]


def test_eyes_rest_between_saccades(heads: list[HeadMotion]) -> None:
    for head in heads:
        changed = (np.diff(head.gaze.fixations, axis=0) != 0).any(1)
        assert (changed == head.gaze.saccades[1:]).all()


def test_most_saccades_are_small_and_none_beyond_reach(heads: list[HeadMotion]) -> None:
    sizes = np.concatenate([steps(head.gaze) for head in heads])
    assert np.quantile(sizes, 0.85) < 5
    assert max(np.abs(head.gaze.fixations).max() for head in heads) <= FARTHEST


def test_fixations_last_from_a_third_of_a_second_to_a_few_seconds(heads: list[HeadMotion]) -> None:
    gaps = np.concatenate([np.diff(np.flatnonzero(head.gaze.saccades)) for head in heads]) / FPS
    assert gaps.min() >= SPACING
    assert 0.9 < gaps.mean() < 1.6
    assert np.quantile(gaps, 0.97) < 4


def test_the_viewer_is_looked_at_most_of_the_time(heads: list[HeadMotion]) -> None:
    away = np.concatenate([np.linalg.norm(head.gaze.fixations, axis=1) for head in heads])
    assert 0.65 < (away < 1.3).mean() < 0.9


def test_eyes_go_aside_more_often_while_the_voice_rests() -> None:
    def aside(level: float) -> float:
        blinks = np.zeros(1500, dtype=bool)
        all_looks = [gaze(np.full(1500, level), blinks, FPS, np.random.default_rng(seed)) for seed in range(30)]
        return float(np.mean([np.linalg.norm(looks.fixations, axis=1) > 1.3 for looks in all_looks]))

    assert aside(0.0) > 1.3 * aside(0.8)


def test_blinks_draw_saccades_to_themselves(heads: list[HeadMotion]) -> None:
    together = np.mean([head.gaze.saccades[head.blink_onsets].mean() for head in heads if head.blink_onsets.any()])
    anywhere = np.mean([head.gaze.saccades.mean() for head in heads])
    assert together > 5 * anywhere


def test_a_saccade_is_over_in_the_frame_after_its_first() -> None:
    degrees = torch.tensor([0.5, 5.0, 12.0])
    first, second = (saccade_progress(torch.full((3,), since), degrees) for since in (0.0, 1.0))
    assert ((first > 0.3) & (first <= 1)).all()
    assert (second == 1).all()
    assert (saccade_progress(torch.full((3,), -1.0), degrees) == 0).all()


def test_gaze_comes_back_from_its_numbers(table: HeadWhitening) -> None:
    saccades, fixations = torch.zeros(16, 20, dtype=torch.bool), torch.zeros(16, 20, 2)
    places = torch.randn(16, 2, generator=generator())
    for row in range(16):
        saccades[row, 4 + row] = True
        fixations[row, 4 + row :] = places[row]
    pose, onsets = torch.zeros(16, 20, 3), torch.zeros(16, 20, dtype=torch.bool)
    _, numbers = table.encode(pose, onsets, torch.ones(16, 3), generator(), Looks(saccades, fixations))
    head, _ = table.decode(numbers, torch.ones(16, 3), HeadState.at_rest(16, 4))
    expected = torch.stack([gaze_of(row) for row in fixations])[:, 4:]
    assert (head.gaze - expected).abs().max() < 0.02


def test_numbers_of_taught_gaze_are_white(heads: list[HeadMotion], table: HeadWhitening) -> None:
    numbers = torch.cat([
        table.encode(
            torch.zeros(60, 20, 3), torch.zeros(60, 20, dtype=torch.bool), torch.ones(60, 3), generator(first),
            looks_of(heads, slice(first, first + 20)),
        )[1][:, -3:]
        for first in range(30, 430, 20)
    ])  # fmt: skip
    assert ((numbers.std(0) - 1).abs() < 0.1).all()
    assert (numbers.mean(0).abs() < 0.1).all()


def test_noise_alone_looks_about_like_the_teacher(heads: list[HeadMotion], table: HeadWhitening) -> None:
    noise, state, rows = generator(), HeadState.at_rest(64, 4), []
    for _ in range(30):
        head, state = table.decode(torch.randn(64, table.numbers, generator=noise), torch.full((64, 3), 0.4), state)
        rows.append(head.gaze)
    made = torch.cat(rows, 1)
    taught = torch.stack([gaze_of(torch.from_numpy(head.gaze.fixations)) for head in heads])
    assert ((made.std((0, 1)) / taught.std((0, 1)) - 1).abs() < 0.3).all()
    moving = [(part.diff(dim=1).norm(dim=2) > 0.05).float().mean() for part in (made, taught)]
    assert 0.75 < moving[0] / moving[1] < 1.25


def test_eyes_hold_their_gaze_across_clips(table: HeadWhitening) -> None:
    looking = replace(HeadState.at_rest(1, 4), fixation=torch.tensor([[3.0, -1.0]]))
    quiet = torch.full((1, table.numbers), -4.0)  # no saccade
    head, state = table.decode(quiet, torch.ones(1, 3), looking)
    assert torch.allclose(head.gaze, looking.fixation[:, None].expand(1, 16, 2))
    assert torch.equal(state.fixation, looking.fixation)


def test_a_table_without_gaze_has_no_numbers_for_it() -> None:
    assert HeadWhitening().numbers == HeadWhitening(gaze=True).numbers - 3


def test_eyes_turn_against_the_head_and_within_their_limits() -> None:
    turned = in_the_head(torch.zeros(3, 2), torch.tensor([[4.0, 0.0, 0.0], [0.0, 3.0, 0.0], [40.0, -40.0, 0.0]]))
    assert -4 < turned[0, 0] < -3 and turned[0, 1] == 0
    assert turned[1, 0] == 0 and -3 < turned[1, 1] < -2
    assert (turned.abs() <= torch.tensor(LIMITS)).all()


def looking_face() -> Portrait:
    """A face of skin with white eyes, and a dark iris in the middle of each."""
    photo = of_skin(small_rig().mean, {RIGHT_EYE: (235, 226, 220), LEFT_EYE: (235, 226, 220)})
    image, landmarks = photo.image.copy(), photo.landmarks.copy()
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    for first, loop in ((468, RIGHT_EYE), (473, LEFT_EYE)):
        centre, radius = landmarks[list(loop), :2].mean(0), 0.3 * DENSITY
        inside = (np.hypot(x - centre[0], y - centre[1]) < radius) & eye(photo, loop)
        image[inside] = (60, 40, 20)
        landmarks[first : first + 5, :2] = centre + radius * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    return replace(photo, image=image, photo=image, landmarks=landmarks)


def eye(photo: Portrait, loop: tuple[int, ...]) -> np.ndarray:
    """Pixels (height, width) of an eye's opening."""
    return np.asarray(area(torch.from_numpy(photo.landmarks), loop)) > 0


def look(
    codec: FlowCodec, photo: Portrait, yaw: float, pitch: float, lids: float = 0.0, expression: float = 1.0
) -> np.ndarray:
    moves = Motion(torch.zeros(1, 49, 8, 8), torch.zeros(1, 3), torch.tensor([lids]), torch.tensor([[yaw, pitch]]))
    return drawn(codec, photo, moves, strength=Strength(expression=expression))


def irises(frame: np.ndarray) -> tuple[np.ndarray, int]:
    """Mean place (x, y) of the dark pixels and their number."""
    rows, columns = np.nonzero(frame[..., 0] < 130)
    return np.array([columns.mean(), rows.mean()]), len(rows)


def test_eyes_that_look_as_in_the_photo_leave_it_alone(codec: FlowCodec) -> None:
    photo = looking_face()
    assert np.array_equal(look(codec, photo, 0.0, 0.0), photo.image)


@pytest.mark.parametrize(("yaw", "pitch"), ((8.0, 0.0), (-8.0, 0.0), (0.0, 5.0), (0.0, -5.0)))
def test_irises_move_to_where_the_eyes_look(codec: FlowCodec, yaw: float, pitch: float) -> None:
    photo = looking_face()
    before, count = irises(photo.image)
    after, still = irises(look(codec, photo, yaw, pitch))
    moved = (after - before) / (1.2 * DENSITY) * 180 / np.pi  # degrees on an eyeball
    wanted = np.array([yaw, pitch])
    assert moved @ wanted > 0.25 * wanted @ wanted
    assert np.abs(moved[wanted == 0]).max() < 0.5
    assert 0.85 < still / count < 1.15


def test_looking_about_changes_nothing_but_the_eyes(codec: FlowCodec) -> None:
    photo = looking_face()
    frame = look(codec, photo, 9.0, 3.0)
    outside = ~(eye(photo, RIGHT_EYE) | eye(photo, LEFT_EYE))
    changed = np.abs(frame - photo.image).max(-1)
    assert changed[~outside].max() > 100
    assert changed[outside].max() <= 90  # the opening's edge is soft: half a pixel of it lies outside
    assert (changed[outside] > 8).sum() < 12


@pytest.mark.parametrize("yaw", (-11.0, 11.0))
def test_an_iris_never_reaches_a_corner(codec: FlowCodec, yaw: float) -> None:
    photo = looking_face()
    frame = look(codec, photo, 3 * yaw, 0.0)
    for corner in (33, 133, 362, 263):
        x, y = photo.landmarks[corner, :2]
        assert frame[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2, 0].min() > 150


def test_shut_eyes_look_at_nothing(codec: FlowCodec) -> None:
    photo = looking_face()
    assert np.abs(look(codec, photo, 9.0, 3.0, lids=1.0) - look(codec, photo, 0.0, 0.0, lids=1.0)).max() <= 6


def test_without_expression_the_eyes_do_not_look_about(codec: FlowCodec) -> None:
    photo = looking_face()
    assert np.array_equal(look(codec, photo, 9.0, 3.0, expression=0.0), photo.image)


def test_irises_that_were_not_found_are_taken_to_be_in_the_middle(codec: FlowCodec) -> None:
    photo = looking_face()
    lost = photo.landmarks.copy()
    lost[468:] = 0
    place, _ = irises(look(codec, replace(photo, landmarks=lost), 8.0, 0.0))
    assert place[0] > irises(photo.image)[0][0] + 0.3
