"""Closing eyes: the skin of the lids and the line of the lashes, drawn, as no photo of open eyes shows them.

Stretching the little skin that an open eye shows over the whole eye smears lashes, folds and the rims of glasses; where
it shows them, drawn skin takes its place, and where it is clean, most of it stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from emo_cli.chart.geometry import BESIDE_LIDS, BEYOND_LIDS, EYES
from emo_cli.chart.head import smooth_step
from emo_cli.chart.lookup import seen_at
from emo_cli.chart.openings import Opening, Shares, curve
from emo_cli.chart.sheet import Sheet

_UNLIKE = 0.42  # of the cheek's brightness: what is that unlike it under an eye is no skin; shadows reach 0.3
_BEYOND = (0.08, 0.35)  # of the way from ring to ring, above and below: where skin's colour is taken, clear of lashes
_NARROW, _WIDE = 0.1, 0.25  # centimetres: eyes less open than this in the photo keep their own lids, wider ones do not
_STARTS, _DRAWN = 0.12, 0.5  # shares of a closing eye between which the drawn lid appears
_DARKEST = 0.72  # of the skin below the eye: rims of glasses and brows above are darker than any lid
_SMEARED = (0.06, 0.3)  # how much darker or lighter than a lid stretched skin must be to be covered by one
_MIXED = 0.35  # how much of the drawn lid there is where the stretched skin is clean
_VAULT = 0.08  # how much lighter the middle of a lid is than its edges
_RIM = (0.05, 0.18)  # centimetres under a closed eye where the wet rim of the lower lid is covered
_LASHES_UP, _LASHES_DOWN = 0.05, 0.1  # centimetres: width of the lash line to both sides
_LASHES = 0.7  # how much it covers


@dataclass(frozen=True)
class Lids:
    """The drawn lid of one eye of a portrait.

    Attributes:
        crest: (samples,) heights of the ring of skin above the open eye, at equal steps, in widths of the eye.
        above, below: (1, 3, 1, samples) colours of the skin there; lashes: (3,) colour of the line.
        share: 0..1 how much of it is drawn when the eye is closed; darkness: how visible the lashes are.
        fits: whether skin begins under the face points' lower lid. Large drawn eyes go on there: they stay open.
        centimetre: in pixels.
    """

    crest: torch.Tensor
    above: torch.Tensor
    below: torch.Tensor
    lashes: torch.Tensor
    share: float
    darkness: float
    fits: bool
    centimetre: float

    def paint(self, skin: torch.Tensor, edge: Opening, share: Shares, closed: torch.Tensor) -> torch.Tensor:
        """The lid's skin over the stretched photo.

        Args:
            skin: (frames, 3, rows, columns) the photo's skin above and below the eye's opening.
            edge: the opening; closed: (frames,) 0 as in the photo .. 1 shut.
        """
        crest, _ = replace(edge, upper=self.crest * edge.length[:, None]).edges(share.along)
        upper, _ = edge.edges(share.along)
        reach = upper - crest
        place = ((share.height - crest) / reach.clamp(min=1e-3)).clamp(0, 1)  # 0 at the ring above, 1 at the edge
        cover = smooth_step(place, 0.0, 0.6) * smooth_step(reach / self.centimetre, 0.05, 0.3)
        cover = cover * share.over * self._ends(share)
        drawn = (cover * self._drawn(closed)[:, None]).view(len(skin), 1, *skin.shape[2:])
        above, below = self._along(self.above, share), self._along(self.below, share)
        vault = _VAULT * (torch.sin(torch.pi * place) - 0.5)  # the lid is round: lit in its middle
        colour = torch.lerp(above, below, 0.6 * place[:, None]) * (1 + vault[:, None])
        colour = colour.view(skin.shape)
        unlike = (1 - skin.mean(1, keepdim=True) / colour.mean(1, keepdim=True).clamp(min=1)).abs()
        skin = torch.lerp(skin, colour, drawn * (_MIXED + (1 - _MIXED) * smooth_step(unlike, *_SMEARED)))
        rim = (1 - smooth_step(-share.below / self.centimetre, *_RIM)) * (1 - share.over) * self._ends(share)
        rim = rim * (self.share * smooth_step(closed, 0.75, 1.0))[:, None]
        return torch.lerp(skin, below.view(skin.shape), rim.view(drawn.shape))

    def line(self, colours: torch.Tensor, edge: Opening, share: Shares, closed: torch.Tensor) -> torch.Tensor:
        """The lashes along the upper lid's edge over everything else (frames, 3, rows, columns)."""
        upper, _ = edge.edges(share.along)
        away = (share.height - upper) / self.centimetre
        width = torch.where(away < 0, _LASHES_UP, _LASHES_DOWN)
        width = width.clamp(min=0.7 / self.centimetre)
        line = torch.exp(-(away / width).square()) * smooth_step(torch.minimum(share.along, 1 - share.along), 0.0, 0.3)
        cover = line * (_LASHES * self.darkness * self._drawn(closed))[:, None]
        cover = cover.view(len(colours), 1, *colours.shape[2:])
        return torch.lerp(colours, self.lashes.view(1, 3, 1, 1), cover)

    def drawn(self, closed: torch.Tensor) -> bool:
        """Whether any of the eyes, closed as for `paint`, has a drawn lid."""
        return bool((closed > _STARTS).any())

    def _drawn(self, closed: torch.Tensor) -> torch.Tensor:
        return self.share * smooth_step(closed, _STARTS, _DRAWN)

    @staticmethod
    def _ends(share: Shares) -> torch.Tensor:
        """Nothing beyond the corners."""
        return smooth_step(torch.minimum(share.along, 1 - share.along), 0.0, 0.12)

    @staticmethod
    def _along(colours: torch.Tensor, share: Shares) -> torch.Tensor:
        """Colours (frames, 3, n) at the pixels' places along the eye."""
        grid = torch.stack([share.along * 2 - 1, torch.zeros_like(share.along)], -1)
        count = len(grid)
        seen = functional.grid_sample(colours, grid.view(1, 1, -1, 2), "bilinear", "border", align_corners=True)
        return seen.view(3, count, -1).transpose(0, 1)


