"""Look colours up in a portrait's photo: at given places, or through a map of offsets."""

from __future__ import annotations

import torch
from torch.nn import functional

from emo_cli.chart.sheet import Box, Sheet


def pixel_centres(rows: range, columns: range) -> torch.Tensor:
    """Centres (rows, columns, 2) of pixels."""
    y, x = torch.arange(rows.start, rows.stop) + 0.5, torch.arange(columns.start, columns.stop) + 0.5
    return torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)


def seen_at(sheet: Sheet, places: torch.Tensor) -> torch.Tensor:
    """Colours (frames, 3, rows, columns) at places (frames, rows, columns, 2) in the photo's pixels."""
    return _looked_up(sheet.source, _normalised(sheet, places).transpose(0, 1))


def seen_through(sheet: Sheet, offsets: torch.Tensor, box: Box, rows: range, columns: range) -> torch.Tensor:
    """The photo through offsets per cell (frames, 2, ...) of a box: (frames, 3, rows, columns) of the picture."""
    dense = (offsets * (2 / _span(sheet))[:, None, None]).transpose(0, 1)
    if sheet.cell > 1:
        dense = functional.interpolate(dense, scale_factor=sheet.cell, mode="bilinear", align_corners=False)
    top, left = rows.start - box.top * sheet.cell, columns.start - box.left * sheet.cell
    dense = dense[:, :, top : top + len(rows), left : left + len(columns)].transpose(1, 2)
    centres = _normalised(sheet, pixel_centres(rows, columns)).permute(2, 0, 1)
    grid = torch.add(dense, centres[:, :, None], out=torch.empty(dense.shape)).permute(1, 2, 3, 0)
    colours = _looked_up(sheet.source, grid)
    shows = 1 - _looked_up(sheet.cover, grid)
    return colours.addcmul_(shows, sheet.still[..., rows.start : rows.stop, columns.start : columns.stop])


def _looked_up(source: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """What a picture (1, channels, ...) shows at normalised places (height, frames, width, 2): (frames, channels, ...).

    All frames read one photo, and go through it together row by row: what one has read is at hand for the next, which
    takes a third of the time of frame after frame.
    """
    height, frames, width, _ = grid.shape
    stacked = grid.reshape(1, height * frames, width, 2)
    colours = functional.grid_sample(source, stacked, "bilinear", "border", align_corners=True)
    return colours.view(source.shape[1], height, frames, width).permute(2, 0, 1, 3)


def _normalised(sheet: Sheet, places: torch.Tensor) -> torch.Tensor:
    """Places (..., 2) in the photo's pixels as -1..1 from the first to the last pixel's centre of the source."""
    return (places - 0.5 + sheet.around) * (2 / _span(sheet)) - 1


def _span(sheet: Sheet) -> torch.Tensor:
    """How far apart the outermost pixels of the source are, in pixels of the photo."""
    height, width = sheet.image.shape[:2]
    return torch.tensor([width - 1.0, height - 1.0]) + 2 * sheet.around
