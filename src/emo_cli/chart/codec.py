"""The bundled model's codec: motion of a face on a fixed 32 x 32 chart, packed into small latents, and drawn on a photo."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch.nn import functional

from emo_cli.chart.geometry import LID_PAIRS, LIP_PAIRS, POINTS, lip_gaps

_CLOSURE_CENTRE, _CLOSURE_SPAN = 0.35, 0.5
_REFERENCE_SPAN = 0.6  # centimetres: about the spread of identities
_UPPER_SHARE, _LOWER_SHARE = 0.35, 0.65  # of a closing mouth: the lower lip travels further


class FlowCodec(ModelMixin, ConfigMixin):
    """Displacements of 468 face points as latents (49, 8, 8), and latents as pictures.

    It has no trained weights: all buffers are fitted once from a face rig (`training/fitting.py`). The chart is the same
    for every face, so the lip seam is always at the same cells.
    """

    mean: torch.Tensor
    bias: torch.Tensor
    uv: torch.Tensor
    scale: torch.Tensor
    upper_spread: torch.Tensor
    lower_spread: torch.Tensor
    lid_spread: torch.Tensor
    triangles: torch.Tensor

    @register_to_config
    def __init__(self, grid: int = 32, patch: int = 4, triangle_count: int = 852) -> None:
        super().__init__()
        self.grid, self.patch = grid, patch
        shapes = {
            "mean": (POINTS, 3),
            "bias": (POINTS, 3),
            "uv": (POINTS, 2),
            "scale": (3, grid, grid),
            "upper_spread": (POINTS, len(LIP_PAIRS)),
            "lower_spread": (POINTS, len(LIP_PAIRS)),
            "lid_spread": (POINTS, 2 * len(LID_PAIRS)),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("triangles", torch.zeros(triangle_count, 3, dtype=torch.int64))
        self._matrices: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def channels(self) -> int:
        """Latent channels: the unshuffled field and one closure plane."""
        return 3 * self.patch**2 + 1

    def field(self, displacement: torch.Tensor) -> torch.Tensor:
        """The smooth chart field (..., 3, grid, grid) that best carries a displacement (..., 468, 3), centimetres."""
        _, encode = self._both_matrices()
        field = torch.einsum("gv,...vk->...kg", encode.to(displacement), displacement)
        return field.unflatten(-1, (self.grid, self.grid))

    def sample(self, field: torch.Tensor) -> torch.Tensor:
        """The displacement (..., 468, 3) that a chart field (..., 3, grid, grid) gives at the face points."""
        decode, _ = self._both_matrices()
        return torch.einsum("vg,...kg->...vk", decode.to(field), field.flatten(-2))

    def pack(self, displacement: torch.Tensor, closure: torch.Tensor) -> torch.Tensor:
        """Motion as latents.

        Args:
            displacement: (..., 468, 3) centimetres from the photo's own face.
            closure: (...,) 0 free .. 1 lips pressed together.

        Returns:
            (..., 49, 8, 8), each channel of roughly unit size.
        """
        field = self.field(displacement) / self.scale.to(displacement)
        folded = functional.pixel_unshuffle(field, self.patch)
        plane = ((closure - _CLOSURE_CENTRE) / _CLOSURE_SPAN)[..., None, None, None]
        return torch.cat([folded, plane.expand(*folded.shape[:-3], 1, *folded.shape[-2:])], -3)

    def unpack(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (..., 49, 8, 8) as displacement (..., 468, 3) in centimetres and closure (...,), not clamped."""
        field = functional.pixel_shuffle(latents[..., :-1, :, :], self.patch) * self.scale.to(latents)
        closure = latents[..., -1, :, :].mean((-1, -2)) * _CLOSURE_SPAN + _CLOSURE_CENTRE
        return self.sample(field), closure

    def reference(self, canonical: torch.Tensor) -> torch.Tensor:
        """What the ReferenceNet sees of a face (..., 468, 3) in centimetres: (..., 49, 8, 8), closure plane 0."""
        field = self.field((canonical - self.mean.to(canonical)) / _REFERENCE_SPAN)
        folded = functional.pixel_unshuffle(field, self.patch)
        return torch.cat([folded, torch.zeros_like(folded[..., :1, :, :])], -3)

    def close_lips(
        self, canonical: torch.Tensor, displacement: torch.Tensor, closure: torch.Tensor
    ) -> torch.Tensor:
        """Bring the inner lips together on a face's own geometry, differentiably.

        With closure 1 all nine inner-lip pairs get the mean face's (closed) gap, whatever the photo's mouth does; lips
        never cross, whatever the closure.

        Args:
            canonical: (..., 468, 3) the photo's face, broadcast against `displacement`.
            displacement: (..., 468, 3) centimetres.
            closure: (...,) 0 unchanged .. 1 closed.

        Returns:
            The displacement (..., 468, 3) with the lips and the skin around them moved.
        """
        excess = lip_gaps(canonical + displacement) - lip_gaps(self.mean.to(displacement))
        weight = closure[..., None]
        height = excess[..., 1].clamp(min=0) * weight + excess[..., 1].clamp(max=0)
        depth = excess[..., 2] * weight
        moved = torch.stack([torch.zeros_like(height), height, depth], -1)  # (..., 9, 3)
        upper = torch.einsum("vp,...pk->...vk", self.upper_spread.to(moved), moved)
        lower = torch.einsum("vp,...pk->...vk", self.lower_spread.to(moved), moved)
        return displacement - _UPPER_SHARE * upper + _LOWER_SHARE * lower

    def _both_matrices(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The sampling matrix (468, cells) and its smooth inverse (cells, 468), derived from `uv` once."""
        if self._matrices is None or self._matrices[0].device != self.uv.device:
            decode = _sampling(self.uv.double().cpu(), self.grid)
            encode = _smooth_inverse(decode, self.grid)
            self._matrices = (decode.float().to(self.uv.device), encode.float().to(self.uv.device))
        return self._matrices


def _sampling(uv: torch.Tensor, grid: int) -> torch.Tensor:
    """Bilinear weights (points, grid * grid) of chart positions (points, 2) in cells."""
    corner = uv.floor().long().clamp(0, grid - 2)
    fraction = uv - corner
    weights = uv.new_zeros(len(uv), grid * grid)
    rows = torch.arange(len(uv))
    for right in (0, 1):
        for below in (0, 1):
            x = fraction[:, 0] if right else 1 - fraction[:, 0]
            y = fraction[:, 1] if below else 1 - fraction[:, 1]
            weights[rows, (corner[:, 1] + below) * grid + corner[:, 0] + right] += x * y
    return weights


def _smooth_inverse(decode: torch.Tensor, grid: int) -> torch.Tensor:
    """The field of least bending that passes near all points: (cells, points)."""
    second = torch.zeros(grid - 2, grid, dtype=decode.dtype)
    rows = torch.arange(grid - 2)
    second[rows, rows], second[rows, rows + 1], second[rows, rows + 2] = -1.0, 2.0, -1.0
    eye = torch.eye(grid, dtype=decode.dtype)
    bending = torch.kron(eye, second.T @ second) + torch.kron(second.T @ second, eye)
    normal = decode.T @ decode + 2e-4 * bending + 1e-7 * torch.eye(grid * grid, dtype=decode.dtype)
    return torch.linalg.solve(normal, decode.T)
