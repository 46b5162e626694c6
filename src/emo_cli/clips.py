"""How a long video is cut: segments that are denoised one after another, windows that are denoised together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emo_cli.family import Family


@dataclass(frozen=True)
class Segment:
    """Frames start..stop of the video that are denoised together; those beyond the video's end are not shown."""

    start: int
    stop: int
    shown: int

    @property
    def length(self) -> int:
        """How many frames are denoised."""
        return self.stop - self.start


@dataclass(frozen=True)
class ClipPlan:
    """How `frames` frames are made; every frame is shown by exactly one segment."""

    frames: int
    segments: tuple[Segment, ...]
    motion_frames: int


def plan(frames: int, family: Family) -> ClipPlan:
    """Cut a video for a family: windows one after another if it carries motion frames, long segments if it blends."""
    if frames < 1:
        raise ValueError(f"a video needs at least one frame, not {frames}")
    if family.chaining == "blend":
        longest = frames if family.exact else family.longest or frames
        ends = ((start, min(start + longest, frames)) for start in range(0, frames, longest))
        return ClipPlan(frames, tuple(Segment(start, stop, stop - start) for start, stop in ends), 0)
    starts = range(0, frames, family.window)
    segments = (Segment(start, start + family.window, min(family.window, frames - start)) for start in starts)
    return ClipPlan(frames, tuple(segments), family.motion_frames)


def windows(frames: int, window: int, overlap: int, shift: int = 0, closed: bool = False) -> Iterator[tuple[int, ...]]:
    """Overlapping windows of frame indices that together cover 0..frames-1.

    `shift` moves all windows (EchoMimic shifts them from step to step, so that no border stays where it is). Open
    windows stop at the ends; a `closed` loop wraps around, so that the last frames see the first, as EchoMimic's own
    code does.
    """
    if frames <= window:
        yield tuple((i + shift) % frames for i in range(frames)) if closed else tuple(range(frames))
        return
    stride = window - overlap
    if closed:
        for start in range(0, frames, stride):
            yield tuple((start + shift + i) % frames for i in range(window))
        return
    offset = shift % stride
    starts = sorted({min(max(start, 0), frames - window) for start in range(offset - stride, frames, stride)})
    for start in starts:
        yield tuple(range(start, start + window))
