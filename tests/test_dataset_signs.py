"""The signs by which stretches of video are left out, each on small made pictures and curves."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from emo_cli.dataset.agreement import best_shift
from emo_cli.dataset.camera import CameraWatch, Drift, background, drift, wandering
from emo_cli.dataset.cuts import CutFinder
from emo_cli.dataset.sights import CaptionWatch, HandWatch

FACE = np.array([60.0, 30.0, 100.0, 80.0])
SKIN = (200, 150, 125)


def _scene(seed: int, height: int = 90, width: int = 160) -> np.ndarray:
    """A soft random picture, uint8."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def _wide(seed: int) -> np.ndarray:
    return _scene(seed, 120, 240)


def test_a_cut_is_found_in_the_frame_where_it_is() -> None:
    random = np.random.default_rng(0)
    frames = [np.clip(_scene(seed) + random.normal(0, 3, (90, 160, 3)), 0, 255).astype(np.uint8)
              for seed in (1, 1, 1, 1, 2, 2, 2)]  # fmt: skip
    finder = CutFinder()
    assert [finder.push(frame) for frame in frames] == [False] * 4 + [True] + [False] * 2


def test_a_camera_that_begins_to_pan_is_no_cut() -> None:
    finder, wide = CutFinder(), _wide(3)
    shifts = [0, 0, 0, 0, 4, 9, 14, 20]
    assert not any(finder.push(wide[:90, shift : shift + 160]) for shift in shifts)


def test_the_first_frame_is_no_cut_and_a_flash_of_light_hardly_one() -> None:
    finder = CutFinder()
    assert not finder.push(_scene(1))
    assert not finder.push(np.clip(_scene(1).astype(int) + 12, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(("right", "down"), [(0.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.5, 0.5)])
def test_a_known_shift_of_the_camera_is_measured(right: float, down: float) -> None:
    wide = Image.fromarray(_wide(4)).convert("L")

    def view(x: float, y: float) -> np.ndarray:
        place = (1, 0, 20 - x, 0, 1, 15 - y)
        return np.asarray(wide.transform((160, 90), Image.Transform.AFFINE, place, Image.Resampling.BICUBIC), float)

    found = drift(view(0, 0), view(right, down), background((90, 160), FACE))
    assert found.shifts * 160 == pytest.approx(np.tile([right, down], (3, 1)), abs=0.15)


def test_what_the_head_does_is_no_motion_of_the_camera() -> None:
    watch, still = CameraWatch(), np.asarray(Image.fromarray(_scene(5)).convert("L"), float)
    moved = still.copy()
    moved[35:75, 62:98] = np.roll(still, 3, 1)[35:75, 62:98]
    watch.push(still, FACE)
    found = watch.push(moved, FACE)
    assert not found.shifts.any() and found.change == 0


def test_somebody_who_walks_behind_is_change_but_no_motion_of_the_camera() -> None:
    watch, still = CameraWatch(), np.asarray(Image.fromarray(_scene(6)).convert("L"), float)
    walked = still.copy()
    walked[:60, :30] = 255 - still[:60, :30]
    watch.push(still, FACE)
    found = watch.push(walked, FACE)
    assert wandering([found, found]) < 0.001
    assert found.change > 0.02


def _panned(*steps: float) -> list[Drift]:
    return [Drift(np.tile([step, 0.0], (3, 1)), 0.0) for step in (0.0, *steps)]


def test_a_slow_pan_adds_up() -> None:
    assert wandering(_panned(*[0.001] * 50)) == pytest.approx(0.05)
    assert wandering(_panned(*[0.001, -0.001] * 25)) < 0.0011


def test_what_moves_on_one_side_of_the_head_only_is_not_the_camera() -> None:
    waving = [Drift(np.array([[0.01, 0], [0, 0], [np.nan, np.nan]]), 0.0)] * 20
    assert wandering(waving) == 0


@pytest.mark.parametrize("lag", [-4, 0, 3])
def test_a_known_lag_of_the_sound_is_found(lag: int) -> None:
    curve = np.convolve(np.random.default_rng(7).normal(size=220), np.hanning(7), "same")
    found = best_shift(curve[20:120], curve[20 - lag : 120 - lag], 25)
    assert found.lag == lag
    assert found.correlation > 0.99


def test_a_mouth_that_does_not_move_agrees_with_nothing() -> None:
    assert best_shift(np.zeros(100), np.random.default_rng(0).normal(size=100), 25).correlation == 0


def _talking(index: int, hand: bool = False, caption: bool = False) -> np.ndarray:
    """A skin-coloured oval on blue; its mouth moves, and a hand waves beside it, or letters stand below it."""
    picture = Image.new("RGB", (256, 256), (40, 60, 120))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((80, 50, 176, 180), fill=SKIN)
    draw.ellipse((112, 140, 144, 146 + index % 12), fill=(90, 30, 30))
    if hand:
        left = 190 + 25 * (index // 5 % 2)
        draw.rectangle((left, 150, left + 40, 200), fill=SKIN)
    if caption:
        for column in range(28, 228, 8):
            draw.rectangle((column, 226, column + 3, 238), fill=(255, 255, 255))
    return np.asarray(picture)


def _watched(**shown: bool) -> tuple[bool, bool]:
    hands, captions = HandWatch(25), CaptionWatch(25)
    for index in range(50):
        hands.push(index, _talking(index, **shown), np.array([80.0, 50.0, 176.0, 180.0]))
        captions.push(index, _talking(index, **shown))
    return hands.found, captions.found


def test_a_talking_face_alone_shows_neither_hands_nor_captions() -> None:
    assert _watched() == (False, False)


def test_a_waving_hand_is_seen() -> None:
    assert _watched(hand=True) == (True, False)


def test_captions_are_seen() -> None:
    assert _watched(caption=True) == (False, True)
