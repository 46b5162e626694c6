"""Voices beyond plain speech: song, whispers, shouts, codecs and the voices of festival."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from emo_cli.training.codecs import CODECS, Codec, through
from emo_cli.training.deliveries import Delivery, breathy, shouted, whispered
from emo_cli.training.espeak import LANGUAGES
from emo_cli.training.festival import VOICES, Festival, installed
from emo_cli.training.phones import PHONES, Phone
from emo_cli.training.sentences import invented
from emo_cli.training.singing import sing


def _hum(seconds: float, pitch: float = 150.0) -> np.ndarray:
    time = np.arange(round(seconds * 16000)) / 16000
    return sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12)).astype(np.float32) * 0.1


def _phones() -> tuple[Phone, ...]:
    names = ("p", "a", "p", "i", "t", "o", "sil")
    return tuple(Phone(0.15 * k, 0.15 * k + 0.15, name) for k, name in enumerate(names))


def _pitch(wave: np.ndarray) -> float:
    """Hertz of the strongest repetition between 80 and 400 Hz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 16)) ** 2
    repeated = np.fft.irfft(spectrum)[: 16000 // 80]
    return 16000 / (40 + int(np.argmax(repeated[40:])))


def test_song_is_as_long_as_its_phones_say() -> None:
    song, phones = sing(_hum(1.05), _phones(), np.random.default_rng(0))
    assert phones[-1].stop == pytest.approx(len(song) / 16000, abs=0.01)
    assert [phone.name for phone in phones] == [phone.name for phone in _phones()]


def test_vowels_are_held_and_consonants_stay_short() -> None:
    _, phones = sing(_hum(1.05), _phones(), np.random.default_rng(0))
    lengths = {name: max(p.stop - p.start for p in phones if p.name == name) for name in ("a", "i", "o", "p", "t")}
    assert max(lengths[name] for name in "aio") > 0.25
    assert max(lengths[name] for name in "pt") < 0.2


def test_notes_have_different_pitches_and_stay_near_the_voice() -> None:
    song, phones = sing(_hum(1.05), _phones(), np.random.default_rng(3))
    notes = []
    for phone in phones:
        if phone.name in ("a", "i", "o") and phone.stop - phone.start > 0.2:
            middle = (phone.start + phone.stop) / 2
            notes.append(_pitch(song[round((middle - 0.07) * 16000) : round((middle + 0.07) * 16000)]))
    assert len(notes) >= 2 and max(notes) / min(notes) > 1.03
    assert all(150 / 1.5 < note < 150 * 1.5 for note in notes)


def test_a_whisper_has_no_pitch_and_keeps_the_length() -> None:
    wave = _hum(1.0)
    whisper = whispered(wave, np.random.default_rng(0))
    assert len(whisper) == len(wave)

    def periodic(sound: np.ndarray) -> float:
        return float(np.corrcoef(sound[4000:8000], sound[4000 + 320 : 8000 + 320])[0, 1])  # three periods of 150 Hz

    assert periodic(wave) > 0.95 and abs(periodic(whisper)) < 0.4


def test_a_breathy_voice_is_the_voice_and_some_noise() -> None:
    wave = _hum(1.0)
    assert 0.8 < np.corrcoef(wave, breathy(wave, np.random.default_rng(0)))[0, 1] < 0.995


def test_a_shout_is_brighter() -> None:
    wave = _hum(1.0)

    def brightness(sound: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(sound)) ** 2
        return float(spectrum[1000:].sum() / spectrum.sum())

    assert brightness(shouted(wave, np.random.default_rng(0))) > 2 * brightness(wave)


@pytest.mark.parametrize("codec", CODECS[:4], ids=lambda codec: f"{codec.ending} {codec.options[1]}")
def test_a_codec_keeps_length_and_time(codec: Codec) -> None:
    wave = _hum(1.0) * (np.arange(16000) // 2000 % 2)
    coded = through(wave.astype(np.float32), codec, codec.rates[-1] if codec.rates else None)
    assert len(coded) == len(wave)
    moved = [np.abs(np.roll(coded, lag)[800:-800]) for lag in (-320, 0, 320)]
    agreement = [np.corrcoef(np.abs(wave[800:-800]), sound)[0, 1] for sound in moved]
    assert np.argmax(agreement) == 1


def test_every_language_has_a_script_that_words_can_be_invented_in() -> None:
    rng = np.random.default_rng(0)
    for script in sorted(set(LANGUAGES.values())):
        assert len(invented(rng, script).split()) >= 4


def test_every_segment_of_festival_is_a_known_shape() -> None:
    for voice in VOICES.values():
        assert {shape for shapes in voice.segments.values() for shape in shapes.split()} <= set(PHONES)


needs_festival = pytest.mark.skipif(
    shutil.which("festival") is None or not installed(), reason="festival or its voices are not installed"
)


@needs_festival
def test_festival_reports_what_it_says() -> None:
    voice = installed()[0]
    festival = Festival(voice)
    try:
        text = "мама" if VOICES[voice].script == "cyrillic" else "mama"
        waveform, phones = festival.speak(text, Delivery())
        assert [phone.name for phone in phones].count("p") == 2
        assert phones[-1].stop == pytest.approx(len(waveform) / 16000, abs=0.05)
    finally:
        festival.close()


@needs_festival
def test_festival_goes_on_after_a_text_that_it_cannot_say() -> None:
    festival = Festival(installed()[0])
    try:
        festival._tell("(no-such-function)")
        assert festival.speak("mama", Delivery())[1]
    finally:
        festival.close()
