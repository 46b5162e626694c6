"""The light of a photo, as far as the inside of a mouth needs it: what white looks like there, and how colourful."""

from __future__ import annotations

import torch

from emo_cli.chart.head import smooth_step
from emo_cli.chart.lookup import seen_at
from emo_cli.chart.sheet import Sheet

_SKIN_POINTS = (50, 280, 101, 330, 4, 205, 425)  # cheeks and nose
_SKIN = (1.0, 0.78, 0.63)  # skin in white light, relative to its red
_EYE_WHITE = (1.0, 0.95, 0.92)  # whites of eyes, pink as they look in photos
_NATURAL = 0.35  # skins differ that much (logarithm of a ratio); what is beyond is the light's colour
_WARM_TRUST = 0.45  # within: redder skin is taken that far for warm light, bluer skin not at all for cold light


def white(sheet: Sheet) -> torch.Tensor:
    """What the scene's light makes of white (3,), 1 as it is: judged by the skin, and by the eyes' own whites."""
    skin = _skin(sheet)
    brightness = float((skin.mean() / 170).clamp(0.35, 1.0)) ** 0.7
    beyond = torch.log(skin / skin[0] / skin.new_tensor(_SKIN))
    tint = _beyond_nature(beyond)
    whites = _eye_whites(sheet)
    if whites is not None:
        seen = torch.log(whites / whites[0] / whites.new_tensor(_EYE_WHITE))
        tint = torch.lerp(tint, seen, 0.5)
    tint = tint.exp()
    return brightness * tint / tint.amax().clamp(min=1.0)


def colourfulness(sheet: Sheet) -> float:
    """0 for pictures without colour (statues, pencil, black and white), 1 for all that show skin as skin."""
    skin = _skin(sheet)
    return float(smooth_step(1 - skin.amin() / skin.amax(), 0.04, 0.16))


def _skin(sheet: Sheet) -> torch.Tensor:
    x, y = sheet.screen[list(_SKIN_POINTS)].round().long().unbind(1)
    height, width = sheet.photo.shape[2:]
    return sheet.photo[0, :, y.clamp(0, height - 1), x.clamp(0, width - 1)].median(1).values.clamp(min=1)


def _beyond_nature(ratio: torch.Tensor) -> torch.Tensor:
    """The part of skin's unusual colour (logarithms) that must be the light's."""
    size = ratio.abs()
    trust = torch.where(ratio < 0, _WARM_TRUST, 0.0)
    return ratio.sign() * (trust * size.clamp(max=_NATURAL) + (size - _NATURAL).clamp(min=0))


def _eye_whites(sheet: Sheet) -> torch.Tensor | None:
    """Colour (3,) of the brightest part of the eyes; None where eyes are narrow, dark or small."""
    seen = []
    for eye in sheet.openings[1:]:
        if float(eye.gap) < max(3.0, 0.25 / sheet.similarity.scale):
            continue
        along, part = torch.linspace(0.15, 0.85, 29), torch.linspace(0.25, 0.75, 9)
        upper, lower = eye.edges(along[None])
        height = torch.lerp(upper, lower, part[:, None])
        places = eye.pixels(along.expand(len(part), -1).reshape(1, -1), height.reshape(1, -1))
        seen.append(seen_at(sheet, places[None])[0, :, 0])
    if not seen:
        return None
    colours = torch.cat(seen, 1)
    rank = colours.mean(0).argsort(descending=True)
    # Not the very brightest: those are reflections.
    chosen = colours[:, rank[len(rank) // 20 : len(rank) // 5]].mean(1)
    if float(chosen.mean()) < 0.7 * float(_skin(sheet).mean()):
        return None
    return chosen.clamp(min=1)
