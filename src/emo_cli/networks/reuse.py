"""What layers added to the picture in one denoising step, added again in the next: most of it hardly changes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Compute = Callable[[], Tensor]
Change = Callable[[Compute], Tensor]
"""Gives what a layer adds: computed now, or kept from an earlier step."""


def anew(compute: Compute) -> Tensor:
    """Every step computes for itself."""
    return compute()


class Reuse:
    """The changes that one network made in its last full step, in running order.

    every: each so-many-th step is a full one; depth: the level (0 is the finest) from which on changes are kept. What
    listens to the sound is never kept: the layers ask for their other parts only.
    """

    def __init__(self, every: int, depth: int) -> None:
        self.every, self.depth = every, depth
        self._kept: list[Tensor] = []
        self._place: int | None = None

    def begin(self, step: int) -> None:
        """Step number `step`, counted from 0, begins."""
        full = step % self.every == 0 or not self._kept
        self._place = None if full else 0
        if full:
            self._kept = []

    def at(self, depth: int) -> Change:
        """How a layer of this level comes to what it adds."""
        return self._change if depth >= self.depth else anew

    def _change(self, compute: Compute) -> Tensor:
        if self._place is None:
            self._kept.append(compute())
            return self._kept[-1]
        self._place += 1
        return self._kept[self._place - 1]
