"""How SyncNet hears: thirteen mel cepstra, a hundred times a second.

They are those of the Python package that SyncNet was trained with: windows of 25 ms without tapering, pre-emphasis of
0.97, 26 bands from 0 to 8000 Hz, the first cepstrum replaced by the logarithm of the energy.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from emo_cli.sound.resampler import RATE
from emo_cli.tape import Waveform, runs

WINDOW, HOP, SPECTRUM = 400, 160, 512
BANDS, CEPSTRA, LIFTER, EMPHASIS = 26, 13, 22, 0.97
_ROWS = 4096  # worked on at once, so that memory does not grow with the sound
_LEAST = float(np.finfo(float).eps)


def cepstra(waveform: Waveform, late: int = 0) -> torch.Tensor:
    """Waveform (samples,) at 16 kHz, full scale 1 -> (time, 13); late: samples of silence before it, or, below zero,
    how many are left out."""
    total = len(waveform) + late
    rows = 1 + max(0, math.ceil((total - WINDOW) / HOP))
    parts = []
    for start, stop in runs(rows, _ROWS):
        begin, end = start * HOP - 1, (stop - 1) * HOP + WINDOW  # with one sample before, for the pre-emphasis
        samples = _part(waveform, begin - late, end - late)
        if begin < 0:
            samples[0] = 0
        sharpened = samples[1:] - EMPHASIS * samples[:-1]
        sharpened[max(0, total - begin - 1) :] = 0
        parts.append(_of_windows(sharpened.unfold(0, WINDOW, HOP)))
    return torch.cat(parts).float()


def _part(waveform: Waveform, begin: int, end: int) -> torch.Tensor:
    """Samples begin..end as 16-bit numbers, on which the energy depends; silence beyond the ends."""
    inside = max(begin, 0), min(end, len(waveform))
    if inside[0] >= inside[1]:
        return torch.zeros(end - begin, dtype=torch.float64)
    known = torch.as_tensor(waveform[inside[0] : inside[1]]).double() * 32768
    return torch.nn.functional.pad(known, (inside[0] - begin, end - inside[1]))


def _of_windows(windows: torch.Tensor) -> torch.Tensor:
    """Cepstra (rows, 13) of windows (rows, 400)."""
    power = torch.fft.rfft(windows, SPECTRUM).abs().square() / SPECTRUM
    energy = power.sum(1).clamp(min=_LEAST).log()
    bands = (power @ _bands().T).clamp(min=_LEAST).log()
    lifted = (bands @ _cosines().T) * (1 + LIFTER / 2 * torch.sin(math.pi * torch.arange(CEPSTRA) / LIFTER))
    return torch.cat([energy[:, None], lifted[:, 1:]], 1)


def _bands() -> torch.Tensor:
    """Triangles (26, 257) whose corners lie on whole frequencies of the spectrum."""
    mel = torch.linspace(0, 2595 * math.log10(1 + RATE / 2 / 700), BANDS + 2, dtype=torch.float64)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    corners = torch.floor((SPECTRUM + 1) * hertz / RATE)[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    line = torch.arange(SPECTRUM // 2 + 1, dtype=torch.float64)
    rising, falling = (line - left) / (centre - left), (right - line) / (right - centre)
    return torch.where(line < centre, rising, falling).clamp(min=0)


def _cosines() -> torch.Tensor:
    """(13, 26): the orthonormal cosine transform."""
    row, band = torch.arange(CEPSTRA, dtype=torch.float64)[:, None], torch.arange(BANDS, dtype=torch.float64)
    table = torch.cos(math.pi * row * (band + 0.5) / BANDS) * math.sqrt(2 / BANDS)
    table[0] /= math.sqrt(2)
    return table
