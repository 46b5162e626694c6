"""What real voices sound like: how well each moment fits the sounds of speech, by statistics made from many speakers.

The tables are those of CMU Sphinx's small American English model, one mixture of Gaussians per phone; how they are read
from its files stands in training/sphinx.py. The numbers are worked out from the mel spectrum alone, so a corpus that
holds mel spectra needs nothing else.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from emo_cli.sound.mel import SPAN, centres, hertz, pitch

PHONES, STATES, GAUSSIANS, CEPSTRA = 42, 3, 128, 13
"""Phones with noises and silence; parts of a phone (begin, middle, end); Gaussians per phone; cepstral numbers."""
WIDTH = PHONES * STATES
"""Numbers per row: how well it fits each part of each phone."""

_BANDS, _LOW, _HIGH = 25, 130.0, 6800.0  # mel bands of the front end that the statistics were made with
_LIFTER = 22
_SOFTNESS = 0.3  # neighbouring rows are not independent, so their likelihoods count for less
_UNLIKELY = 8.0  # nats; below that all are equally wrong
_LEAST = 1e-20
_ROWS = 256  # worked on at once: small enough for a processor's cache


class PhoneEvidence(nn.Module):
    """Normalised log mel in, log probabilities of 42 phones in three parts out; fixed tables, nothing is trained.

    Buffers: means and precisions (1 / variance) (3, 42, 128, 13) of cepstra, their speed and their acceleration;
    mixture (3, 42, 128, 3), the weight of each Gaussian in each part of the phone.
    """

    means: torch.Tensor
    precisions: torch.Tensor
    mixture: torch.Tensor
    pooling: torch.Tensor
    cosines: torch.Tensor

    def __init__(self, bins: int = 64) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(3, PHONES, GAUSSIANS, CEPSTRA))
        self.register_buffer("precisions", torch.ones(3, PHONES, GAUSSIANS, CEPSTRA))
        self.register_buffer("mixture", torch.full((3, PHONES, GAUSSIANS, STATES), 1 / GAUSSIANS))
        self.register_buffer("pooling", _pooling(bins), persistent=False)
        self.register_buffer("cosines", _cosines(), persistent=False)

    def cepstra(self, mel: torch.Tensor) -> torch.Tensor:
        """Normalised log mel (batch, time, bins) -> (batch, time, 13), the recording's mean not yet taken out."""
        energy = (mel.float() * SPAN).exp() @ self.pooling.T
        return (energy + 1e-5).log() @ self.cosines.T

    @torch.no_grad()
    def forward(self, mel: torch.Tensor, mean: torch.Tensor | None = None) -> torch.Tensor:
        """Normalised log mel (batch, time, bins) at 100 Hz -> (batch, time // 2, 126), about -2..2, at 50 Hz.

        mean: (13,) cepstral mean of the whole recording; of each clip where it is not given.
        """
        cepstra = self.cepstra(mel)
        cepstra = cepstra - (cepstra.mean(1, keepdim=True) if mean is None else mean)
        streams = torch.stack([values[:, ::2] for values in _with_changes(cepstra)])
        fit = torch.cat([self._likelihood(rows) for rows in streams.flatten(1, 2).split(_ROWS, 1)])
        chances = (_SOFTNESS * fit).log_softmax(-1).unflatten(0, streams.shape[1:3])
        return (chances.clamp(min=-_UNLIKELY) + _UNLIKELY / 2) / 2

    def _likelihood(self, streams: torch.Tensor) -> torch.Tensor:
        """Log likelihoods (rows, 126) of the three streams' values (3, rows, 13), which count alike."""
        fit = torch.zeros((), device=streams.device)
        for values, means, precisions, mixture in zip(
            streams, self.means.float(), self.precisions.float(), self.mixture.float(), strict=True
        ):
            # (x - m)^2 p = x^2 p - 2 x m p + m^2 p, so that one matrix product does it for all Gaussians.
            constant = 0.5 * (precisions.log() - means.square() * precisions).sum(-1).flatten()
            table = torch.cat([means * precisions, -0.5 * precisions], -1).flatten(0, 1)
            logs = torch.addmm(constant, torch.cat([values, values.square()], 1), table.T)
            logs = logs.unflatten(1, (PHONES, GAUSSIANS))
            top = logs.amax(-1, keepdim=True)
            mixed = torch.bmm((logs - top).exp_().transpose(0, 1), mixture).transpose(0, 1)
            fit = fit + top + mixed.clamp(min=_LEAST).log()
        return fit.flatten(1)


def _with_changes(cepstra: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cepstra (batch, time, 13), their change over four rows, and the change of that over two rows."""
    time = cepstra.shape[1]
    padded = torch.cat([cepstra[:, :1]] * 3 + [cepstra] + [cepstra[:, -1:]] * 3, 1)

    def at(shift: int) -> torch.Tensor:
        return padded[:, 3 + shift : 3 + shift + time]

    return cepstra, at(2) - at(-2), at(3) - at(-1) - at(1) + at(-3)


def _pooling(bins: int) -> torch.Tensor:
    """(25, bins): our narrow mel bands added up to the wider ones of the statistics' front end."""
    ours = centres(bins)
    corners = hertz(torch.linspace(pitch(_LOW), pitch(_HIGH), _BANDS + 2, dtype=torch.float64))[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    share = torch.minimum((ours - left) / (centre - left), (right - ours) / (right - centre)).clamp(min=0.0)
    return (share / share.sum(1, keepdim=True)).float()


def _cosines() -> torch.Tensor:
    """(13, 25): the orthonormal cosine transform, higher cepstra lifted."""
    row, band = torch.arange(CEPSTRA, dtype=torch.float64)[:, None], torch.arange(_BANDS, dtype=torch.float64)
    table = torch.cos(math.pi * row * (band + 0.5) / _BANDS) * math.sqrt(2 / _BANDS)
    table[0] /= math.sqrt(2)
    return (table * (1 + _LIFTER / 2 * torch.sin(math.pi * row / _LIFTER))).float()
