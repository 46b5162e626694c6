"""How high the voice is, beside how high it usually is in this recording: read from the mel spectrum alone.

A voice's overtones leave a comb in the lower bands of the spectrum. Each row is held against the combs of sixty
pitches; whoever has only mel spectra, as the training corpus, can still tell the melody.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_cli.sound.mel import SPAN, SPECTRUM, WINDOW, triangles
from emo_cli.sound.resampler import RATE

WIDTH = 2
"""Numbers per row: octaves above the usual pitch, times how sure it is; how sure it is, 0..1."""

LOWEST, HIGHEST, PITCHES = 70.0, 480.0, 60  # hertz; steps of about half a semitone
_BANDS = 28  # up to 1.5 kHz: above, bands are wider than what lies between two overtones
_HIGHEST_OVERTONE = 1800.0
_BLUR = 9  # bands: what is left after taking this mean away is comb, what is taken away is vowel
_FLOOR = 0.3  # share of its full depth that a comb must have, or it may be nothing: low voices have flat combs
_NEIGHBOURS = 5  # rows over which likeness is averaged
_SHARPNESS = 18.0
_LOYALTY, _REACH = 0.15, 0.5  # an octave from the usual pitch costs 0.6 of likeness: most such leaps are mistakes
_UNSURE, _SURE = 0.35, 0.6
_FURTHEST = 1.0  # octaves


class Melody(nn.Module):
    """Fixed tables, nothing is trained."""

    combs: Tensor
    floors: Tensor
    octaves: Tensor

    def __init__(self) -> None:
        super().__init__()
        octaves = torch.linspace(0.0, math.log2(HIGHEST / LOWEST), PITCHES)
        self.register_buffer("octaves", octaves, persistent=False)
        combs = torch.stack([_comb(LOWEST * 2.0 ** float(octave)) for octave in octaves])
        shapes = _shape(combs)  # (60, 28)
        depths = shapes.norm(dim=1)
        self.register_buffer("combs", shapes / depths[:, None], persistent=False)
        self.register_buffer("floors", _FLOOR * depths, persistent=False)

    def likeness(self, mel: Tensor) -> Tensor:
        """Normalised log mel (batch, time, 64) -> (batch, time, 60): -1..1, how much each pitch's comb is there."""
        shapes = _shape(mel.float() * SPAN)
        alike = shapes @ self.combs.T / (shapes.norm(dim=-1, keepdim=True) + self.floors)
        return _averaged(alike.transpose(1, 2), _NEIGHBOURS).transpose(1, 2)

    def census(self, mel: Tensor) -> Tensor:
        """(60,): how often each pitch is the voice's in these rows (batch, time, 64); of parts, it adds up."""
        strength, best = self.likeness(mel).flatten(0, 1).max(1)
        votes = torch.zeros(PITCHES, device=mel.device)
        return votes.index_add(0, best, _sureness(strength))

    def usual(self, census: Tensor) -> Tensor:
        """Octaves above LOWEST of the median of a census."""
        share = census.cumsum(0) / census.sum().clamp(min=1e-6)
        return self.octaves[int((share < 0.5).sum().clamp(max=PITCHES - 1))]

    @torch.no_grad()
    def forward(self, mel: Tensor, usual: Tensor | None = None) -> Tensor:
        """Normalised log mel (batch, time, 64) at 100 Hz -> (batch, time // 2, 2) at 50 Hz, see WIDTH.

        usual: of the whole recording; of these rows where it is not given.
        """
        if usual is None:
            usual = torch.stack([self.usual(self.census(one[None])) for one in mel])[:, None, None]
        away = self.octaves - usual
        alike = self.likeness(mel)
        weights = (_SHARPNESS * (alike - _LOYALTY * (away / _REACH).square())).softmax(-1)
        rise = (weights * away).sum(-1).clamp(-_FURTHEST, _FURTHEST)
        sure = _sureness((weights * alike).sum(-1))
        rows = torch.stack([rise * sure, sure], -1)
        return rows[:, : len(rows[0]) // 2 * 2].unflatten(1, (-1, 2)).mean(2)


def _comb(frequency: float) -> Tensor:
    """Log energies (64,) of a voice of this pitch: its overtones, each weaker, through the bands of the spectrum."""
    time = torch.arange(WINDOW) / RATE
    numbers = torch.arange(1, int(_HIGHEST_OVERTONE // frequency) + 1)[:, None]
    waves = torch.exp(2j * math.pi * frequency * numbers * time) * torch.hann_window(WINDOW)
    power = torch.fft.fft(waves, SPECTRUM)[:, : SPECTRUM // 2 + 1].abs().square() / numbers
    energy: Tensor = power.sum(0) @ triangles()
    return (energy + 1e-3 * energy.max()).log()


def _shape(mel: Tensor) -> Tensor:
    """What the lower bands of log energies (..., 64) have of a comb, (..., 28), mean 0."""
    flat = mel[..., :_BANDS].reshape(-1, 1, _BANDS)
    comb = (flat - _averaged(flat, _BLUR))[:, 0]
    return (comb - comb.mean(-1, keepdim=True)).reshape(*mel.shape[:-1], _BANDS)


def _averaged(x: Tensor, reach: int) -> Tensor:
    """(batch, channels, n): each value the mean of `reach` around it, the nearer the heavier; ends held."""
    kernel = torch.hann_window(reach + 2, device=x.device)[1:-1]
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    return F.conv1d(F.pad(x, (reach // 2, reach // 2), mode="replicate"), kernel, groups=x.shape[1])


def _sureness(strength: Tensor) -> Tensor:
    """0..1 for how much of the best comb is there."""
    return ((strength - _UNSURE) / (_SURE - _UNSURE)).clamp(0, 1)
