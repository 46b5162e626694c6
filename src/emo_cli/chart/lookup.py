"""Look colours up in a portrait's photo: at given places, or through a map of offsets."""

from __future__ import annotations

import torch
from torch.nn import functional

from emo_cli.chart.sheet import Cells, Sheet


def pixel_centres(rows: range, columns: range) -> torch.Tensor:
    """Centres (rows, columns, 2) of pixels."""
    y, x = torch.arange(rows.start, rows.stop) + 0.5, torch.arange(columns.start, columns.stop) + 0.5
    return torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)


def seen_at(sheet: Sheet, places: torch.Tensor) -> torch.Tensor:
    """Colours (frames, 3, rows, columns) of the person at places (frames, rows, columns, 2) in the photo's pixels."""
    span, frames = torch.tensor(_span(sheet)), len(places)
    grid = ((places - 0.5 + sheet.around) * (2 / span) - 1).transpose(0, 1)
    return _looked_up(sheet.source[:, :3], grid.flatten(0, 1), frames)


def seen_through(sheet: Sheet, offsets: torch.Tensor, cells: Cells) -> torch.Tensor:
    """The photo through offsets (frames, 2, rows + 2, columns + 2) of cells and the ring around them.

    Returns:
        Colours (frames, 3, height, width) of the pixels under the cells.
    """
    frames = len(offsets)
    rows, columns = cells.pixels(sheet.cell, *sheet.image.shape[:2])
    seen = _looked_up(sheet.source, _grid(sheet, offsets, cells, (len(rows), len(columns))), frames)
    shows = 1 - seen[:, 3:]
    return seen[:, :3].addcmul_(shows, sheet.still[..., rows.start : rows.stop, columns.start : columns.stop])


def _grid(sheet: Sheet, offsets: torch.Tensor, cells: Cells, size: tuple[int, int]) -> torch.Tensor:
    """Where pixels (height, width) look, normalised: (height * frames, width, 2).

    The pixels' own places are added per cell already, as they lie on a plane. All x lie together, then all y, rows
    before frames, so that each step writes what the next one reads.
    """
    frames, _, rows, columns = offsets.shape
    ring = cells.ringed()
    grid = torch.empty(2, rows, frames, columns)
    for axis, (start, span) in enumerate(zip((ring.left, ring.top), _span(sheet), strict=True)):
        own = (torch.arange(start, start + (columns, rows)[axis]) + 0.5) * sheet.cell - 0.5 + sheet.around
        own = (own * (2 / span) - 1).view((1, 1, -1) if axis == 0 else (-1, 1, 1))
        torch.add(own, offsets[:, axis].transpose(0, 1), alpha=2 / span, out=grid[axis])
    cell = sheet.cell
    if cell > 1:
        down = functional.interpolate(torch.eye(rows)[None], scale_factor=cell, mode="linear")[0].T
        grid = down[cell : cell + size[0]] @ grid.flatten(2)  # few rows: quicker than interpolating them
        grid = functional.interpolate(grid.view(2, -1, columns), scale_factor=cell, mode="linear")
    else:
        grid = grid[:, 1 : 1 + size[0]].flatten(1, 2)
    return grid[..., cell : cell + size[1]].permute(1, 2, 0)


def _looked_up(source: torch.Tensor, grid: torch.Tensor, frames: int) -> torch.Tensor:
    """What a picture (1, channels, ...) shows at normalised places (height * frames, width, 2), frames first.

    All frames read one photo, and go through it together row by row: what one has read is at hand for the next, which
    takes a third of the time of frame after frame.
    """
    colours = functional.grid_sample(source, grid[None], "bilinear", "border", align_corners=True)
    return colours.view(source.shape[1], -1, frames, grid.shape[1]).permute(2, 0, 1, 3)


def _span(sheet: Sheet) -> tuple[float, float]:
    """How far apart the outermost pixels of the source are, in pixels of the photo: across and down."""
    height, width = sheet.image.shape[:2]
    return width - 1.0 + 2 * sheet.around, height - 1.0 + 2 * sheet.around
