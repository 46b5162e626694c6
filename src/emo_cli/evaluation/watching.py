"""A video, looked at once from beginning to end: each frame with its face, shown to all who want to measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from emo_cli import footage
from emo_cli.face import FaceFinder
from emo_cli.footage import Frame


@dataclass(frozen=True)
class Seen:
    """One frame uint8 (H, W, 3) and the landmarks (478, 3) of its face in pixels; None where no face is found."""

    frame: Frame
    landmarks: np.ndarray | None


class Onlooker(Protocol):
    """Whoever looks at every frame in turn and keeps only a few numbers of each."""

    def see(self, seen: Seen) -> None:
        """The next frame."""


class Curve:
    """A number of the face in each frame, `measure` of its landmarks (478, 3); nan without a face."""

    def __init__(self, measure: Callable[[np.ndarray], np.ndarray]) -> None:
        self.measure = measure
        self._values: list[float] = []

    def see(self, seen: Seen) -> None:
        """The next frame."""
        self._values.append(np.nan if seen.landmarks is None else float(self.measure(seen.landmarks)))

    def values(self) -> np.ndarray:
        """All of them (frames,)."""
        return np.array(self._values)


def watched(path: Path, finder: FaceFinder, fps: float | None = None) -> Iterator[Seen]:
    """The frames of a video with the face that is followed through them; fps as in `footage.read`."""
    return followed(footage.read(path, fps), finder)


def followed(frames: Iterable[Frame], finder: FaceFinder) -> Iterator[Seen]:
    """Each frame beside its face; one frame is held at a time."""
    present: list[Frame] = []

    def passed_on() -> Iterator[Frame]:
        for frame in frames:
            present[:] = [frame]
            yield frame

    for landmarks in finder.track(passed_on()):
        yield Seen(present[0], landmarks)


def show(frames: Iterable[Seen], onlookers: Sequence[Onlooker]) -> None:
    """Let everybody see every frame."""
    for seen in frames:
        for onlooker in onlookers:
            onlooker.see(seen)
