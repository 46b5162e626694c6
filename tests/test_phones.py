"""Sounds of speaking programs become mouth shapes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from emo_cli.training.phones import PHONES, SPHINX, Phone, from_espeak, from_segments, shifted


def _names(phones: tuple[Phone, ...]) -> list[str]:
    return [phone.name for phone in phones]


def test_there_are_twenty_mouth_shapes_and_silence_is_the_first() -> None:
    assert len(PHONES) == len(set(PHONES)) == 20
    assert PHONES[0] == "sil"


def test_voiced_voiceless_and_nasal_labials_look_the_same() -> None:
    phones = from_espeak([(0.0, "p"), (0.1, "b"), (0.2, "m")], 0.3)
    assert _names(phones) == ["p", "p", "p"]


def test_a_diphthong_of_espeak_has_two_shapes_and_the_first_is_longer() -> None:
    first, second = from_espeak([(0.0, "aʊ")], 1.0)
    assert (first.name, second.name) == ("a", "u")
    assert first.stop == second.start == pytest.approx(0.6)


def test_an_affricate_of_espeak_is_one_shape() -> None:
    assert _names(from_espeak([(0.0, "tʃ"), (0.1, "dʒ")], 0.2)) == ["sh", "sh"]


def test_a_change_of_language_in_espeak_is_no_sound() -> None:
    assert _names(from_espeak([(0.0, "a"), (0.1, "(en)"), (0.2, "s")], 0.3)) == ["a", "s"]


def test_a_lone_palatal_mark_lets_the_sound_before_go_on() -> None:
    first, _ = from_espeak([(0.0, "n"), (0.1, "ʲ"), (0.2, "a")], 0.3)
    assert first == Phone(0.0, 0.2, "n")


def test_a_nasal_vowel_written_as_one_letter_is_that_vowel() -> None:
    assert _names(from_espeak([(0.0, "\u0169")], 0.3)) == ["u"]


def test_an_empty_symbol_of_espeak_is_a_pause() -> None:
    assert _names(from_espeak([(0.0, "a"), (0.1, "")], 0.3)) == ["a", "sil"]


def test_time_before_the_first_sound_of_espeak_is_silence() -> None:
    assert from_espeak([(0.25, "a")], 0.5)[0] == Phone(0.0, 0.25, "sil")


def test_phones_of_espeak_cover_the_whole_sound_without_gaps() -> None:
    phones = from_espeak([(0.02, "h"), (0.11, "ə"), (0.22, "l"), (0.36, "oʊ"), (0.69, "")], 0.8)
    assert phones[0].start == 0.0 and phones[-1].stop == 0.8
    assert all(before.stop == after.start for before, after in pairwise(phones))


def test_segments_of_flite_run_from_the_stop_before_to_their_own() -> None:
    assert from_segments([("pau", 0.2), ("m", 0.3)], 0.3, SPHINX) == (Phone(0.0, 0.2, "sil"), Phone(0.2, 0.3, "p"))


def test_time_after_the_last_segment_of_flite_is_silence() -> None:
    assert from_segments([("aa", 0.2)], 0.5, SPHINX)[-1] == Phone(0.2, 0.5, "sil")


def test_shifting_scales_first_and_delays_then() -> None:
    assert shifted((Phone(1.0, 2.0, "a"),), 0.5, 2.0) == (Phone(2.5, 4.5, "a"),)
