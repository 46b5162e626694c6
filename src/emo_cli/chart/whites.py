"""Eyes that are larger than a person's can be, as drawings have them: the lids move to where their white ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from emo_cli.chart.geometry import BESIDE_LIDS, EYES

_Points = tuple[int, ...]
_REACH, _STEPS = 0.2, 40  # of the eye's length: how far white is looked for
_COLOURED = 0.12  # the least saturation of skin that white can be told from
_PALE = 0.35  # of the skin's saturation: white has less
_BRIGHT = 0.8  # of the skin's brightness: white has more
_UNLIKE = 0.15  # of the skin's brightness: what is that unlike it is no skin
_BEYOND = 0.035  # of the eye's length: white that goes on further than this under the lower lid is a drawing's


def round_the_white(landmarks: torch.Tensor, photo: torch.Tensor) -> torch.Tensor:
    """Face points whose lids lie round the white that the picture shows, if that is more than the points believed.

    Args:
        landmarks: (468, 3) pixels, y down; photo: (1, 3, height, width) 0..255.
    """
    eyes = [_Eye.measured(landmarks[:, :2], photo, *eye) for eye in EYES]
    if any(eye.below.mean() < _BEYOND for eye in eyes):
        return landmarks
    out = landmarks.clone()
    for eye, (upper, lower, _) in zip(eyes, EYES, strict=True):
        for lid, way, extent in ((upper, -eye.down, eye.above), (lower, eye.down, eye.below)):
            out[[*lid[1:-1], *BESIDE_LIDS[lid]], :2] += (extent[:, None] * way).repeat(2, 1)
        out[[upper[0], upper[-1]], :2] += eye.beside[:, None] * torch.stack([-eye.along, eye.along])
    return out


@dataclass(frozen=True)
class _Eye:
    """How much further than the face points the white of one eye goes.

    along, down: (2,) pixels from the first corner to the last, and as far across; in their length, above, below: (7,)
    beyond the points of the lids between the corners, beside: (2,) beyond the corners.
    """

    along: torch.Tensor
    down: torch.Tensor
    above: torch.Tensor
    below: torch.Tensor
    beside: torch.Tensor

    @staticmethod
    def measured(places: torch.Tensor, photo: torch.Tensor, upper: _Points, lower: _Points, cheek: _Points) -> _Eye:
        skin = _seen(photo, places[list(cheek)]).median(1).values
        corners = places[[upper[0], upper[-1]]]
        along = corners[1] - corners[0]
        down = torch.stack([-along[1], along[0]]) * along[0].sign()
        beside = [_extent(photo, skin, corners[:1], -along), _extent(photo, skin, corners[1:], along)]
        return _Eye(
            along,
            down,
            above=_extent(photo, skin, places[list(upper[1:-1])], -down),
            below=_extent(photo, skin, places[list(lower[1:-1])], down),
            beside=torch.cat(beside),
        )


def _extent(photo: torch.Tensor, skin: torch.Tensor, places: torch.Tensor, way: torch.Tensor) -> torch.Tensor:
    """How far white goes on from places (n, 2), in lengths of `way` (2,): (n,)."""
    if _saturation(skin) < _COLOURED:
        return torch.zeros(len(places))
    steps = torch.linspace(0, _REACH, _STEPS)
    seen = _seen(photo, (places[:, None] + steps[:, None] * way).flatten(0, 1)).view(3, len(places), _STEPS)
    brightness = skin.max()
    white = (_saturation(seen) < _PALE * _saturation(skin[:, None])) & (seen.amax(0) > _BRIGHT * brightness)
    outside = ((seen - skin[:, None, None]).abs().amax(0) < _UNLIKE * brightness).cummax(-1).values
    extent = (steps * (white & ~outside)).amax(-1)
    around = functional.pad(extent[None, None], (1, 1), mode="replicate")[0, 0]
    return around.unfold(0, 3, 1).median(-1).values if len(extent) > 1 else extent


def _saturation(colours: torch.Tensor) -> torch.Tensor:
    """0 grey .. 1 pure of colours (3, ...)."""
    return 1 - colours.amin(0) / colours.amax(0).clamp(min=1)


def _seen(photo: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Colours (3, n) at places (n, 2) in pixels."""
    height, width = photo.shape[2:]
    grid = places * 2 / places.new_tensor([width, height]) - 1
    return functional.grid_sample(photo, grid[None, None], "bilinear", "border", align_corners=False)[0, :, 0]
