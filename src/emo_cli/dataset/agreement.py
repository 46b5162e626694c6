"""Whether lips and sound belong together: the mouth that is seen against the mouth that the sound would open."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from emo_cli.face.opening import mouth_opening
from emo_cli.sound.encoders import ROWS_PER_SECOND, MiniHearing
from emo_cli.sound.loudness import levelled
from emo_cli.weights import locate

_REACH = 0.32  # seconds to either side in which the best shift is looked for
_SMOOTHING = 0.06  # seconds: one /p/ more or less does not matter here


@dataclass(frozen=True)
class Agreement:
    """Correlation at the best shift, -1..1, and that shift in frames: positive where the sound comes late."""

    correlation: float
    lag: int


def agreement(points: np.ndarray, waveform: np.ndarray, fps: float, hearing: MiniHearing) -> Agreement:
    """Compare landmarks (frames, 478, 3) with a waveform float32 (samples,) at 16 kHz that begins with them."""
    return best_shift(mouth_opening(points), heard_opening(waveform, len(points), fps, hearing), fps)


def heard_opening(waveform: np.ndarray, frames: int, fps: float, hearing: MiniHearing) -> np.ndarray:
    """How far a mouth that says this would be open, (frames,), about 0..1."""
    with torch.no_grad():
        rows = hearing.heads(hearing.rows(torch.from_numpy(levelled(waveform)[:]))[None]).opening[0].numpy()
    times = (np.arange(frames) + 0.5) / fps
    return np.interp(times, (np.arange(len(rows)) + 0.5) / ROWS_PER_SECOND, rows)


def best_shift(seen: np.ndarray, heard: np.ndarray, fps: float) -> Agreement:
    """The shift at which two curves (frames,) correlate best; 0 where one of them does not change at all."""
    reach = min(round(_REACH * fps), len(seen) // 3)
    width = max(1, round(_SMOOTHING * fps))
    seen, heard = _smooth(seen, width), _smooth(heard, width)
    found = [(_correlation(seen, heard, lag), -abs(lag), lag) for lag in range(-reach, reach + 1)]
    correlation, _, lag = max(found)
    return Agreement(correlation, lag)


def _correlation(seen: np.ndarray, heard: np.ndarray, lag: int) -> float:
    """Correlation of seen[f] with heard[f + lag]."""
    count = len(seen) - abs(lag)
    one, other = seen[max(0, -lag) :][:count], heard[max(0, lag) :][:count]
    if one.std() < 1e-6 or other.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), "valid")


@cache
def bundled_hearing() -> MiniHearing:
    """The sound encoder of the bundled model, opened once per process."""
    return MiniHearing.from_pretrained(locate("mini") / "sound_encoder").eval()
