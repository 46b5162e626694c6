"""What a sound is made of, moment by moment: its mel spectrum, a hundred rows a second, freed of its level."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from emo_cli.sound.resampler import RATE
from emo_cli.tape import Tape, Waveform, mean_square, runs

HOP = 160  # samples, 10 ms
WINDOW = 400  # samples, 25 ms
SPECTRUM = 512
BINS = 64
CHUNK = 3000
"""Rows worked on at once, so that memory does not grow with the sound."""
SPAN = 2.5
"""Nats per unit of the normalised spectrum."""
_LOWEST, _HIGHEST = 50.0, 7600.0  # hertz
# A recording quieter than -80 dB of full scale holds no speech; raising it would only raise hiss.
_QUIETEST = 1e-4
# Natural log of the mean mel energy that speech has at level 1 is about 2; a clip far below it is silence, and
# its own mean must not become the zero point, or silence would look like speech of even loudness.
_LEAST_MEAN = -3.0


def log_mel(waveform: Waveform) -> torch.Tensor:
    """Samples at 16 kHz -> (time, 64) natural log of mel energies, 100 rows per second.

    64 triangles from 50 to 7600 Hz on the mel scale (O'Shaughnessy 1987), 25 ms Hann windows. The level is set
    to 1 first, so gain does not matter. The number of rows is even, since two rows make one row of features.
    """
    return torch.cat(list(log_mel_pieces(waveform)))


def log_mel_pieces(waveform: Waveform) -> Iterator[torch.Tensor]:
    """The rows of log_mel, in pieces."""
    level = max(math.sqrt(mean_square(waveform)), _QUIETEST)
    samples = len(waveform)
    rows = 2 * max(1, -(-samples // (2 * HOP)))
    before = (WINDOW - HOP) // 2  # the window of row k is centred on its 10 ms
    window, bands = torch.hann_window(WINDOW), triangles()
    for start, stop in runs(rows, CHUNK // 2):
        begin, end = start * HOP - before, (stop - 1) * HOP + WINDOW - before
        piece = torch.as_tensor(waveform[max(begin, 0) : end]).float() / level
        piece = F.pad(piece, (max(-begin, 0), end - max(begin, 0) - len(piece)))
        power = torch.fft.rfft(piece.unfold(0, WINDOW, HOP) * window, SPECTRUM).abs().square()
        yield (power @ bands + 1e-6).log()


def normalise(mel: torch.Tensor) -> torch.Tensor:
    """Log mel (time, 64) -> (time, 64) in -3.5..2.5: takes out level and half of the recording's colour.

    Statistics are over the whole clip, from rows within 4 nats of its 92nd-percentile energy.
    """
    return scaled(mel, zero_point(mel))


def zero_point(mel: torch.Tensor | Tape) -> torch.Tensor:
    """(64,): what normalise takes out of every row."""
    energy = torch.cat([torch.as_tensor(mel[a:b]).mean(1) for a, b in runs(len(mel), CHUNK)])
    active = energy > torch.quantile(energy, 0.92) - 4.0
    total = torch.zeros(mel.shape[1], dtype=torch.float64)
    for start, stop in runs(len(mel), CHUNK):
        total += torch.as_tensor(mel[start:stop])[active[start:stop]].sum(0, dtype=torch.float64)
    mean = (total / active.sum()).float()
    shift = 0.5 * mean + 0.5 * mean.mean()
    return shift + (_LEAST_MEAN - mean.mean()).clamp(min=0.0)


def scaled(mel: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Rows (time, 64) less the zero point, in units of SPAN."""
    return ((mel - shift) / SPAN).clamp(-3.5, 2.5)


def triangles() -> torch.Tensor:
    """Filters (257, 64): how much of each frequency of the spectrum falls into each band."""
    corners = hertz(torch.linspace(pitch(_LOWEST), pitch(_HIGHEST), BINS + 2))
    frequencies = torch.linspace(0.0, RATE / 2, SPECTRUM // 2 + 1)[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    return torch.minimum((frequencies - left) / (centre - left), (right - frequencies) / (right - centre)).clamp(
        min=0.0
    )


def centres(bins: int = BINS) -> torch.Tensor:
    """Hertz (bins,) of the middle of each band, in double precision."""
    return hertz(torch.linspace(pitch(_LOWEST), pitch(_HIGHEST), bins + 2, dtype=torch.float64))[1:-1]


def pitch(frequency: float) -> float:
    """Hertz -> mel."""
    return 2595.0 * math.log10(1.0 + frequency / 700.0)


def hertz(mels: torch.Tensor) -> torch.Tensor:
    """Mel -> hertz."""
    return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
