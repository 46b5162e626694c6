"""The bundled model's codec: a face's motion on a fixed 32 x 32 chart, packed into latents, drawn on a photo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from emo_cli.chart.drawing import Easel, draw, frames_at_once
from emo_cli.chart.eyeballs import fit_eyeballs, in_the_head
from emo_cli.chart.eyes import close_lids
from emo_cli.chart.geometry import LID_PAIRS, LIP_PAIRS, POINTS, lip_gaps
from emo_cli.chart.head import soft_limited
from emo_cli.chart.lids import fit_lids
from emo_cli.chart.mouth import fit_interior, picture_shapes
from emo_cli.chart.sheet import Sheet, open_sheet
from emo_cli.networks.codec import Canvas, Motion, Strength
from emo_cli.stored import StoredNetwork, recorded

if TYPE_CHECKING:
    from emo_cli.portrait import Portrait

_CLOSURE_CENTRE, _CLOSURE_SPAN = 0.35, 0.5
_REFERENCE_SPAN = 0.6  # centimetres: about the spread of identities
CLOSING = 0.6
"""Closure above this draws the lips together, up to exactly closed at 1."""
_UPPER_SHARE, _LOWER_SHARE = 0.35, 0.65  # of a closing mouth: the lower lip travels further


class FlowCodec(StoredNetwork):
    """Displacements of 468 face points as latents (49, 8, 8), and latents as pictures.

    It has no trained weights: all buffers are fitted once from a face rig (`training/fitting.py`). The chart is
    the same for every face, so the lip seam is always at the same cells.
    """

    mean: torch.Tensor
    bias: torch.Tensor
    uv: torch.Tensor
    scale: torch.Tensor
    upper_spread: torch.Tensor
    lower_spread: torch.Tensor
    lid_spread: torch.Tensor
    triangles: torch.Tensor
    upper_teeth: torch.Tensor
    lower_teeth: torch.Tensor
    jaw: torch.Tensor

    @recorded
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
            "jaw": (3,),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("triangles", torch.zeros(triangle_count, 3, dtype=torch.int64))
        upper, lower = picture_shapes()
        self.register_buffer("upper_teeth", torch.zeros(upper, dtype=torch.uint8))
        self.register_buffer("lower_teeth", torch.zeros(lower, dtype=torch.uint8))
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
        self,
        canonical: torch.Tensor,
        displacement: torch.Tensor,
        closure: torch.Tensor,
        closed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Bring the inner lips together on a face's own geometry, differentiably.

        With closure 1 all nine inner-lip pairs get the mean face's (closed) gap, whatever the photo's mouth does; lips
        never cross further than they do in the photo, whatever the closure.

        Args:
            canonical: (..., 468, 3) the photo's face, broadcast against `displacement`.
            displacement: (..., 468, 3) centimetres.
            closure: (...,) 0 unchanged .. 1 closed.
            closed: (9, 3) gaps of closed lips, where they are not the mean face's.

        Returns:
            The displacement (..., 468, 3) with the lips and the skin around them moved.
        """
        closed = lip_gaps(self.mean.to(displacement)) if closed is None else closed
        excess = lip_gaps(canonical + displacement) - closed
        crossed = (lip_gaps(canonical) - closed)[..., 1].clamp(max=0)
        weight = closure[..., None]
        height = excess[..., 1].clamp(min=0) * weight + (excess[..., 1] - crossed).clamp(max=0)
        depth = excess[..., 2] * weight
        moved = torch.stack([torch.zeros_like(height), height, depth], -1)  # (..., 9, 3)
        upper = torch.einsum("vp,...pk->...vk", self.upper_spread.to(moved), moved)
        lower = torch.einsum("vp,...pk->...vk", self.lower_spread.to(moved), moved)
        return displacement - _UPPER_SHARE * upper + _LOWER_SHARE * lower

    @staticmethod
    def drawn_together(closure: torch.Tensor, begin: float = CLOSING) -> torch.Tensor:
        """The `closure` (...,) that close_lips is given for one that was predicted: 0 up to `begin`, 1 at 1."""
        return ((closure - begin) / (1 - begin)).clamp(0, 1)

    def open(self, portrait: Portrait, size: int | None = None, belief: torch.Tensor | None = None) -> Canvas:
        """Prepare a portrait for animation.

        Args:
            size: pixels along its longer side, its own if not given.
            belief: (rows, columns) 0..1, how surely cells that cover the picture show the person and not the
                background; told from the picture if not given.
        """
        size = max(portrait.image.shape[:2]) if size is None else size
        mean, bias, triangles = (buffer.cpu() for buffer in (self.mean, self.bias, self.triangles))
        sheet = open_sheet(portrait, size, mean.float(), bias.float(), triangles, belief)
        jaw, teeth = self.jaw.cpu().float(), (self.upper_teeth.cpu(), self.lower_teeth.cpu())
        factor = sheet.image.shape[0] / portrait.image.shape[0]
        irises = torch.from_numpy(np.asarray(portrait.landmarks[POINTS:, :2], dtype=np.float32)) * factor
        interior = fit_interior(sheet, mean.float(), jaw, *teeth)
        easel = Easel(sheet, interior, fit_lids(sheet), fit_eyeballs(sheet, irises))
        return Canvas(self.reference(sheet.canonical.to(self.mean))[None], easel)

    @torch.no_grad()
    def decode(self, canvas: Canvas, motion: Motion, strength: Strength) -> Iterator[np.ndarray]:
        """Draw the motion on the portrait.

        Without motion (zero latents, zero pose, open lids, gaze as in the photo) a frame is exactly the portrait's
        image. No smoothing in time: what the sampler gives is drawn.

        Args:
            motion: latents (frames, 49, 8, 8); pose in degrees is bent softly under what a photo can bear.
            strength: `lips` scales the mouth's region, `expression` the rest of the face (how far the eyes look about
                too; 0 also stops blinks), `motion` the head.

        Yields:
            Frames uint8 (height, width, 3), drawn a few at a time so that memory stays flat.
        """
        easel: Easel = canvas.sheet
        sheet = easel.sheet
        spread = self.lid_spread.cpu().float()
        frames = len(motion.latents)
        pose = torch.zeros(frames, 3) if motion.pose is None else motion.pose.cpu().float() * strength.motion
        lively = strength.expression != 0 and easel.looks
        lids = motion.lids.cpu().float() if motion.lids is not None and lively else torch.zeros(frames)
        together = frames_at_once(sheet)
        for start in range(0, frames, together):
            piece = slice(start, start + together)
            displacement = self._displacement(sheet, motion.latents[piece], strength)
            points = sheet.points + sheet.similarity.invert_vectors(displacement)
            points = close_lids(points, sheet.points, lids[piece], spread)
            turned = soft_limited(pose[piece], sheet.turned)
            yield from draw(easel, points, turned, self._looks(motion, piece, turned, strength) if lively else None)

    @staticmethod
    def _looks(motion: Motion, piece: slice, pose: torch.Tensor, strength: Strength) -> torch.Tensor | None:
        """Degrees (frames, 2) that the eyes turn in the head, drawn with `pose`; None if they do not."""
        if motion.gaze is None:
            return None
        gaze = motion.gaze[piece].cpu().float() * strength.expression
        return in_the_head(gaze, pose * min(strength.expression, 1.0))

    def save_pretrained(self, folder: Path | str, dtype: torch.dtype | None = None) -> None:
        """Write the tables to a folder, always exactly: in half precision faces would be a millimetre off."""
        super().save_pretrained(folder)

    def _displacement(self, sheet: Sheet, latents: torch.Tensor, strength: Strength) -> torch.Tensor:
        """What latents (frames, 49, 8, 8) do to this face: (frames, 468, 3) centimetres, lips closed exactly."""
        displacement, closure = (part.cpu() for part in self.unpack(latents.float().to(self.mean.device)))
        share = sheet.lips * strength.lips + (1 - sheet.lips) * strength.expression
        displacement = displacement * (share * sheet.outline)[:, None]
        weight = self.drawn_together(closure) * min(strength.lips, 1.0)
        # In this photo lips are closed when its landmarks meet, and those are the rig's points plus the bias.
        closed = lip_gaps(self.mean.cpu().float())
        closed[:, 1] = -lip_gaps(self.bias.cpu().float())[:, 1]
        return self.close_lips(sheet.canonical, displacement, weight, closed)

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
