"""How long a video will take: reckoned from the first denoising steps, before there is a frame."""

from __future__ import annotations

import time
from collections.abc import Callable


class Outlook:
    """The work that is left, from the steps that were timed.

    steps: denoising steps per segment; segments: how many there are. The first step of all is not timed: it prepares
    too. Drawing and writing run beside the next segment's steps; where they are slower, the frames' own pace tells.
    """

    def __init__(self, steps: int, segments: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._steps, self._all, self._clock = steps, steps * segments, clock
        self._done, self._began = 0, 0.0

    def step(self) -> float | None:
        """One more step is finished: about how many seconds are left, None as long as no step was timed."""
        self._done += 1
        now = self._clock()
        if self._done == 1:
            self._began = now
            return None
        return (now - self._began) / (self._done - 1) * max(0, self._all - self._done)
