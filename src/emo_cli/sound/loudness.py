"""How loud a sound is, and how much of it is like a voice; and a sound at an even loudness for the model's ears."""

from __future__ import annotations

import math

import numpy as np

from emo_cli.sound.resampler import RATE
from emo_cli.tape import Samples, Waveform, pieces

_PIECE = 1 << 16
_QUIET, _TARGET, _MOST_GAIN = -60.0, -23.0, 20.0


def loudness(waveform: Waveform) -> float:
    """Loudness of the loud parts, dBFS: RMS of 0.4 s blocks, gated as in ITU-R BS.1770; -inf for silence."""
    cell = RATE // 10
    whole = len(waveform) // cell * cell
    if whole < 4 * cell:
        blocks = np.square(np.asarray(waveform[:]), dtype=np.float64).mean(keepdims=True)
    else:
        parts = (part[: len(part) // cell * cell].reshape(-1, cell) for part in pieces(waveform, 100 * cell))
        cells = np.concatenate([np.square(part, dtype=np.float64).mean(1) for part in parts if len(part)])
        blocks = np.convolve(cells, np.full(4, 0.25), "valid")
    blocks = blocks[blocks > 1e-7]
    if not len(blocks):
        return -math.inf
    return 10 * math.log10(float(blocks[blocks >= blocks.mean() / 10].mean()))


class Levelled:
    """A waveform with an offset taken out and made louder or softer, piece by piece as it is read."""

    def __init__(self, waveform: Waveform, offset: np.float32, gain: np.float32) -> None:
        self._waveform, self._offset, self._gain = waveform, offset, gain

    def __len__(self) -> int:
        return len(self._waveform)

    def __getitem__(self, part: slice, /) -> Samples:
        samples: Samples = np.asarray(self._waveform[part]) - self._offset
        samples *= self._gain
        return samples


def levelled(waveform: Waveform) -> Levelled:
    """The waveform without offset, its speech brought to -23 dBFS, +20 dB at most; silence is not raised."""
    total = sum(float(part.sum(dtype=np.float64)) for part in pieces(waveform, _PIECE))
    offset = np.float32(total / max(1, len(waveform)))
    loud = loudness(Levelled(waveform, offset, np.float32(1)))
    gain = 10 ** (min(_TARGET - loud, _MOST_GAIN) / 20) if loud >= _QUIET else 1.0
    return Levelled(waveform, offset, np.float32(gain))


def voice_share(waveform: Waveform) -> float:
    """Share, 0 to 1, of 20 ms pieces with energy like a voice: loud enough, and mostly within 100-4000 Hz."""
    size = RATE // 50
    floor = 10 ** (max(loudness(waveform) - 20, _QUIET) / 10)
    voiced = 0
    for samples in pieces(waveform, 3000 * size):
        part = samples[: len(samples) // size * size].reshape(-1, size)
        power = np.square(np.abs(np.fft.rfft(part * np.hanning(size), axis=1)))
        within = power[:, 2 : 4000 // 50 + 1].sum(1) / np.maximum(power.sum(1), 1e-20)
        voiced += int(((np.square(part).mean(1) > floor) & (within > 0.5)).sum())
    return voiced / max(1, len(waveform) // size)
