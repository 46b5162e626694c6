"""The voice in the middle of a stereo song: heard without most of the music, and only where it is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_cli import speech, video
from emo_cli.sound.vocals import CentreVoice, wanted
from test_speech import voice, wav

RATE = 44_100


def music(seconds: float, side: int, pitches: tuple[float, ...]) -> np.ndarray:
    """Chords of plucked strings, mostly on one side: (samples, 2)."""
    times = np.arange(round(RATE * seconds)) / RATE
    pluck = np.exp(-3 * (times % 0.5))
    tones = sum(np.sin(2 * np.pi * pitch * part * times) / part for pitch in pitches for part in (1, 2, 3, 4))
    pan = np.array([0.95, 0.15])[:: 1 if side == 0 else -1]
    return (0.1 * (pluck * tones)[:, None] * pan).astype("f4")


@pytest.fixture(scope="module")
def singer() -> np.ndarray:
    return np.repeat(voice(RATE, 3.0), 2, axis=1)


@pytest.fixture(scope="module")
def band() -> np.ndarray:
    return music(3.0, 0, (196, 247, 294)) + music(3.0, 1, (330, 415, 494))


def signal_to_noise(heard: np.ndarray, true: np.ndarray) -> float:
    """dB of what is heard of the true voice over all that is heard besides, at the best gain."""
    gain = float(heard @ true / (true @ true))
    return float(10 * np.log10(np.square(gain * true).sum() / np.square(heard - gain * true).sum()))


def middle(samples: np.ndarray, block: int = 10_000) -> np.ndarray:
    taken = CentreVoice(RATE)
    parts = [taken.push(samples[start : start + block]) for start in range(0, len(samples), block)]
    return np.concatenate([*parts, taken.finish()])


def test_the_voice_stands_out_of_the_music_by_many_decibels(singer: np.ndarray, band: np.ndarray) -> None:
    mix, true = singer + band, singer[:, 0]
    before = signal_to_noise(mix.mean(1), true)
    after = signal_to_noise(middle(mix), true)
    assert after - before > 6
    assert signal_to_noise(middle(singer), true) > 15


@pytest.mark.parametrize("block", [100, 4096, 200_000])
def test_blocks_of_any_length_give_the_same_samples_at_the_same_times(
    singer: np.ndarray, band: np.ndarray, block: int
) -> None:
    mix = (singer + band)[:50_001]
    heard = middle(mix, block)
    assert len(heard) == len(mix)
    assert np.abs(heard - middle(mix)).max() < 1e-6
    assert heard @ singer[:50_001, 0] > 0.9 * np.linalg.norm(heard) * np.linalg.norm(singer[:50_001, 0])


def test_only_the_middle_of_wide_stereo_is_looked_for(singer: np.ndarray, band: np.ndarray) -> None:
    interview = np.concatenate([singer * [1, 0], singer * [0, 1]])
    assert wanted("auto", singer + band, RATE)
    assert not wanted("auto", singer, RATE)
    assert not wanted("auto", interview, RATE)
    assert not wanted("auto", singer[:, :1], RATE)
    assert not wanted("auto", np.zeros((1000, 2), "f4"), RATE)
    assert wanted("centre", singer, RATE) and not wanted("off", singer + band, RATE)


def test_the_model_hears_the_voice_and_the_video_has_the_song(
    singer: np.ndarray, band: np.ndarray, tmp_path: Path
) -> None:
    path = wav(tmp_path / "song.wav", singer + band, RATE)
    true = speech.read(wav(tmp_path / "voice.wav", singer, RATE)).waveform
    whole, alone = speech.read(path), speech.read(path, vocals="auto")
    assert signal_to_noise(alone.waveform, true) > signal_to_noise(whole.waveform, true) + 6
    assert (alone.seconds, alone.source, len(alone.waveform)) == (whole.seconds, path, len(whole.waveform))
    count = video.frame_count(alone.seconds, 25)
    made = video.write(tmp_path / "x.mp4", (np.zeros((16, 16, 3), np.uint8) for _ in range(count)), 25, alone)
    heard = speech.read(made.path).waveform[: len(whole.waveform)]
    assert signal_to_noise(heard, whole.waveform) > 15


def test_a_part_of_a_song_is_the_same_part_of_its_voice(singer: np.ndarray, band: np.ndarray, tmp_path: Path) -> None:
    path = wav(tmp_path / "song.wav", singer + band, RATE)
    whole = speech.read(path, vocals="centre").waveform
    part = speech.read(path, start=1.0, duration=1.0, vocals="centre").waveform
    assert np.corrcoef(part, whole[16_000:32_000])[0, 1] > 0.995
