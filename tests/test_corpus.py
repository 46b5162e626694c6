"""The spoken corpus can be made again from its seed, and held-out voices stay out of training."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_cli.errors import InputError
from emo_cli.training.corpus import Utterance, load, make_utterance, write_corpus
from emo_cli.training.deliveries import Delivery
from emo_cli.training.espeak import Espeak
from emo_cli.training.flite import Flite
from emo_cli.training.phones import PHONES, Phone
from emo_cli.training.recordings import music, noise, record, resample, without_speech
from emo_cli.training.voices import UNSEEN, InstalledSpeakers, Spoken


class Humming:
    """A company of two voices that hum "a" and "m" in turn."""

    def cast(self, rng: np.random.Generator, unseen: bool) -> str:
        return "fake:unseen" if unseen else "fake:known"

    def say(self, voice: str, rng: np.random.Generator) -> Spoken:
        pitch = rng.uniform(100, 200)
        waveform = 0.3 * np.sin(2 * np.pi * pitch * np.arange(24000) / 16000)
        names = ("a", "p", "a", "p", "a")
        phones = tuple(Phone(0.3 * k, 0.3 * k + 0.3, name) for k, name in enumerate(names))
        return Spoken(waveform.astype(np.float32), phones, voice)


class Mute:
    """A company that must not be asked to speak."""

    def cast(self, rng: np.random.Generator, unseen: bool) -> str:
        raise AssertionError("a whole shard was spoken again")

    def say(self, voice: str, rng: np.random.Generator) -> Spoken:
        raise AssertionError("a whole shard was spoken again")


def _every(folder: Path) -> list[Utterance]:
    splits: Iterable[str] = ("train", "validation", "unseen voices")
    return [item for split in splits for item in load(folder, split)]  # type: ignore[arg-type]


def _has_espeak() -> bool:
    try:
        ctypes.CDLL("libespeak-ng.so.1")
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 3.0, seed=7, workers=0, speakers=Humming)
    return folder


def test_a_corpus_is_at_least_as_long_as_asked(folder: Path) -> None:
    assert 3.0 <= sum(len(item.mel) for item in _every(folder)) / 6000 < 3.6


def test_all_parts_of_an_utterance_have_the_same_even_length(folder: Path) -> None:
    for item in _every(folder):
        time = len(item.mel)
        assert time % 2 == 0
        assert item.mel.shape == (time, 64) and item.curves.shape == (time, 10)
        assert item.labels.shape == item.loudness.shape == (time,)


def test_values_are_kept_in_half_precision_and_in_range(folder: Path) -> None:
    for item in _every(folder):
        assert item.mel.dtype == item.curves.dtype == item.loudness.dtype == np.float16
        assert np.isfinite(item.mel).all() and np.isfinite(item.curves).all()
        assert item.labels.min() >= 0 and item.labels.max() < len(PHONES)


def test_unseen_voices_are_never_in_training(folder: Path) -> None:
    assert all(item.voice != "fake:unseen" for item in load(folder, "train") + load(folder, "validation"))
    unseen = load(folder, "unseen voices")
    assert unseen and all(item.voice == "fake:unseen" and item.held_out for item in unseen)


def test_one_seed_gives_one_corpus(folder: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path, 3.0, seed=7, workers=0, speakers=Humming)
    for one, other in zip(_every(folder), _every(tmp_path), strict=True):
        assert np.array_equal(one.mel, other.mel) and np.array_equal(one.curves, other.curves)


def test_the_number_of_workers_does_not_change_the_corpus(tmp_path: Path) -> None:
    for workers in (0, 2):
        write_corpus(tmp_path / str(workers), 0.4, 2, workers, Humming, shard_minutes=0.2)
    one, two = _every(tmp_path / "0"), _every(tmp_path / "2")
    assert len(one) == len(two) and all(np.array_equal(a.mel, b.mel) for a, b in zip(one, two, strict=True))


def test_whole_shards_are_kept_when_writing_goes_on(folder: Path) -> None:
    assert write_corpus(folder, 3.0, seed=7, workers=0, speakers=Mute) == 1


class Chanting(Humming):
    """A company that says everything slowly and evenly."""

    def say(self, voice: str, rng: np.random.Generator) -> Spoken:
        return replace(super().say(voice, rng), even=True)


def test_what_is_said_evenly_is_mostly_sung() -> None:
    """Humming lasts 1.5 seconds; held notes make it longer."""
    spoken, sung = (
        np.mean([len(make_utterance(company, np.random.default_rng(seed)).mel) for seed in range(12)])
        for company in (Humming(), Chanting())
    )
    assert sung > 1.1 * spoken


def test_a_folder_without_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="emo dataset synthesise"):
        load(tmp_path, "train")


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "shard-0000.npz").write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"shard-0000\.npz"):
        load(tmp_path, "train")


def test_recordings_without_speech_keep_the_mouth_closed() -> None:
    for seed in range(200):
        item = make_utterance(Humming(), np.random.default_rng(seed))
        if item.voice == "none":
            assert (item.labels == 0).all() and item.curves[:, 4].min() > 0.9
            return
    raise AssertionError("no recording without speech in 200")


def test_resampling_keeps_a_tone_and_the_length() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(22050) / 22050).astype(np.float32)
    result = resample(tone, 22050, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert len(result) == 16000
    assert np.abs(result - expected)[400:-400].max() < 0.01


def test_resampling_leaves_out_what_the_new_rate_cannot_hold() -> None:
    tone = np.sin(2 * np.pi * 10000 * np.arange(22050) / 22050).astype(np.float32)
    assert np.abs(resample(tone, 22050, 16000))[400:-400].max() < 0.01


def test_a_take_has_the_length_of_its_clean_voice_and_its_phones_end_with_it() -> None:
    spoken = Humming().say("fake:known", np.random.default_rng(0))
    for seed in range(20):
        take = record(spoken.waveform, spoken.phones, np.random.default_rng(seed))
        assert len(take.heard) == len(take.clean)
        assert take.phones[-1].stop == pytest.approx(len(take.clean) / 16000, abs=0.001)
        assert np.isfinite(take.heard).all() and np.abs(take.heard).max() < 1.0


def test_music_and_noise_have_level_one() -> None:
    for maker in (music, noise):
        sound = maker(32000, np.random.default_rng(1))
        assert np.sqrt((sound**2).mean()) == pytest.approx(1.0, abs=0.01)


def test_sound_without_speech_has_one_long_silence_as_phones() -> None:
    assert without_speech(2.0, np.random.default_rng(0)).phones == (Phone(0.0, 2.0, "sil"),)


needs_espeak = pytest.mark.skipif(not _has_espeak(), reason="libespeak-ng is not installed")
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


@needs_espeak
def test_espeak_says_mama_with_two_lip_closures() -> None:
    waveform, phones = Espeak().speak("mama", "es", Delivery())
    assert [phone.name for phone in phones].count("p") == 2
    assert len(waveform) / 16000 == pytest.approx(phones[-1].stop, abs=0.001)


@needs_espeak
def test_espeak_pauses_are_quiet_and_vowels_are_loud() -> None:
    waveform, phones = Espeak().speak("Papa. Papa.", "de", Delivery())
    level = {name: _level(waveform, [phone for phone in phones if phone.name == name]) for name in ("a", "sil")}
    assert level["a"] > 20 * level["sil"]


@needs_espeak
def test_espeak_speaks_slower_when_told() -> None:
    espeak = Espeak()
    quick, slow = (espeak.speak("one two three", "en-us", Delivery(rate))[0] for rate in (240, 80))
    assert len(slow) > 2 * len(quick)


@needs_espeak
def test_a_voice_that_espeak_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="no voice"):
        Espeak().speak("one", "xx-nowhere", Delivery())


@needs_flite
def test_flite_reports_the_phones_of_its_voice() -> None:
    waveform, phones = Flite().speak("my mama", "kal16", Delivery())
    assert [phone.name for phone in phones].count("p") == 3
    assert len(waveform) / 16000 == pytest.approx(phones[-1].stop, abs=0.05)


@needs_espeak
@needs_flite
def test_held_out_voices_are_cast_only_when_asked_for() -> None:
    company, rng = InstalledSpeakers(), np.random.default_rng(0)
    for _ in range(300):
        assert company.cast(rng, unseen=False).split("+")[0] not in UNSEEN
        assert company.cast(rng, unseen=True).split("+")[0] in UNSEEN


def _level(waveform: np.ndarray, phones: list[Phone]) -> float:
    parts = [waveform[int(phone.start * 16000) : int(phone.stop * 16000)] for phone in phones]
    return float(np.sqrt((np.concatenate(parts) ** 2).mean()))
