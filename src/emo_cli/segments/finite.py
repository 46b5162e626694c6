"""No segment of numbers that are not finite, or of black frames: it is made again in a wider precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from emo_cli.errors import ModelError
from emo_cli.segments.made import Made


def finite_segments(
    make: Callable[[Made | None], Iterator[Made]],
    last: Made | None,
    widen: Callable[[], bool],
    black: Callable[[Made], bool] = lambda made: False,
) -> Iterator[Made]:
    """The segments that `make` makes after `last`.

    widen: goes over to a wider precision, for this segment and all after it, or says that there is none; black: whether
    a segment would show as black, as far as a narrow precision may be the cause. Raises ModelError when a segment is
    not finite in the widest one either.
    """
    going = make(last)
    while (made := next(going, None)) is not None:
        if torch.isfinite(made.motion.latents).all() and not black(made):
            last = made
            yield made
        elif widen():
            going = make(last)
        else:
            raise ModelError(
                "The model gave numbers that are not finite, in float32 too. "
                "Its weights may be damaged: run `emo weights verify`, or try another --seed."
            )
