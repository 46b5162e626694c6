"""Small sounds made in code, and how late one is."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

RATE = 16_000


def wav(path: Path, samples: np.ndarray) -> Path:
    """A sound file of samples (count,) at 16 kHz, as numbers of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def lag(heard: np.ndarray, true: np.ndarray) -> int:
    """By how many samples `heard` comes late."""
    size = 2 * max(len(heard), len(true))
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(true, size)))
    best = int(product.argmax())
    return best if best < size // 2 else best - size
