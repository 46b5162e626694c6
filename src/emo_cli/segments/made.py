"""A finished segment: its motion, and what the next one begins with; enough to go on in another process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from emo_cli.clips import ClipPlan, Segment
from emo_cli.networks.codec import Motion


@dataclass(frozen=True)
class Made:
    """Segment `index` of a video. carried: what the next segment takes from it, on the processor, in its own order."""

    index: int
    motion: Motion
    carried: tuple[Tensor, ...]


class Diary(Protocol):
    """Where finished segments are kept, so that a run that was stopped can go on."""

    @property
    def first(self) -> int:
        """The first segment whose frames are still wanted."""
        ...

    def kept(self) -> Iterator[Made]:
        """The finished segments without a gap, from `first` on, or from the one before it where there is one."""
        ...

    def keep(self, made: Made) -> None:
        """One more segment is finished."""
        ...


def remaining(plan: ClipPlan, last: Made | None) -> Iterator[tuple[int, Segment]]:
    """The segments after a finished one, with their numbers; all of them where there is none."""
    first = 0 if last is None else last.index + 1
    return ((index, plan.segments[index]) for index in range(first, len(plan.segments)))
