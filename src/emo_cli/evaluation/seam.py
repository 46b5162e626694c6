"""Whether one sees where a moving head was pasted into a still picture."""

from __future__ import annotations

import numpy as np

from emo_cli.evaluation.watching import Seen

CELL = 8  # pixels a side
CHANGED = 2.0  # levels of 255, the mean of a cell: more than compression does
STRAIGHT = 0.7  # of a border must be cells that change, or it is only where a motion ends


class Seam:
    """The step of colour across the border of the rectangle that changes, levels of 255.

    Change is counted from the photo where one of the frames' own size is given, else from the first frame: without the
    photo only a step that comes, goes or flickers during the video can be seen. A sheer border of a pasted part that is
    too bright by `s` gives about `s`. A head that merely moves ends along no straight line and gives 0.
    """

    def __init__(self, photo: np.ndarray | None = None) -> None:
        self._photo = photo
        self._base = np.zeros(0)
        self._change = self._across = self._down = np.zeros(0)
        self._count = 0

    def see(self, seen: Seen) -> None:
        """The next frame."""
        if not self._count:
            photo = self._photo
            self._base = _cells(photo if photo is not None and fits(photo, seen.frame) else seen.frame)
            self._change = self._across = self._down = np.zeros_like(self._base[..., 0])
        change = _cells(seen.frame) - self._base
        self._change = self._change + np.abs(change).max(-1)
        self._across = self._across + np.abs(_apart(change)).max(-1)
        self._down = self._down + np.abs(_apart(change.swapaxes(0, 1))).max(-1).T
        self._count += 1

    def step(self) -> float | None:
        """The largest mean step of the four sides; None where the whole picture changes, or nothing does."""
        changed = self._change > CHANGED * self._count
        if not self._count or not changed.any():
            return None
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        sides = [
            *self._sides(changed[box[0]], self._across[box[0]], columns[0], columns[-1]),
            *self._sides(changed[:, box[1]].T, self._down[:, box[1]].T, rows[0], rows[-1]),
        ]
        return max(sides) if sides else None

    def _sides(self, changed: np.ndarray, steps: np.ndarray, first: int, last: int) -> list[float]:
        """The mean steps (0 if the border is not straight) at the two ends of a box that do not end the picture."""
        found = []
        for place, beyond in ((first, first - 1), (last, last + 1)):
            if 0 <= beyond < changed.shape[1]:
                straight = changed[:, place].mean() >= STRAIGHT
                step = max(steps[:, place].mean(), steps[:, beyond].mean()) / self._count
                found.append(float(step) if straight else 0.0)
        return found


def fits(photo: np.ndarray, frame: np.ndarray) -> bool:
    """Whether a photo is what the frames were pasted into: of their size, but for the line that makes a side even."""
    return all(side <= shown <= side + 1 for side, shown in zip(photo.shape[:2], frame.shape[:2], strict=True))


def _cells(picture: np.ndarray) -> np.ndarray:
    """Mean colours (rows, columns, 3) of squares of 8 pixels; what is left at the right and below is not looked at."""
    rows, columns = picture.shape[0] // CELL, picture.shape[1] // CELL
    cut = picture[: rows * CELL, : columns * CELL].astype(np.float32)
    return np.asarray(cut.reshape(rows, CELL, columns, CELL, 3).mean((1, 3)))


def _apart(change: np.ndarray) -> np.ndarray:
    """How much the cells to the right and to the left of each differ, (rows, columns, 3); 0 in the outer columns."""
    steps = np.zeros_like(change)
    steps[:, 1:-1] = change[:, 2:] - change[:, :-2]
    return steps
