"""Given sounds move the mouth as speakers move it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emo_cli.training.articulation import CURVES, Articulation, curves, livelier, loudness_of, to_frames
from emo_cli.training.phones import PHONES, Phone


def _speech(*sounds: tuple[str, float]) -> Articulation:
    """Sounds with their seconds, spoken at even loudness."""
    phones, time = [], 0.0
    for name, seconds in sounds:
        phones.append(Phone(time, time + seconds, name))
        time += seconds
    return curves(phones, np.ones(round(time * 100), np.float32))


def _curve(articulation: Articulation, name: str) -> NDArray[np.float32]:
    return articulation.curves[:, CURVES.index(name)]


def test_lips_meet_in_the_middle_of_a_labial() -> None:
    close = _curve(_speech(("a", 0.2), ("p", 0.1), ("a", 0.2)), "close")
    assert close[25] > 0.95


def test_lips_are_apart_in_a_vowel() -> None:
    close = _curve(_speech(("p", 0.1), ("a", 0.3), ("p", 0.1)), "close")
    assert close[25] < 0.05


def test_a_short_pause_leaves_the_lips_parted() -> None:
    close = _curve(_speech(("a", 0.3), ("sil", 0.5), ("a", 0.3)), "close")
    assert close.max() < 0.1


def test_a_short_pause_keeps_the_jaw_a_little_open() -> None:
    jaw = _curve(_speech(("s", 0.3), ("sil", 0.5), ("s", 0.3)), "jaw")
    assert 0.15 < jaw[55] < 0.45


def test_a_long_pause_closes_the_lips() -> None:
    close = _curve(_speech(("a", 0.3), ("sil", 1.2), ("a", 0.3)), "close")
    assert close[90] > 0.9


def test_the_mouth_is_closed_before_the_first_word() -> None:
    close = _curve(_speech(("sil", 0.5), ("a", 0.5)), "close")
    assert close[0] > 0.9


def test_lips_part_before_the_first_sound_begins() -> None:
    close = _curve(_speech(("sil", 0.5), ("a", 0.5)), "close")
    assert close[44] < 0.2


def test_the_mouth_closes_after_the_last_word() -> None:
    close = _curve(_speech(("a", 0.3), ("sil", 0.5)), "close")
    assert close[-1] > 0.9


def test_sound_without_speech_keeps_the_mouth_closed() -> None:
    still = curves([Phone(0.0, 2.0, "sil")], np.zeros(200, np.float32))
    assert _curve(still, "close").min() > 0.9


def test_open_vowels_open_the_jaw_more_than_close_ones() -> None:
    openings = [_curve(_speech((name, 0.4)), "jaw")[20] for name in ("a", "e", "i")]
    assert openings == sorted(openings, reverse=True) and openings[0] > 2 * openings[2]


def test_sibilants_show_teeth_although_the_jaw_is_high() -> None:
    hiss = _speech(("a", 0.2), ("s", 0.2), ("a", 0.2))
    assert _curve(hiss, "lower")[30] > 0.45 and _curve(hiss, "jaw")[30] < 0.35


def test_a_weak_consonant_takes_the_rounding_of_its_neighbours() -> None:
    rounded = _curve(_speech(("u", 0.2), ("t", 0.08), ("u", 0.2)), "round")[24]
    plain = _curve(_speech(("a", 0.2), ("t", 0.08), ("a", 0.2)), "round")[24]
    assert rounded > plain + 0.3


def test_only_f_and_v_put_the_lip_to_the_teeth() -> None:
    bite = _curve(_speech(("a", 0.3), ("f", 0.1), ("a", 0.3)), "labiodental")
    assert bite[35] > 0.9 and bite[10] < 0.2


def test_loud_speech_opens_the_jaw_wider() -> None:
    phones = [Phone(0.0, 0.4, "a")]
    quiet, loud = (curves(phones, np.full(40, level, np.float32)) for level in (0.3, 1.2))
    assert _curve(loud, "jaw")[20] > 1.2 * _curve(quiet, "jaw")[20]


def test_labels_follow_the_phones() -> None:
    labels = _speech(("a", 0.1), ("p", 0.1)).labels
    assert labels[5] == PHONES.index("a") and labels[15] == PHONES.index("p")


def test_loudness_of_digital_silence_is_zero() -> None:
    assert (loudness_of(np.zeros(16000, np.float32)) == 0).all()


def test_loudness_does_not_depend_on_gain() -> None:
    wave = (np.sin(np.arange(32000) * 0.1) * np.linspace(0, 1, 32000)).astype(np.float32)
    assert np.allclose(loudness_of(wave), loudness_of(wave * 0.1), atol=1e-4)


def test_one_short_closure_survives_the_reduction_to_video_frames() -> None:
    rows = np.zeros((40, 10), np.float32)
    rows[21, CURVES.index("close")] = 1.0
    frames = to_frames(Articulation(rows, np.zeros(40, np.int64), np.ones(40, np.float32)), 25)
    assert frames[5, CURVES.index("close")] == 1.0


def test_other_curves_are_averaged_over_a_video_frame() -> None:
    rows = np.zeros((8, 10), np.float32)
    rows[4:, CURVES.index("jaw")] = (0.0, 0.2, 0.4, 0.6)
    frames = to_frames(Articulation(rows, np.zeros(8, np.int64), np.ones(8, np.float32)), 25)
    assert frames[1, CURVES.index("jaw")] == pytest.approx(0.3)


@pytest.mark.parametrize(("fps", "count"), [(25.0, 25), (30.0, 30), (24.0, 24), (60.0, 60), (12.5, 13)])
def test_a_second_has_as_many_frames_as_the_rate_says(fps: float, count: int) -> None:
    rows = Articulation(np.ones((100, 10), np.float32), np.zeros(100, np.int64), np.ones(100, np.float32))
    frames = to_frames(rows, fps)
    assert frames.shape == (count, 10) and np.allclose(frames, 1.0)


def test_a_held_note_opens_the_jaw_wider_than_the_same_vowel_spoken() -> None:
    spoken, sung = _speech(("a", 0.3)), _speech(("a", 1.4))
    assert _curve(sung, "jaw")[70] > 1.15 * _curve(spoken, "jaw").max()


def test_an_opening_gesture_takes_about_a_tenth_of_a_second() -> None:
    jaw = _curve(_speech(("t", 0.1), ("a", 0.15), ("t", 0.1)), "jaw")[5:18]
    low, high = jaw.min(), jaw.max()
    ten, ninety = np.interp([low + 0.1 * (high - low), low + 0.9 * (high - low)], jaw, np.arange(5, 18))
    assert 5 < ninety - ten < 15


def test_lively_people_open_wider_and_close_as_firmly() -> None:
    rows = np.full((4, 10), 0.5, np.float32)
    calm, lively = livelier(rows, 0.35), livelier(rows, 1.4)
    assert lively[0, CURVES.index("jaw")] > 1.25 * calm[0, CURVES.index("jaw")]
    assert lively[0, CURVES.index("close")] == calm[0, CURVES.index("close")] == 0.5
