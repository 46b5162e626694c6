"""Makes clean synthetic speech sound like recordings: rooms, microphones, telephones, noise and music behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_cli.sound.resampler import RATE as SAMPLE_RATE
from emo_cli.tape import Samples
from emo_cli.training.codecs import random_codec
from emo_cli.training.deliveries import breathy, shouted, whispered
from emo_cli.training.phones import Phone, shifted

_EQUALISER_KNOTS = 7
_CHORD_NOTES = (0, 3, 4, 5, 7, 10, 12, 16)  # semitones above the root


@dataclass(frozen=True)
class Recording:
    """One take at 16 kHz: `heard` is what a microphone gives, `clean` the same moments without the disturbance."""

    heard: Samples
    clean: Samples
    phones: tuple[Phone, ...]


def resample(waveform: Samples, rate: int, new_rate: int) -> Samples:
    """Band-limited change of sample rate, exact in length: by cutting or extending the spectrum."""
    if rate == new_rate:
        return waveform.astype(np.float32)
    common = int(np.gcd(rate, new_rate))
    down, up = rate // common, new_rate // common
    length = len(waveform)
    # Padding to whole periods keeps the ratio exact; 50 ms more keep the wrap-around out of the sound.
    blocks = -(-(length + rate // 20) // down)
    spectrum = np.fft.rfft(waveform.astype(np.float64), blocks * down)
    result = np.fft.irfft(spectrum[: blocks * up // 2 + 1], blocks * up) * (up / down)
    return result[: round(length * up / down)].astype(np.float32)


def record(
    waveform: Samples, phones: tuple[Phone, ...], rng: np.random.Generator, sung: bool = False
) -> Recording:
    """A random take of clean speech: another vocal tract, tempo and way of speaking, colour, room, noise, music, level.

    What is sung has music 0 to 10 dB below it more often than not; what is spoken, now and then.
    """
    waveform, phones = _another_body(waveform, phones, rng)
    if not sung:
        waveform = _delivered(waveform, rng)
    heard = _equalise(waveform, rng)
    if rng.random() < 0.5:
        heard = _room(heard, rng)
    if rng.random() < (0.7 if sung else 0.25):
        heard = heard + music(len(heard), rng) * _relative(heard, -rng.uniform(0.0, 10.0 if sung else 24.0))
    if rng.random() < 0.8:
        heard = heard + noise(len(heard), rng) * _relative(heard, rng.uniform(-45.0, -12.0))
    if rng.random() < 0.1:
        heard = _telephone(heard, rng)
    if rng.random() < 0.08:
        heard = random_codec(heard, rng)
    return Recording(_at_level(heard, rng), waveform, phones)


def _delivered(waveform: Samples, rng: np.random.Generator) -> Samples:
    """Mostly as it was spoken; one in ten each is breathy or shouted, one in twenty-five whispered."""
    share = rng.random()
    if share < 0.04:
        return whispered(waveform, rng)
    if share < 0.14:
        return breathy(waveform, rng)
    if share < 0.24:
        return shouted(waveform, rng)
    return _vibrato(waveform, rng) if share < 0.3 else waveform


def without_speech(seconds: float, rng: np.random.Generator) -> Recording:
    """Music, noise, clicks, tones or silence, in which a mouth has nothing to say: one long "sil"."""
    length = round(seconds * SAMPLE_RATE)
    makers: tuple[Callable[[int, np.random.Generator], Samples], ...] = (music, music, noise, clicks, tone, _silence)
    heard = makers[int(rng.integers(len(makers)))](length, rng)
    heard = _equalise(heard, rng) + noise(length, rng) * 10 ** (rng.uniform(-70.0, -30.0) / 20)
    if rng.random() < 0.3:
        heard = _room(heard, rng)
    return Recording(_at_level(heard, rng), np.zeros(length, np.float32), (Phone(0.0, seconds, "sil"),))


def music(length: int, rng: np.random.Generator) -> Samples:
    """Decaying chords of four notes with four harmonics, level 1."""
    time = np.arange(length) / SAMPLE_RATE
    sound = np.zeros(length)
    start = 0
    while start < length:
        ring = time[: min(round(SAMPLE_RATE * 1.2), length - start)]
        root = 110.0 * 2.0 ** (rng.integers(0, 24) / 12.0)
        decay = rng.uniform(0.5, 5.0)
        for step in rng.choice(_CHORD_NOTES, 4):
            pitch = root * 2.0 ** (step / 12.0)
            for harmonic in (1, 2, 3, 4):
                sound[start : start + len(ring)] += (
                    np.exp(-ring * decay) * np.sin(2 * np.pi * pitch * harmonic * ring) / harmonic**1.3
                )
        start += round(SAMPLE_RATE * rng.uniform(0.3, 1.2))
    if rng.random() < 0.4:
        sound = sound + _drums(length, rng) * sound.std() * rng.uniform(0.5, 2.0)
    return _level_one(sound)


def noise(length: int, rng: np.random.Generator) -> Samples:
    """Noise of level 1, from white to brown, sometimes swelling."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** -rng.uniform(0.0, 1.0)
    sound = np.fft.irfft(spectrum, length)
    if rng.random() < 0.3:
        sound = sound * (1.0 + 0.8 * np.sin(2 * np.pi * np.arange(length) / SAMPLE_RATE * rng.uniform(0.1, 2.0)))
    return _level_one(sound)


