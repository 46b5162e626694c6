"""Where every part of a face is: the attention face mesh, 478 landmarks, in plain torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from emo_cli.face.landmarks import (
    LEFT_EYE,
    LEFT_EYE_REGION,
    LEFT_IRIS,
    LIPS_REGION,
    MESH_POINTS,
    POINTS,
    RIGHT_EYE,
    RIGHT_EYE_REGION,
    RIGHT_IRIS,
)
from emo_cli.face.layers import BlazeBlock, SameConv

PIXELS = 192
MAP_STEP = 4  # input pixels per cell of the feature map that the regions look at
REGION_CELLS = 16  # a region is read as 16 x 16 cells ...
REGION_MARGIN = 1.5  # ... over this many times the box of its points


def _block(width_in: int, width_out: int, stride: int = 1) -> BlazeBlock:
    return BlazeBlock(width_in, width_out, stride, learned_slope=True)


def _narrowed() -> list[nn.Module]:
    return [nn.Conv2d(128, 32, 1), nn.PReLU(32), _block(32, 32)]


@dataclass(frozen=True)
class RegionPlan:
    """A region to look at closely: which points it spans, which two lie level in it, what it gives."""

    points: tuple[int, ...]
    level: tuple[int, int]
    outputs: Mapping[str, tuple[int, ...]]


REGIONS: Mapping[str, RegionPlan] = {
    "lips": RegionPlan(LIPS_REGION, (61, 291), {"lips": LIPS_REGION}),
    "right_eye": RegionPlan(RIGHT_EYE_REGION, (33, 133), {"eye": RIGHT_EYE_REGION, "iris": RIGHT_IRIS}),
    "left_eye": RegionPlan(LEFT_EYE_REGION, (362, 263), {"eye": LEFT_EYE_REGION, "iris": LEFT_IRIS}),
}


class _Region(nn.Module):
    """A small network on a straightened window of the feature map; one branch per group of points."""

    def __init__(self, plan: RegionPlan) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _block(32, 32),
            _block(32, 32),
            _block(32, 64, 2),
            _block(64, 64),
            _block(64, 64),
            _block(64, 128, 2),
        )
        self.branches = nn.ModuleDict({name: self._branch(len(indices)) for name, indices in plan.outputs.items()})

    @staticmethod
    def _branch(count: int) -> nn.Sequential:
        return nn.Sequential(
            _block(128, 128), _block(128, 128), _block(128, 128, 2), _block(128, 128), _block(128, 128),
            *_narrowed(), nn.Conv2d(32, count * 2, 2),
        )  # fmt: skip

    def forward(self, window: torch.Tensor) -> dict[str, torch.Tensor]:
        """Window (b, 32, 16, 16) -> per branch points (b, count, 2), in the window's own input pixels."""
        x = self.trunk(window)
        return {name: branch(x).reshape(len(x), -1, 2) for name, branch in self.branches.items()}


class FaceMesh(nn.Module):
    """The attention mesh (Grishchenko et al. 2020): a coarse mesh, then a close look at lips and eyes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            SameConv(3, 16, 3, stride=2), nn.PReLU(16), _block(16, 16), _block(16, 16), _block(16, 32, 2)
        )
        self.body = nn.Sequential(
            _block(32, 32), _block(32, 32),
            _block(32, 64, 2), _block(64, 64), _block(64, 64),
            _block(64, 128, 2), _block(128, 128), _block(128, 128),
            _block(128, 128, 2), _block(128, 128), _block(128, 128),
            _block(128, 128, 2), _block(128, 128), _block(128, 128),
            *_narrowed(),
        )  # fmt: skip
        self.points = nn.Conv2d(32, MESH_POINTS * 3, 3)
        self.presence = nn.Conv2d(32, 1, 3)
        self.regions = nn.ModuleDict({name: _Region(plan) for name, plan in REGIONS.items()})

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (b, 3, 192, 192) in 0..1 -> points (b, 478, 3) in input pixels, presence logits (b,)."""
        features = self.stem(x)  # (b, 32, 48, 48)
        deep = self.body(features)  # (b, 32, 3, 3)
        coarse = self.points(deep).reshape(-1, MESH_POINTS, 3)
        points = coarse.new_zeros(len(x), POINTS, 3)
        points[:, :MESH_POINTS] = coarse
        for name, plan in REGIONS.items():
            linear, corner = window_of(coarse[..., :2] / MAP_STEP, plan)
            found = self.regions[name](straightened(features, linear, corner))
            for branch, indices in plan.outputs.items():
                # The branch counts in input pixels, so only the corner has to leave the map's unit.
                points[:, list(indices), :2] = found[branch] @ linear.mT + corner[:, None] * MAP_STEP
        for iris, eye in ((RIGHT_IRIS, RIGHT_EYE), (LEFT_IRIS, LEFT_EYE)):
            points[:, list(iris), 2] = coarse[:, list(eye), 2].mean(1, keepdim=True)
        return points, self.presence(deep).reshape(-1)


def window_of(points: torch.Tensor, plan: RegionPlan) -> tuple[torch.Tensor, torch.Tensor]:
    """The turned window around a region's points (b, 468, 2) in map cells.

    Gives the map from window cells to map cells: linear (b, 2, 2) and corner (b, 2), map = linear @ window +
    corner.
    """
    first, second = plan.level
    across = points[:, second] - points[:, first]
    angle = torch.atan2(across[:, 1], across[:, 0])
    cosine, sine = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)  # (b, 2, 2)
    level = points[:, list(plan.points)] @ turn  # rows times the turn: turned back by the angle
    low, high = level.amin(1), level.amax(1)
    linear = turn * ((high - low) * REGION_MARGIN / REGION_CELLS)[:, None]
    centre = (turn @ ((low + high) / 2)[..., None])[..., 0]
    return linear, centre - linear.sum(-1) * (REGION_CELLS / 2)


def straightened(features: torch.Tensor, linear: torch.Tensor, corner: torch.Tensor) -> torch.Tensor:
    """Read a window from the feature map (b, c, 48, 48) -> (b, c, 16, 16), bilinear, zero outside the map."""
    axis = torch.arange(REGION_CELLS, device=features.device, dtype=features.dtype) + 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cells = torch.stack([x, y], -1).reshape(1, -1, 2) @ linear.mT + corner[:, None] - 0.5  # (b, 256, 2)
    last = features.shape[-1] - 1
    # A cell centre beyond the outermost cell centres counts as outside: the trained network knew no half
    # weights.
    outside = ((cells < 0) | (cells > last)).any(-1).reshape(-1, 1, REGION_CELLS, REGION_CELLS)
    grid = (2 * cells / last - 1).reshape(-1, REGION_CELLS, REGION_CELLS, 2)
    return functional.grid_sample(features, grid, align_corners=True).masked_fill(outside, 0)
