"""The voice of a song without most of the music, for the model's ears only: by its place in the stereo picture.

Singers stand in the middle of most mixes: their voice is the same in both channels, instruments are to the sides. The
mask keeps, in every cell of the short-time spectrum, the share of energy that both channels have in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emo_cli.tape import Samples

Vocals = Literal["auto", "off", "centre", "demucs"]

WINDOW_SECONDS = 0.064
SHARPNESS = 3.0  # power of the mask: how much a cell between middle and side is lowered
LOWEST, HIGHEST = 100.0, 8000.0  # Hz: below, bass and drums stand in the middle too; above, only their hiss does
FLOOR = 1e-10
WIDE = 0.05  # energy of the sides per energy of the middle from which on a sound counts as music in stereo
HELD = 0.05  # share of the energy that the middle must hold; less, and the voice is elsewhere
LISTENING = 30  # seconds that decide whether to look for the voice in the middle


class CentreVoice:
    """Takes the middle out of a stream of stereo samples, with overlapping Hann windows and a soft mask.

    Feed blocks to `push`, then call `finish` once; as many samples come out as went in, at the same times.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.size = 4 * round(rate * WINDOW_SECONDS / 4)
        self.hop = self.size // 4
        self._window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.size) / self.size)).astype(np.float32)
        pitches = np.fft.rfftfreq(self.size, 1 / rate)
        self._band = ((pitches >= LOWEST) & (pitches <= HIGHEST)).astype(np.float32)
        # Silence stands before the first sample, so that it has as many windows as the others.
        self._pending = np.zeros((self.size - self.hop, 2), np.float32)
        self._sum = np.zeros(self.size, np.float32)
        self._skip = self.size - self.hop
        self._received = self._given = 0

    def push(self, block: Samples) -> Samples:
        """Samples (count, 2) in, the voice (any count,) out."""
        self._received += len(block)
        self._pending = np.concatenate([self._pending, block])
        parts = list(self._ready())
        return self._shown(np.concatenate(parts)) if parts else np.zeros(0, np.float32)

    def finish(self) -> Samples:
        """The last samples."""
        total, given = self._received, self._given
        return self.push(np.zeros((2 * self.size, 2), np.float32))[: total - given]

    def _ready(self) -> Iterator[Samples]:
        while len(self._pending) >= self.size:
            windowed = self._pending[: self.size] * self._window[:, None]
            self._sum += self._middle(np.fft.rfft(windowed, axis=0)) * self._window / 2
            yield self._sum[: self.hop].copy()
            self._sum = np.concatenate([self._sum[self.hop :], np.zeros(self.hop, np.float32)])
            self._pending = self._pending[self.hop :]

    def _middle(self, spectrum: NDArray[np.complexfloating]) -> Samples:
        left, right = spectrum.T
        middle = (left + right) / 2
        mask = centred(left, right) ** SHARPNESS * self._band
        return np.asarray(np.fft.irfft(middle * mask, self.size), np.float32)

    def _shown(self, samples: Samples) -> Samples:
        shown = samples[self._skip :]
        self._skip = max(0, self._skip - len(samples))
        self._given += len(shown)
        return shown


def centred(left: NDArray[np.complexfloating], right: NDArray[np.complexfloating]) -> Samples:
    """How alike two channels are, cell by cell: 1 where they are equal, 0 where only one sounds or they are opposed."""
    shared = np.maximum((left * right.conj()).real, 0)
    return np.asarray(2 * shared / (np.square(np.abs(left)) + np.square(np.abs(right)) + FLOOR), np.float32)


def wanted(vocals: Vocals, beginning: Samples, rate: int) -> bool:
    """Whether to listen to the middle alone; beginning: samples (count, channels) that "auto" decides by.

    "auto" does where the sound is stereo, wide as music is, and the middle holds a good part of it: a voice that was
    recorded on one side, or two people on two, would be lost.
    """
    if vocals in ("off", "demucs") or beginning.shape[1] != 2:
        return False
    if vocals == "centre":
        return True
    middle, side = _energy(beginning.mean(1)), _energy(beginning[:, 0] - beginning[:, 1]) / 4
    if side < WIDE * middle or not len(beginning):
        return False
    voice = CentreVoice(rate)
    held = _energy(np.concatenate([voice.push(beginning), voice.finish()]))
    return held > HELD * (middle + side)


def _energy(samples: Samples) -> float:
    return float(np.square(samples, dtype=np.float64).sum())
