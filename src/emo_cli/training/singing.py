"""Turns evenly spoken words into song: vowels held for notes of a melody, with vibrato and glides between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_cli.sound.resampler import RATE as SAMPLE_RATE
from emo_cli.tape import Samples
from emo_cli.training.phones import VOWELS, Phone

_FRAME, _HOP, _SEARCH = 480, 240, 120  # samples: 30 ms of sound, laid every 15 ms, moved by up to 7.5 ms to fit
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))  # major, minor, pentatonic
_REACH = 5  # semitones from the speaking pitch: further, the shifted formants would be another body's
_GLIDE = 0.05  # seconds
_BEATS = (0.5, 0.5, 1.0, 1.0, 1.0, 2.0)


@dataclass(frozen=True)
class _Plan:
    """A song in pieces: seconds in the spoken and in the sung sound (pieces + 1,), semitones of each piece."""

    spoken: NDArray[np.float64]
    sung: NDArray[np.float64]
    semitones: NDArray[np.float64]


def sing(waveform: Samples, phones: tuple[Phone, ...], rng: np.random.Generator) -> tuple[Samples, tuple[Phone, ...]]:
    """Sing clean speech (samples,) at 16 kHz: its own words, times of `phones` moved with them.

    Every vowel becomes a note of 0.15 to 1.6 seconds; consonants keep about their length.
    """
    if not phones or len(waveform) < 4 * _FRAME:
        return waveform, phones
    plan = _planned(phones, rng)
    ratio, sung = _pitch(plan, rng)
    # What is read faster afterwards to sound higher must first be that much longer.
    stretched_time = np.concatenate([[0.0], np.cumsum(ratio)]) / SAMPLE_RATE
    moments = np.arange(0.0, stretched_time[-1], _HOP / SAMPLE_RATE)
    at_sung = np.interp(moments, stretched_time[:-1], sung)
    stretched = _stretched(waveform, np.interp(at_sung, plan.sung, plan.spoken))
    song = np.interp(stretched_time[:-1] * SAMPLE_RATE, np.arange(len(stretched)), stretched)
    moved = tuple(
        Phone(start, stop, phone.name)
        for phone, start, stop in zip(phones, plan.sung[:-1], plan.sung[1:], strict=True)
    )
    return song.astype(np.float32), moved


def _planned(phones: tuple[Phone, ...], rng: np.random.Generator) -> _Plan:
    beat, slow = rng.uniform(0.3, 0.75), rng.uniform(1.0, 1.3)
    scale, key, degree = _SCALES[int(rng.integers(len(_SCALES)))], rng.uniform(-2.0, 2.0), int(rng.integers(0, 4))
    lengths, notes = [], []
    for phone in phones:
        length = phone.stop - phone.start
        if phone.name in VOWELS:
            degree += int(rng.integers(-2, 3))
            length = float(np.clip(beat * rng.choice(_BEATS), max(0.15, length), max(1.6, length)))
        elif phone.name != "sil":
            length *= slow
        octave, step = divmod(degree, len(scale))
        note = key + 12 * octave + scale[step]
        if abs(note) > _REACH:  # turn back towards the middle of the voice
            degree, note = degree - int(np.sign(note)) * 2, float(np.clip(note, -_REACH, _REACH))
        lengths.append(length)
        notes.append(note)
    spoken = np.array([phones[0].start] + [phone.stop for phone in phones])
    sung = phones[0].start + np.concatenate([[0.0], np.cumsum(lengths)])
    return _Plan(spoken, sung, np.array(notes))


def _pitch(plan: _Plan, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much faster each sung sample is read, and its time: notes with glides, vibrato that grows on held notes."""
    time = np.arange(round(plan.sung[-1] * SAMPLE_RATE)) / SAMPLE_RATE
    piece = np.clip(np.searchsorted(plan.sung, time, side="right") - 1, 0, len(plan.semitones) - 1)
    semitones = plan.semitones[piece]
    width = round(_GLIDE * SAMPLE_RATE)
    padded = np.concatenate([np.full(width, semitones[0]), semitones, np.full(width, semitones[-1])])
    running = np.cumsum(padded)
    semitones = ((running[width:] - running[:-width]) / width)[width // 2 : width // 2 + len(time)]
    held = np.clip((time - plan.sung[piece] - 0.15) / 0.3, 0.0, 1.0)
    swing = rng.uniform(0.1, 0.7) * np.sin(2 * np.pi * rng.uniform(4.8, 6.5) * time)
    return 2.0 ** ((semitones + held * swing) / 12.0), time


def _stretched(waveform: Samples, sources: NDArray[np.float64]) -> NDArray[np.float64]:
    """Overlap-add of short pieces taken near `sources` (seconds, one per hop), each where it fits the one before.

    This changes length and keeps pitch (waveform similarity overlap-add, Verhelst & Roelands 1993).
    """
    margin = _FRAME + _SEARCH
    padded = np.pad(waveform.astype(np.float64), margin)
    window = np.hanning(_FRAME + 1)[:-1]
    result = np.zeros(len(sources) * _HOP + _FRAME)
    last = len(padded) - _FRAME - _HOP - _SEARCH
    follow = None
    for index, source in enumerate(sources):
        start = int(np.clip(round(source * SAMPLE_RATE) + margin - _FRAME // 2, _SEARCH, last))
        if follow is not None:
            near = padded[start - _SEARCH : start + _SEARCH + _FRAME]
            start += int(np.argmax(np.correlate(near, follow))) - _SEARCH
            start = min(start, last)
        result[index * _HOP : index * _HOP + _FRAME] += padded[start : start + _FRAME] * window
        follow = padded[start + _HOP : start + _HOP + _FRAME]
    return result[_FRAME // 2 :]
