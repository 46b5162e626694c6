"""Long rows of numbers that do not fill the memory: a sound's samples, and what is heard of it.

They lie in a private file without a name and are read in pieces, so that hours of sound take no more room than seconds.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emo_cli import scratch

Samples = NDArray[np.float32]


class Waveform(Protocol):
    """Samples at 16 kHz whose parts can be read: a Tape, an array or a tensor (samples,)."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any:
        """The samples start..stop, as an array or a tensor."""


class Features(Protocol):
    """What is heard in each frame: a tensor (frames, tokens, width), or Windows on a tape."""

    @property
    def shape(self) -> Any:
        """(frames, tokens, width)."""

    def __len__(self) -> int: ...

    def __getitem__(self, frames: Any, /) -> Tensor:
        """Some frames, by a slice or by their numbers (count,): (count, tokens, width)."""


class Tape:
    """Rows of float32 numbers (count, *row), written at the end and read anywhere, by any thread.

    Raises OutputError where the temporary folder has no room.
    """

    def __init__(self, *row: int) -> None:
        self._row = row
        self._bytes = 4 * math.prod(row)
        self._file = scratch.nameless()
        self._count = 0
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, ...]:
        """(count, *row)."""
        return (self._count, *self._row)

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Samples | Tensor) -> None:
        """Write rows (count, *row) behind those that are there."""
        plain = rows.float().cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows, np.float32)
        if not len(plain):
            return
        try:
            with self._lock:
                self._file.seek(self._count * self._bytes)
                self._file.write(np.ascontiguousarray(plain).data.cast("B"))
                self._file.flush()
                self._count += len(plain)
        except OSError as error:
            raise scratch.no_room(error) from error

    def __getitem__(self, part: slice, /) -> Samples:
        start, stop, step = part.indices(self._count)
        found = np.empty((max(0, stop - start), *self._row), np.float32)
        if len(found):
            with self._lock:
                self._file.seek(start * self._bytes)
                self._file.readinto(found.data.cast("B"))  # type: ignore[attr-defined]
        return found[::step]


class Rows(Protocol):
    """Rows of numbers that can be read in parts: a Tape, tapes side by side, an array."""

    @property
    def shape(self) -> Any:
        """(count, *row)."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any:
        """The rows start..stop, as an array."""


class Abreast:
    """Tapes of equal length side by side: rows (count, tapes, *row)."""

    def __init__(self, tapes: Sequence[Tape]) -> None:
        self._tapes = tuple(tapes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(count, tapes, *row)."""
        count, *row = self._tapes[0].shape
        return (count, len(self._tapes), *row)

    def __len__(self) -> int:
        return len(self._tapes[0])

    def __getitem__(self, part: slice, /) -> Samples:
        return np.stack([tape[part] for tape in self._tapes], axis=1)


class Windows:
    """Features that are windows of a tape's rows: neighbouring frames share what they hear.

    seen: for frame numbers (count,) the rows of each (count, rows). The rows of a frame, with whatever parts they have,
    stand one behind another as its tokens.
    """

    def __init__(self, rows: Rows, frames: int, seen: Callable[[Tensor], Tensor]) -> None:
        self._rows, self._frames, self._seen = rows, frames, seen
        *parts, width = rows.shape[1:]
        each = seen(torch.zeros(1, dtype=torch.long)).shape[1]
        self.shape = (frames, each * math.prod(parts), width)

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, frames: Any, /) -> Tensor:
        numbers = torch.arange(self._frames)[frames]
        if not len(numbers):
            return torch.zeros(0, *self.shape[1:])
        seen = self._seen(numbers)
        first, last = int(seen.min()), int(seen.max())
        return torch.from_numpy(self._rows[first : last + 1])[seen - first].reshape(len(numbers), *self.shape[1:])


def pieces(waveform: Waveform, size: int) -> Iterator[Samples]:
    """A waveform in pieces of `size` samples, the last one shorter."""
    for start in range(0, len(waveform), size):
        yield np.asarray(waveform[start : start + size])


def mean_square(waveform: Waveform, piece: int = 1 << 16) -> float:
    """The mean of the squares of all samples, 0 where there are none."""
    total = sum(float(np.square(part, dtype=np.float64).sum()) for part in pieces(waveform, piece))
    return total / max(1, len(waveform))


def runs(count: int, size: int) -> Iterator[tuple[int, int]]:
    """0..count in runs of `size`: where each begins and ends."""
    yield from itertools.pairwise([*range(0, count, size), count]) if count else ()
