"""What `emo evaluate` says of lips, head, eyes and identity, on faces whose motion is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emo_cli.evaluation import head, lips
from emo_cli.evaluation.head import Head, blinks
from emo_cli.evaluation.lips import HeardMouth, agreement
from emo_cli.evaluation.stability import Identity, unturned
from emo_cli.evaluation.watching import Curve, Seen
from emo_cli.face.opening import eye_opening, mouth_opening
from rig_fixture import small_rig

FPS = 25.0
NOTHING = np.zeros((16, 16, 3), np.uint8)


def face(opening: float = 0.0, blink: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """Landmarks (478, 3) of the rig's face, ten pixels per centimetre, turned by degrees to the picture's right."""
    rig = small_rig()
    points = rig.mean + opening * rig.expression("jawOpen") + blink * rig.expression("eyeBlink")
    turn = np.radians(yaw)
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    placed = 10 * (points.numpy().astype(np.float64) @ rotation.T) * (1, -1, -1) + (200, 200, 0)
    return np.concatenate([placed, np.zeros((10, 3))])


def seen(landmarks: np.ndarray | None) -> Seen:
    return Seen(NOTHING, landmarks)


def speaking(seconds: float = 8.0) -> HeardMouth:
    """An irregular mouth, 50 rows per second, with a labial wherever it is closed."""
    time = np.arange(int(50 * seconds)) / 50
    opening = np.clip(0.4 + 0.4 * np.sin(9 * time) + 0.3 * np.sin(23 * time + 1), 0, None)
    return HeardMouth(opening, opening < 0.05, opening > 0.7)


def mouth_of(heard: HeardMouth, late: int = 0) -> np.ndarray:
    """The opening of each frame that follows the sound exactly, `late` frames behind."""
    rows = (np.arange(len(heard.opening)) + 0.5) / 50
    frames = (np.arange(int(len(rows) * FPS / 50)) + 0.5 - late) / FPS
    return 0.3 * np.interp(frames, rows, heard.opening)


@pytest.mark.parametrize("late", [0, 3, -4])
def test_a_known_shift_of_lips_is_found_in_frames(late: int) -> None:
    heard = speaking()
    told = agreement(mouth_of(heard, late), heard, FPS)
    assert told.offset == pytest.approx(late, abs=0.1)
    assert told.peak > 0.99


def test_a_delay_that_the_file_itself_makes_is_counted() -> None:
    heard = speaking()
    assert agreement(mouth_of(heard), heard, FPS, sound_delay=0.12).offset == pytest.approx(-3, abs=0.1)


def test_half_a_frame_is_told_between_the_frames() -> None:
    heard = speaking()
    shifted = (mouth_of(heard, 2) + mouth_of(heard, 3)) / 2
    assert agreement(shifted, heard, FPS).offset == pytest.approx(2.5, abs=0.15)


@pytest.mark.parametrize("opening", [0.0, 0.1])
def test_a_frozen_mouth_scores_zero_open_or_closed(opening: float) -> None:
    heard = speaking()
    told = agreement(np.full(200, opening), heard, FPS)
    assert (told.agreement, told.peak, told.closures_met, told.offset) == (0.0, 0.0, 0.0, None)


def test_lips_that_meet_for_every_labial_are_counted_and_those_that_do_not_are_not() -> None:
    heard = speaking()
    closing = mouth_of(heard)
    assert agreement(closing, heard, FPS).closures_met == 1.0
    assert agreement(closing + 0.05, heard, FPS).closures_met == 0.0


def test_lips_closed_in_vowels_are_told() -> None:
    heard = speaking()
    assert agreement(mouth_of(heard), heard, FPS).closed_in_vowels == 0.0
    assert agreement(0.3 - mouth_of(heard), heard, FPS).closed_in_vowels > 0.5


def test_a_mouth_that_moves_at_random_agrees_with_nothing() -> None:
    random = np.random.default_rng(0).uniform(0, 0.3, 400)
    heard = speaking(16)
    assert abs(agreement(random, heard, FPS).agreement) < 0.15


def test_a_sound_without_labials_has_no_share_of_them() -> None:
    heard = speaking()
    silent = replace(heard, labial=np.zeros_like(heard.labial))
    assert agreement(mouth_of(heard), silent, FPS).closures_met is None


def test_the_opening_of_the_mouth_grows_with_the_jaw_and_ignores_the_head() -> None:
    faces = np.stack([face(0.0), face(0.4), face(0.8), face(0.4, yaw=25)])
    closed, half, wide, turned = mouth_opening(faces)
    assert closed < lips.CLOSED < half < wide
    assert turned == pytest.approx(half, rel=0.01)


def test_a_frame_without_a_face_has_no_opening() -> None:
    mouth = Curve(mouth_opening)
    for landmarks in (face(0.4), None, face(0.4)):
        mouth.see(seen(landmarks))
    assert np.isnan(mouth.values()).tolist() == [False, True, False]


def test_the_speed_of_a_turning_head_is_told_in_degrees_per_second() -> None:
    measured = Head(FPS)
    for index in range(25):
        measured.see(seen(face(yaw=0.4 * index)))
    assert measured.speed() == pytest.approx(0.4 * FPS, rel=0.01)
    assert measured.variance() == pytest.approx(0, abs=1e-6)


def test_a_head_that_turns_in_one_clip_and_rests_in_the_next_has_the_variance_of_two_speeds() -> None:
    measured = Head(FPS)
    for yaw in [*np.arange(head.CLIP + 1) * 0.8, *[0.8 * head.CLIP] * head.CLIP]:
        measured.see(seen(face(yaw=float(yaw))))
    assert measured.speed() == pytest.approx(10, rel=0.01)
    assert measured.variance() == pytest.approx(10.0**2, rel=0.02)  # 20 and 0 degrees per second


def test_frames_without_a_face_are_no_motion() -> None:
    measured = Head(FPS)
    for landmarks in (face(), None, face(yaw=30)):
        measured.see(seen(landmarks))
    assert measured.speed() is None and measured.variance() is None


def test_blinks_are_counted_and_long_closed_eyes_are_not() -> None:
    opening = np.full(250, 0.3)
    for start, frames in ((20, 4), (100, 3), (150, 40)):
        opening[start : start + frames] = 0.05
    assert blinks(opening, FPS) == 2


def test_eyes_that_are_shut_at_the_beginning_have_not_blinked() -> None:
    assert blinks(np.array([0.05] * 3 + [0.3] * 50), FPS) == 0


def test_the_lids_of_a_face_close_the_eyes_that_are_measured() -> None:
    usual, shut = eye_opening(np.stack([face(), face(blink=1.0)]))
    assert shut < head.SHUT * usual


def test_a_face_is_the_same_from_every_side() -> None:
    ahead, aside = (unturned(face(yaw=yaw))[:468] for yaw in (0.0, 20.0))
    assert np.abs(ahead - aside).max() < 0.02  # centimetres


def test_speech_and_turns_are_no_drift_of_identity() -> None:
    measured = Identity(FPS)
    for index in range(100):
        measured.see(seen(face(opening=0.3 * (index % 2), yaw=0.2 * index)))
    assert measured.distance() < 0.2
    assert abs(measured.drift()) < 0.05


@pytest.mark.parametrize("pace", [0.005, 0.01])
def test_a_face_that_grows_longer_drifts_in_proportion(pace: float) -> None:
    """The lower half of the face sinks by `pace` centimetres per frame."""
    measured, drops = Identity(FPS), 10 * pace
    for index in range(100):
        landmarks = face()
        landmarks[landmarks[:, 1] > 200, 1] += drops * index
        measured.see(seen(landmarks))
    again = Identity(FPS)
    for index in range(100):
        landmarks = face()
        landmarks[landmarks[:, 1] > 200, 1] += 2 * drops * index
        again.see(seen(landmarks))
    assert measured.drift() > 0.2
    assert again.drift() == pytest.approx(2 * measured.drift(), rel=0.1)