def clicks(length: int, rng: np.random.Generator) -> Samples:
    """Knocks and clicks at random moments, level 1."""
    sound = np.zeros(length)
    for start in rng.integers(0, length, max(1, int(length / SAMPLE_RATE * rng.uniform(1.0, 8.0)))):
        ring = np.arange(min(1600, length - start)) / SAMPLE_RATE
        burst = np.sin(2 * np.pi * rng.uniform(100.0, 4000.0) * ring) + 0.5 * rng.standard_normal(len(ring))
        sound[start : start + len(ring)] += burst * np.exp(-ring * rng.uniform(30.0, 400.0))
    return _level_one(sound)


def tone(length: int, rng: np.random.Generator) -> Samples:
    """A beep or a slow siren with a few harmonics, level 1."""
    time = np.arange(length) / SAMPLE_RATE
    pitch = rng.uniform(80.0, 1500.0) * (1.0 + rng.uniform(0.0, 0.3) * np.sin(2 * np.pi * rng.uniform(0.1, 1.0) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    sound = sum(np.sin(phase * harmonic) * rng.uniform(0.0, 1.0) / harmonic for harmonic in (1, 2, 3, 5))
    gate = np.sin(2 * np.pi * rng.uniform(0.2, 2.0) * time) > rng.uniform(-1.5, 0.5)
    return _level_one(np.asarray(sound) * gate)


def _silence(length: int, rng: np.random.Generator) -> Samples:
    return np.zeros(length, np.float32)


def _drums(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    sound = np.zeros(length)
    beat = round(SAMPLE_RATE * rng.uniform(0.2, 0.6))
    for start in range(0, length, beat):
        ring = np.arange(min(3000, length - start)) / SAMPLE_RATE
        hit = rng.standard_normal(len(ring)) if rng.random() < 0.5 else np.sin(2 * np.pi * 70.0 * ring) * 2.0
        sound[start : start + len(ring)] += hit * np.exp(-ring * 40.0)
    return sound


def _another_body(
    waveform: Samples, phones: tuple[Phone, ...], rng: np.random.Generator
) -> tuple[Samples, tuple[Phone, ...]]:
    """Played 20 % slower to 20 % faster: longer or shorter vocal tract, lower or higher voice, another tempo."""
    if rng.random() < 0.25:
        return waveform, phones
    percent = int(rng.integers(80, 121))
    return resample(waveform, percent, 100), shifted(phones, 0.0, 100.0 / percent)


def _vibrato(waveform: Samples, rng: np.random.Generator) -> Samples:
    """Singers' pitch swings 5 to 6 times a second by about a quarter tone; phones move by less than 1 ms."""
    rate, depth = rng.uniform(4.5, 6.5), rng.uniform(0.005, 0.025)
    samples = np.arange(len(waveform))
    swing = depth * SAMPLE_RATE / (2 * np.pi * rate) * np.sin(2 * np.pi * rate * samples / SAMPLE_RATE)
    return np.interp(samples + swing, samples, waveform).astype(np.float32)


def _equalise(waveform: Samples, rng: np.random.Generator) -> Samples:
    """A smooth random colour of up to about 8 dB, as microphones and rooms have."""
    spectrum = np.fft.rfft(waveform.astype(np.float64), len(waveform) + SAMPLE_RATE // 20)
    hertz = np.linspace(0.0, SAMPLE_RATE / 2, len(spectrum))
    knots = np.geomspace(60.0, SAMPLE_RATE / 2, _EQUALISER_KNOTS)
    decibels = np.interp(np.log(hertz + 20.0), np.log(knots), rng.normal(0.0, 4.0, _EQUALISER_KNOTS))
    tilt = rng.normal(0.0, 2.0) * (np.log2(hertz + 20.0) - 10.0)
    shaped = np.fft.irfft(spectrum * 10.0 ** ((decibels + tilt) / 20.0), len(waveform) + SAMPLE_RATE // 20)
    return shaped[: len(waveform)].astype(np.float32)


def _room(waveform: Samples, rng: np.random.Generator) -> Samples:
    length = round(SAMPLE_RATE * rng.uniform(0.08, 0.45))
    echo = rng.standard_normal(length) * np.exp(-6.0 * np.arange(length) / length) * rng.uniform(0.02, 0.12)
    echo[0] = 1.0
    total = len(waveform) + length
    wet = np.fft.irfft(np.fft.rfft(waveform, total) * np.fft.rfft(echo, total), total)
    return wet[: len(waveform)].astype(np.float32)


def _telephone(waveform: Samples, rng: np.random.Generator) -> Samples:
    """Only 300 to 3400 Hz, as on a telephone line."""
    spectrum = np.fft.rfft(waveform.astype(np.float64))
    hertz = np.linspace(0.0, SAMPLE_RATE / 2, len(spectrum))
    low, high = rng.uniform(150.0, 350.0), rng.uniform(3200.0, 4500.0)
    band = 1.0 / (1.0 + (low / (hertz + 1.0)) ** 6) / (1.0 + (hertz / high) ** 12)
    return np.fft.irfft(spectrum * band, len(waveform)).astype(np.float32)


def _at_level(waveform: Samples, rng: np.random.Generator) -> Samples:
    """A random level; one take in ten was recorded too loud and is clipped."""
    if rng.random() < 0.1:
        limit = float(np.percentile(np.abs(waveform), 99.5)) + 1e-6
        waveform = np.clip(waveform, -limit, limit)
    peak = float(np.abs(waveform).max(initial=0.0))
    return (waveform * (rng.uniform(0.05, 0.99) / max(peak, 1e-3))).astype(np.float32)


def _relative(waveform: Samples, decibels: float) -> float:
    """The factor that puts a sound of level 1 at `decibels` relative to the waveform's level."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))) * 10.0 ** (decibels / 20.0)


def _level_one(sound: NDArray[np.float64]) -> Samples:
    return (sound / (np.sqrt(np.mean(sound**2)) + 1e-9)).astype(np.float32)
