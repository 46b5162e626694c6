"""How SyncNet hears: thirteen mel cepstra, a hundred times a second.

They are those of the Python package that SyncNet was trained with: windows of 25 ms without tapering, pre-emphasis of
0.97, 26 bands from 0 to 8000 Hz, the first cepstrum replaced by the logarithm of the energy.
"""

from __future__ import annotations

import math

import numpy as np
import torch

RATE, WINDOW, HOP, SPECTRUM = 16000, 400, 160, 512
BANDS, CEPSTRA, LIFTER, EMPHASIS = 26, 13, 22, 0.97
_LEAST = float(np.finfo(float).eps)


def cepstra(waveform: np.ndarray) -> torch.Tensor:
    """Waveform (samples,) at 16 kHz, full scale 1 -> (time, 13)."""
    samples = torch.from_numpy(waveform).double() * 32768  # 16-bit numbers; the energy depends on it
    samples = torch.cat([samples[:1], samples[1:] - EMPHASIS * samples[:-1]])
    rows = 1 + max(0, math.ceil((len(samples) - WINDOW) / HOP))
    samples = torch.nn.functional.pad(samples, (0, max(0, (rows - 1) * HOP + WINDOW - len(samples))))
    parts = [_of_windows(part) for part in samples.unfold(0, WINDOW, HOP).split(4096)]
    return torch.cat(parts).float()


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
