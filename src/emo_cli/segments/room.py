"""When a device's memory runs out after all: less goes through at once, then layers wait in main memory.

What a model needs is computed before it is loaded (loading/memory.py), but another program may fill the device
meanwhile, and allocators leave gaps. What was being made is made again, with the same noise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from emo_cli import device
from emo_cli.networks.codec import Motion
from emo_cli.segments.made import Made
from emo_cli.segments.scene import ONE_WINDOW, AtOnce

LAYERS = "The device's memory ran out, so layers' weights wait in main memory from here on; that is slower."


class Room:
    """How much of a video goes through a model as one batch now, and what is left to try.

    place: where the model computes. wait: lets its layers wait in main memory, where they can and do not yet;
    offloaded: whether they do. turn: held while a segment is made, since nothing may be moved meanwhile.
    """

    def __init__(
        self,
        place: torch.device,
        at_once: AtOnce = ONE_WINDOW,
        wait: Callable[[], None] | None = None,
        offloaded: bool = False,
    ) -> None:
        self.at_once, self.offloaded = at_once, offloaded
        self.turn = threading.Lock()
        self._place, self._wait = place, wait

    def less(self) -> str | None:
        """Do less at once from here on: a sentence that says so, None where nothing is left to try. Wants `turn`."""
        device.forget(self._place)
        if self.at_once.windows > 1:
            self.at_once = replace(self.at_once, windows=self.at_once.windows // 2)
            return f"The device's memory ran out; it is tried again with {self.at_once.windows} window(s) at once."
        if self.at_once.halves:
            self.at_once = replace(self.at_once, halves=False)
            return "The device's memory ran out; it is tried again with the halves of guidance one after another."
        if self._wait is None:
            return None
        self._wait()
        self._wait, self.offloaded = None, True
        device.forget(self._place)
        return LAYERS


def patient_segments(
    make: Callable[[Made | None], Iterator[Made]], last: Made | None, room: Room, warn: Callable[[str], None]
) -> Iterator[Made]:
    """The segments that `make` makes after `last`; one for which the memory does not suffice is made anew in less.

    Raises what the device said when nothing is left to try.
    """
    while True:
        try:
            with room.turn:
                going = make(last)
            while (made := _following(going, room)) is not None:
                last = made
                yield made
            return
        except RuntimeError as error:
            sentence = _mended(error, room)
        warn(sentence)


def patient_frames(
    draw: Callable[[Motion], Iterator[np.ndarray]], motion: Motion, room: Room, warn: Callable[[str], None]
) -> Iterator[np.ndarray]:
    """The frames that `draw` draws of a motion; where the memory does not suffice, the rest of them in less."""
    shown = 0
    while True:
        try:
            for frame in draw(motion.after(shown)):
                shown += 1
                yield frame
            return
        except RuntimeError as error:
            sentence = _mended(error, room)
        warn(sentence)


def _following(going: Iterator[Made], room: Room) -> Made | None:
    with room.turn:
        return next(going, None)


def _mended(error: RuntimeError, room: Room) -> str:
    """What was changed; raises the error again if it is of another kind, or nothing is left to change."""
    if not device.ran_out(error):
        raise error
    with room.turn:
        sentence = room.less()
    if sentence is None:
        raise error
    return sentence
