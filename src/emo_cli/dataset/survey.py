"""The first pass over a video: stretches that show one face without a cut, and what the others show instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from PIL import Image

from emo_cli.dataset.camera import CameraWatch, Drift
from emo_cli.dataset.cuts import CutFinder
from emo_cli.dataset.following import Sight
from emo_cli.dataset.limits import Limits

_WIDTH = 160  # pixels of the small picture that cuts and the camera are seen in


@dataclass(frozen=True)
class Stretch:
    """One face in one shot: frame `first` of the source on, landmarks (frames, 478, 3) in its pixels, a Drift for each.

    width, height: of the source, pixels.
    """

    first: int
    points: np.ndarray
    drifts: list[Drift]
    width: int
    height: int


@dataclass(frozen=True)
class Gap:
    """Frames first <= f < stop of the source that hold no single face; reason: "no face" or "two faces"."""

    first: int
    stop: int
    reason: str


@dataclass
class _Run:
    """A stretch in the making; `sure` of its frames were counted to hold one face."""

    first: int
    size: tuple[int, int]
    points: list[np.ndarray] = field(default_factory=list)
    drifts: list[Drift] = field(default_factory=list)
    sure: int = 0

    def add(self, points: np.ndarray, drift: Drift, counted: bool) -> None:
        """One more frame."""
        self.points.append(points)
        self.drifts.append(drift)
        if counted:
            self.sure = len(self.points)

    def end(self, kept: int) -> None:
        """Only the first `kept` frames belong to it."""
        del self.points[kept:], self.drifts[kept:]

    def pieces(self, limits: Limits) -> Iterator[Stretch]:
        """The whole run, in two halves where it is longer than a clip may be."""
        middle = len(self.points) if len(self.points) <= limits.most else len(self.points) // 2
        for start, stop in ((0, middle), (middle, len(self.points))):
            if stop > start:
                yield self.piece(start, stop)

    def piece(self, start: int, stop: int) -> Stretch:
        points = np.stack(self.points[start:stop])
        return Stretch(self.first + start, points, self.drifts[start:stop], *self.size)


class Watch(Protocol):
    """Whoever looks for faces; `following.FaceWatch` does."""

    def look(self, frame: np.ndarray) -> Sight: ...
    def forget(self) -> None: ...


def survey(frames: Iterable[np.ndarray], limits: Limits, watch: Watch) -> Iterator[Stretch | Gap]:
    """What a video's frames uint8 (height, width, 3) at limits.fps show, in order, without a hole.

    Holds the landmarks of at most one longest and one shortest clip, and no frame but the present one.
    """
    cuts, camera = CutFinder(), CameraWatch()
    run: _Run | None = None
    gap: Gap | None = None
    for index, frame in enumerate(frames):
        small = _small(frame)
        cut = cuts.push(small)
        if cut:
            watch.forget()
        sight = watch.look(frame)
        alone = sight.points is not None and not sight.others
        if cut or sight.jumped or not alone:
            camera.forget()
            if run:
                # Another face may have come at any time since the last count.
                run.end(run.sure if sight.others and not cut else len(run.points))
                yield from run.pieces(limits)
        if sight.points is None or sight.others:
            reason = "no face" if sight.points is None else "two faces"
            first = run.first + len(run.points) if run else index
            if gap and (gap.reason != reason or run):
                yield gap
                gap = None
            gap, run = Gap(gap.first if gap else first, index + 1, reason), None
            continue
        if gap:
            yield gap
            gap = None
        if cut or sight.jumped:
            run = None
        run = run or _Run(index, (frame.shape[1], frame.shape[0]))
        face = box_of(sight.points) * (_WIDTH / frame.shape[1])
        run.add(sight.points, camera.push(_grey(small), face), sight.counted)
        if len(run.points) == limits.most + limits.fewest:
            yield run.piece(0, limits.most)
            run = _later(run, limits.most)
    yield from run.pieces(limits) if run else ()
    yield from [gap] if gap else ()


def _later(run: _Run, start: int) -> _Run:
    """What is left of a run when its beginning has become a clip."""
    return _Run(run.first + start, run.size, run.points[start:], run.drifts[start:], max(0, run.sure - start))


def box_of(points: np.ndarray) -> np.ndarray:
    """The box x0, y0, x1, y1 around landmarks (..., 478, 3), one per face (..., 4)."""
    flat = points[..., :2]
    box: np.ndarray = np.concatenate([flat.min(-2), flat.max(-2)], -1)
    return box


def _small(frame: np.ndarray) -> np.ndarray:
    height = max(16, round(frame.shape[0] * _WIDTH / frame.shape[1]))
    return np.asarray(Image.fromarray(frame).resize((_WIDTH, height), Image.Resampling.BOX))


def _grey(small: np.ndarray) -> np.ndarray:
    grey: np.ndarray = small.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return grey
