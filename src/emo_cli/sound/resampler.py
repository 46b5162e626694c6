"""Brings sound to another number of samples per second, as a stream."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

RATE = 16_000
"""Samples per second that all models hear."""


class Resampler:
    """Brings a stream of samples to another rate: windowed sinc, 64 zeros, Kaiser 14.7, rolloff 0.96.

    `step` samples in give `phases` samples out. Feed blocks of any length to `push`, then call `finish` once.
    """

    zeros, beta, rolloff, group = 64, 14.7, 0.96, 64

    def __init__(self, rate: int, wanted: int = RATE) -> None:
        ratio = Fraction(rate, wanted).limit_denominator(2000)
        repeat = -(-self.group // ratio.denominator)
        self.step, self.phases = ratio.numerator * repeat, ratio.denominator * repeat
        self._width = self.zeros * max(1.0, rate / wanted)
        self._reach = math.ceil(self._width) + 1
        self._kernels = [self._kernel(first) for first in range(0, self.phases, self.group)]
        self._pending = torch.zeros(self._reach)
        self._received = self._given = 0

    def _kernel(self, first: int) -> tuple[int, Tensor]:
        """For one group of phases: where its samples begin, and its kernels (samples, phases)."""
        phases = torch.arange(first, min(first + self.group, self.phases), dtype=torch.float64)
        times = phases * self.step / self.phases
        begin = int(times[0])
        samples = torch.arange(begin, int(times[-1]) + 2 * self._reach + 1, dtype=torch.float64) - self._reach
        distance = samples[:, None] - times  # (samples, phases)
        window = (1 - (distance / self._width).square()).clamp_min(0).sqrt()
        kernel = torch.sinc(distance * self.rolloff * self.zeros / self._width)
        kernel = kernel * torch.special.i0(self.beta * window) * (distance.abs() < self._width)
        return begin, (kernel / kernel.sum(0)).float()

    def push(self, block: Tensor) -> Tensor:
        """Samples (count,) in, those that are ready (any count) out."""
        self._received += len(block)
        self._pending = torch.cat([self._pending, block])
        rows = max(0, (len(self._pending) - 2 * self._reach - 1) // self.step)
        parts = [
            self._pending.as_strided((rows, len(kernel)), (self.step, 1), begin) @ kernel
            for begin, kernel in self._kernels
        ]
        self._pending = self._pending[rows * self.step :].clone()
        self._given += rows * self.phases
        return torch.cat(parts, 1).flatten()

    def finish(self) -> Tensor:
        """The last samples; in all, as many as fit into the time of those that came in, rounded up."""
        total = -(-self._received * self.phases // self.step)
        given = self._given
        return self.push(torch.zeros(2 * self._reach + 2 * self.step + 1))[: total - given]
