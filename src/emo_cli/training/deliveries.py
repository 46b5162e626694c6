"""How something is said: tempo and pitch, and what speaking programs cannot do: whispering, breathy talk, shouting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_cli.sound.resampler import RATE as SAMPLE_RATE
from emo_cli.tape import Samples

_FRAME, _HOP = 512, 128  # samples: 32 ms, every 8 ms
_SMOOTH = 9  # bins of 31 Hz: wide enough to lose the harmonics, narrow enough to keep formants


@dataclass(frozen=True)
class Delivery:
    """How a text is said: words per minute (40..300), pitch and liveliness of pitch (both 0..99)."""

    rate: int = 165
    pitch: int = 50
    liveliness: int = 50


def whispered(waveform: Samples, rng: np.random.Generator) -> Samples:
    """The same words (samples,) at 16 kHz without vocal folds: noise that has the sound's changing colour.

    Whispering lacks most of the energy of voicing at low frequencies, so what is below 500 Hz becomes weaker.
    """
    spectrum = _spectrum(waveform)
    envelope = np.exp(_blurred(np.log(np.abs(spectrum) + 1e-5)))
    hertz = np.linspace(0.0, SAMPLE_RATE / 2, spectrum.shape[1])
    noise = rng.standard_normal(spectrum.shape) + 1j * rng.standard_normal(spectrum.shape)
    return _sound(noise * envelope * (0.15 + hertz / (hertz + 500.0)), len(waveform))


def breathy(waveform: Samples, rng: np.random.Generator) -> Samples:
    """A voice with audible breath: a share of its own whisper, 20 to 60 % of its level."""
    breath = whispered(waveform, rng)
    share = rng.uniform(0.2, 0.6) * _level(waveform) / max(_level(breath), 1e-9)
    return (waveform + share * breath).astype(np.float32)


def shouted(waveform: Samples, rng: np.random.Generator) -> Samples:
    """A voice under pressure: a flatter spectrum (up to 9 dB more per octave above 500 Hz) and some overdrive."""
    spectrum = np.fft.rfft(waveform.astype(np.float64), len(waveform) + 800)
    octaves = np.log2(np.maximum(np.linspace(0.0, SAMPLE_RATE / 2, len(spectrum)), 500.0) / 500.0)
    lifted = np.fft.irfft(spectrum * 10.0 ** (rng.uniform(3.0, 9.0) * octaves / 20.0), len(waveform) + 800)
    lifted = lifted[: len(waveform)]
    drive = rng.uniform(1.0, 4.0) / max(float(np.abs(lifted).max(initial=0.0)), 1e-6)
    return np.tanh(lifted * drive).astype(np.float32)


def _spectrum(waveform: Samples) -> NDArray[np.complex128]:
    frames = 1 + -(-len(waveform) // _HOP)
    padded = np.pad(waveform.astype(np.float64), (_FRAME // 2, frames * _HOP + _FRAME - len(waveform)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP][:frames]
    return np.fft.rfft(windows * np.hanning(_FRAME), axis=1)


def _sound(spectrum: NDArray[Any], length: int) -> Samples:
    """The sound of a spectrum, by overlap-add."""
    frames = np.fft.irfft(spectrum, _FRAME, axis=1) * np.hanning(_FRAME)
    total = np.zeros(len(frames) * _HOP + _FRAME)
    for index, frame in enumerate(frames):
        total[index * _HOP : index * _HOP + _FRAME] += frame
    return (total[_FRAME // 2 : _FRAME // 2 + length] / (_FRAME / _HOP * 0.375)).astype(np.float32)


def _blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, ((0, 0), (_SMOOTH // 2 + 1, _SMOOTH // 2)), mode="edge")
    running = np.cumsum(padded, axis=1)
    return (running[:, _SMOOTH:] - running[:, :-_SMOOTH]) / _SMOOTH


def _level(waveform: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