def closing(rest: Opening, edge: Opening) -> torch.Tensor:
    """How far an eye is closed (frames,): 0 as in the photo, 1 shut."""
    return (1 - edge.gap / rest.gap.clamp(min=1e-3)).clamp(0, 1)


def fit_lids(sheet: Sheet) -> tuple[Lids, Lids]:
    """The lids of a portrait's right and left eye."""
    right, left = (_fitted(sheet, index, *eye) for index, eye in enumerate(EYES, start=1))
    return right, left


def _fitted(
    sheet: Sheet, index: int, upper: tuple[int, ...], lower: tuple[int, ...], cheek: tuple[int, ...]
) -> Lids:
    centimetre = 1 / sheet.similarity.scale
    below = _skin(sheet, lower, _BEYOND[1], centimetre)
    light = below.mean(1, keepdim=True).amin(-1, keepdim=True)
    above = _skin(sheet, upper, _BEYOND[0], centimetre)
    above = above * (_DARKEST * light / above.mean(1, keepdim=True)).clamp(min=1.0)
    lashes, darkness = _lashes(sheet, index, below.mean((0, 2, 3)), centimetre)
    width = float(sheet.openings[index].gap) / centimetre
    return Lids(
        crest=_crest(sheet, index, upper),
        above=above,
        below=below,
        lashes=lashes,
        share=float(smooth_step(torch.tensor(width), _NARROW, _WIDE)),
        darkness=darkness,
        fits=_like_the_cheek(sheet, cheek, below[0, :, 0].median(1).values, centimetre),
        centimetre=centimetre,
    )


def _crest(sheet: Sheet, index: int, upper: tuple[int, ...]) -> torch.Tensor:
    rest = sheet.openings[index]
    along, _ = rest.local(sheet.screen[None, list(upper)])
    _, height = rest.local(sheet.screen[None, list(BESIDE_LIDS[upper])])
    return curve(along, functional.pad(height, (1, 1)))[0] / rest.length


def _skin(sheet: Sheet, lid: tuple[int, ...], part: float, centimetre: float) -> torch.Tensor:
    """Smooth colours (1, 3, 1, 7) of the skin outside the ring beside a lid, whatever lies on single pixels of it."""
    places = torch.lerp(sheet.screen[list(BESIDE_LIDS[lid])], sheet.screen[list(BEYOND_LIDS[lid])], part)
    near = torch.linspace(-0.18, 0.18, 5) * centimetre
    around = torch.stack(torch.meshgrid(near, 0.6 * near, indexing="ij"), -1).view(-1, 1, 2)
    seen = seen_at(sheet, (places + around)[None])[0].median(1).values  # (3, 7)
    smooth = functional.avg_pool1d(functional.pad(seen[None], (2, 2), mode="replicate"), 5, 1)
    return smooth[:, :, None]


def _like_the_cheek(sheet: Sheet, cheek: tuple[int, ...], colour: torch.Tensor, centimetre: float) -> bool:
    """Whether a colour (3,) may be skin, judged by points of the cheek below."""
    near = torch.linspace(-0.25, 0.25, 5) * centimetre
    around = torch.stack(torch.meshgrid(near, near, indexing="ij"), -1).view(-1, 1, 2)
    skin = seen_at(sheet, (sheet.screen[list(cheek)] + around)[None])[0].flatten(1).median(1).values
    return float((colour - skin).abs().max()) < _UNLIKE * float(skin.max())


def _lashes(sheet: Sheet, index: int, skin: torch.Tensor, centimetre: float) -> tuple[torch.Tensor, float]:
    """Colour of the darkest line along the upper lid's edge, and how much darker than skin it is, 0..1."""
    rest = sheet.openings[index]
    along, away = torch.linspace(0.15, 0.85, 15), torch.linspace(-0.14, 0.02, 9) * centimetre
    upper, _ = rest.edges(along[None])
    height = upper + away[:, None]
    places = rest.pixels(along.expand(len(away), -1).reshape(1, -1), height.reshape(1, -1))
    seen = seen_at(sheet, places.view(1, len(away), len(along), 2))[0]  # (3, heights, places)
    darkest = seen.mean(0).argmin(0)
    line = seen.gather(1, darkest.expand(3, 1, -1))[:, 0].median(1).values
    contrast = 1 - line.mean() / skin.mean().clamp(min=1)
    # The iris lends its colour to what is next to it; lashes have the skin's, only darker.
    line = skin * (line.mean() / skin.mean().clamp(min=1)).clamp(max=1)
    return line, float((contrast / 0.35).clamp(0.3, 1.0))
