"""Tests of the head: how it nods and turns with the voice, when it blinks, how fast it moves."""

from __future__ import annotations

import numpy as np
import pytest

from emo_cli.chart.whitening import PROFILE, SPACING
from emo_cli.training.head import HeadMotion, head_motion, lids, speed

FPS = 25.0


def talk(seconds: float, seed: int = 0) -> np.ndarray:
    """Loudness at 100 Hz of phrases of about two seconds, four syllables a second, with pauses between them."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * 100)) / 100
    loudness = np.zeros(len(time))
    at = 0.3
    while at < seconds:
        for _ in range(random.integers(5, 11)):
            loudness += random.uniform(0.4, 1.2) * np.exp(-0.5 * ((time - at) / 0.06) ** 2)
            at += random.uniform(0.18, 0.32)
        at += random.uniform(0.4, 0.9)
    return np.clip(loudness, 0, 1.4)


def motions(count: int, style: float = 1.0, seconds: float = 20.0) -> list[HeadMotion]:
    return [head_motion(talk(seconds, seed), FPS, style, np.random.default_rng(seed)) for seed in range(count)]


def test_there_is_one_row_per_video_frame() -> None:
    motion = head_motion(talk(3.01), FPS, 1.0, np.random.default_rng(0))
    assert motion.pose.shape == (76, 3)
    assert motion.lids.shape == motion.blink_onsets.shape == motion.brows.shape == (76,)


def test_the_same_seed_gives_the_same_motion() -> None:
    first, again = (head_motion(talk(5), FPS, 1.0, np.random.default_rng(7)) for _ in range(2))
    for name in ("pose", "lids", "blink_onsets", "brows", "smile"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    np.testing.assert_array_equal(first.gaze.fixations, again.gaze.fixations)


def test_another_seed_moves_differently() -> None:
    first, other = (head_motion(talk(5), FPS, 1.0, np.random.default_rng(seed)) for seed in (0, 1))
    assert np.abs(first.pose - other.pose).mean() > 0.5


def test_doubling_the_style_doubles_the_speed() -> None:
    calm, lively = (speed(head_motion(talk(10), FPS, style, np.random.default_rng(3)).pose) for style in (0.5, 1.0))
    np.testing.assert_allclose(lively, 2 * calm, rtol=1e-4)


def test_style_leaves_the_blinks_alone() -> None:
    calm, lively = (head_motion(talk(20), FPS, style, np.random.default_rng(3)) for style in (0.3, 1.4))
    np.testing.assert_array_equal(calm.blink_onsets, lively.blink_onsets)


def test_the_usual_head_turns_as_far_as_people_do() -> None:
    pose = np.concatenate([motion.pose for motion in motions(40)])
    yaw, pitch, roll = pose.std(0)
    assert 3.8 < yaw < 5.3
    assert 2.0 < pitch < 3.2
    assert 1.8 < roll < 2.7
    assert (np.abs(pose.mean(0)) < 0.8).all()


def test_the_head_moves_without_jerks() -> None:
    for motion in motions(5):
        velocity = np.diff(motion.pose, axis=0)
        assert (np.abs(np.diff(velocity, axis=0)).mean(0) < 0.35 * np.abs(velocity).mean(0)).all()


def test_nods_follow_the_voice() -> None:
    loudness = talk(20)
    pitch = np.stack([head_motion(loudness, FPS, 1.0, np.random.default_rng(seed)).pose[:, 1] for seed in range(40)])
    common = np.diff(pitch[:20].mean(0))  # what chance adds cancels out between seeds
    agreement = [np.corrcoef(common, np.diff(one))[0, 1] for one in pitch[20:]]
    assert np.mean(agreement) > 0.6


def test_the_chin_comes_up_when_a_phrase_begins() -> None:
    loudness = np.zeros(600)
    loudness[300:500] = 0.8
    pitch = np.mean([head_motion(loudness, FPS, 1.0, np.random.default_rng(seed)).pose[:, 1] for seed in range(200)], 0)
    assert pitch[85:95].mean() < pitch[50:65].mean() - 0.5


def test_without_a_voice_the_head_still_drifts() -> None:
    motion = head_motion(np.zeros(1000), FPS, 1.0, np.random.default_rng(0))
    assert (motion.pose.std(0) > 0.3).all()
    assert np.abs(motion.brows).max() < 0.6


def test_each_blink_is_exactly_the_profile() -> None:
    onsets = np.zeros(40, dtype=bool)
    onsets[[5, 20]] = True
    expected = np.zeros(40, dtype=np.float32)
    expected[5:12] = expected[20:27] = PROFILE
    np.testing.assert_allclose(lids(onsets, FPS), expected, atol=1e-6)


def test_lids_come_from_the_onsets_only() -> None:
    for motion in motions(5):
        np.testing.assert_array_equal(motion.lids, lids(motion.blink_onsets, FPS))


def test_blinks_keep_their_distance_and_are_whole() -> None:
    for motion in motions(40, seconds=30):
        onsets = np.flatnonzero(motion.blink_onsets)
        assert (np.diff(onsets) >= SPACING).all()
        assert onsets[-1] + len(PROFILE) <= len(motion.lids)


def test_people_blink_about_every_four_seconds() -> None:
    gaps = np.concatenate([np.diff(np.flatnonzero(motion.blink_onsets)) for motion in motions(40, seconds=60)]) / FPS
    assert 3.3 < gaps.mean() < 4.0
    assert gaps.std() > 1.0


def test_blinks_prefer_quiet_moments() -> None:
    at_blinks, anywhere = [], []
    for seed in range(40):
        loudness = talk(40, seed)
        motion = head_motion(loudness, FPS, 1.0, np.random.default_rng(seed))
        level = loudness[: len(motion.lids) * 4].reshape(-1, 4).mean(1)
        at_blinks.extend(level[motion.blink_onsets])
        anywhere.extend(level)
    assert np.mean(at_blinks) < 0.75 * np.mean(anywhere)


def test_brows_stay_in_range_and_rise_on_accents() -> None:
    brows = np.concatenate([motion.brows for motion in motions(10)])
    silent = np.concatenate([head_motion(np.zeros(2000), FPS, 1, np.random.default_rng(s)).brows for s in range(10)])
    assert brows.min() >= -0.3 and brows.max() <= 1
    assert brows.mean() > silent.mean() + 0.05


def test_energy_in_the_voice_smiles() -> None:
    calm, lively = (
        np.mean([head_motion(gain * talk(20, s), FPS, 1.0, np.random.default_rng(s)).smile.mean() for s in range(10)])
        for gain in (0.4, 1.0)
    )
    assert lively > calm + 0.03


def test_smiles_stay_in_range() -> None:
    smile = np.concatenate([motion.smile for motion in motions(10)])
    assert smile.min() >= 0 and smile.max() <= 1


def test_many_blinks_begin_as_a_phrase_ends() -> None:
    after = []
    for seed in range(30):
        loudness = np.zeros(4000)
        for start in range(100, 3900, 400):
            loudness[start : start + 250] = 0.8
        onsets = np.flatnonzero(head_motion(loudness, FPS, 1.0, np.random.default_rng(seed)).blink_onsets) / FPS
        after.extend((onsets - 3.5) % 4.0 < 0.3)
    assert np.mean(after) > 0.15  # by chance it would be 0.075


def test_speed_one_is_three_tenths_of_a_degree_per_frame() -> None:
    pose = np.outer(np.arange(10), [0.3, -0.6, 0.0])
    np.testing.assert_allclose(speed(pose), [1, 2, 0], atol=1e-6)


def test_one_frame_has_no_speed() -> None:
    np.testing.assert_array_equal(speed(np.ones((1, 3))), np.zeros(3))


def test_one_frame_of_sound_is_enough() -> None:
    motion = head_motion(np.array([0.5]), FPS, 1.0, np.random.default_rng(0))
    assert motion.pose.shape == (1, 3) and not motion.blink_onsets.any()


@pytest.mark.parametrize("fps", [12.5, 25.0, 30.0])
def test_other_frame_rates_cover_the_same_time(fps: float) -> None:
    motion = head_motion(talk(4), fps, 1.0, np.random.default_rng(0))
    assert len(motion.pose) == 4 * fps


def melodious(seconds: float, octaves: float, first: float, last: float) -> np.ndarray:
    """Melody (rows, 2) at 50 Hz of a voice that is above its usual pitch from `first` to `last` second."""
    rows = np.stack([np.zeros(int(50 * seconds)), np.ones(int(50 * seconds))], 1)
    rows[int(50 * first) : int(50 * last), 0] = octaves
    return rows


def with_and_without_melody(octaves: float) -> list[tuple[HeadMotion, HeadMotion]]:
    """The same ten seconds of talk by twenty people: with a voice that rises from the fourth to the fifth, and flat."""
    melody = melodious(10, octaves, 4, 5)
    return [
        (
            head_motion(talk(10), FPS, 1.0, np.random.default_rng(seed), melody),
            head_motion(talk(10), FPS, 1.0, np.random.default_rng(seed)),
        )
        for seed in range(20)
    ]


def test_brows_go_up_with_the_voice() -> None:
    more = np.mean([high.brows - flat.brows for high, flat in with_and_without_melody(0.5)], axis=0)
    assert more[105:120].mean() > 0.2
    assert abs(more[:60].mean()) < 0.02


def test_the_chin_follows_the_voice_up_and_down() -> None:
    for octaves in (0.5, -0.5):
        down = np.mean([told.pose[:, 1] - flat.pose[:, 1] for told, flat in with_and_without_melody(octaves)], axis=0)
        assert down[105:120].mean() * octaves < -0.3 * octaves**2


def test_a_high_voice_smiles_more() -> None:
    quiet = 0.4 * talk(20)
    pairs = [
        [head_motion(quiet, FPS, 1.0, np.random.default_rng(seed), melody).smile for seed in range(20)]
        for melody in (melodious(20, 0.6, 5, 15), None)
    ]
    high, flat = (np.mean(smiles, axis=0)[200:300].mean() for smiles in pairs)
    assert high > flat + 0.05


def test_a_voice_without_melody_is_no_voice_at_its_usual_pitch() -> None:
    unsure = np.zeros((500, 2))
    told, flat = (head_motion(talk(10), FPS, 1.0, np.random.default_rng(1), melody) for melody in (unsure, None))
    np.testing.assert_array_equal(told.pose, flat.pose)
    np.testing.assert_array_equal(told.brows, flat.brows)
