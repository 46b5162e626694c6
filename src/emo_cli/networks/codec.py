"""Between pictures and latents: what every codec does, and the one for Stable Diffusion's autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from emo_cli import device
from emo_cli.device import Line
from emo_cli.networks.blocks import BlockTransform
from emo_cli.stored import CONFIG, read_json

if TYPE_CHECKING:
    from emo_cli.portrait import Portrait

SCALE = 0.18215
"""Stable Diffusion's latents are the autoencoder's times this."""


@dataclass(frozen=True)
class Motion:
    """What the Backbone made for some frames.

    latents (frames, channels, h, w); pose (frames, 3) degrees of yaw, pitch, roll beside the photo, lids (frames,)
    from 0 open to 1 closed, and gaze (frames, 2) degrees of yaw and pitch beside the photo's, for codecs that draw.
    """

    latents: Tensor
    pose: Tensor | None = None
    lids: Tensor | None = None
    gaze: Tensor | None = None

    def after(self, frames: int) -> Motion:
        """What is left behind the first frames."""
        rest = ((field.name, getattr(self, field.name)) for field in fields(self))
        return Motion(**{name: tensor[frames:] for name, tensor in rest if tensor is not None})


@dataclass(frozen=True)
class Strength:
    """How much of the motion is shown; 1 is as the model made it, 0 as in the photo."""

    expression: float = 1.0
    lips: float = 1.0
    motion: float = 1.0


@dataclass(frozen=True)
class Canvas:
    """A portrait ready to be animated: ReferenceNet's picture (1, channels, h, w), and what its codec draws on."""

    reference: Tensor
    sheet: Any


class Codec(Protocol):
    """Pictures to latents and back."""

    def open(self, portrait: Portrait) -> Canvas:
        """Prepare a portrait."""
        ...

    def decode(self, canvas: Canvas, motion: Motion, strength: Strength) -> Iterator[np.ndarray]:
        """Frames, uint8 (H, W, 3), one after another."""
        ...

    def save_pretrained(self, folder: Path) -> None:
        """Write the codec's tables or weights."""
        ...


class PictureCodec:
    """Stable Diffusion's autoencoder, a few frames at a time so that memory stays flat."""

    def __init__(self, autoencoder: Any, chunk: int = 4) -> None:
        self.autoencoder, self.chunk = autoencoder, chunk

    def open(self, portrait: Portrait) -> Canvas:
        pixels = torch.tensor(portrait.image).permute(2, 0, 1)[None].float() / 127.5 - 1
        return Canvas(self.encode(pixels), pixels)

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (frames, 3, H, W) in -1..1 -> latents (frames, 4, H / 8, W / 8): the mean, without noise."""
        model = self.autoencoder
        with torch.no_grad():
            parts = [
                model.encode(part.to(model.device, model.dtype)).latent_dist.mean for part in pixels.split(self.chunk)
            ]
        return torch.cat(parts) * SCALE

    def decode(self, canvas: Canvas, motion: Motion, strength: Strength) -> Iterator[np.ndarray]:
        line, before = Line(self.autoencoder.device), None
        for part in motion.latents.split(self.chunk):
            with line.at_work():
                coming = line.fetch(self._levels(part))
            if before is not None:  # the card draws these while the ones before are fetched and encoded
                yield from before().numpy()
            before = coming
        if before is not None:
            yield from before().numpy()

    def _levels(self, latents: Tensor) -> Tensor:
        """Latents (frames, 4, h, w) -> (frames, 8 h, 8 w, 3) uint8; in smaller parts where the memory runs out."""
        try:
            return (self.pixels(latents) * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        except RuntimeError as error:
            if len(latents) == 1 or not device.ran_out(error):
                raise
        self.chunk = len(latents) // 2
        device.forget(self.autoencoder.device)
        return torch.cat([self._levels(part) for part in latents.split(self.chunk)])

    def pixels(self, latents: Tensor) -> Tensor:
        """Latents (frames, 4, h, w) -> pixels (frames, 3, 8 h, 8 w) in 0..1, float32."""
        with torch.no_grad():
            pictures = torch.cat([self._pictures(part) for part in latents.split(self.chunk)])
        return (pictures / 2 + 0.5).clamp(0, 1)

    def _pictures(self, latents: Tensor) -> Tensor:
        """Decoded, float32; where half precision overflows, which would show as black, all from there on is float32."""
        model = self.autoencoder
        decoded: Tensor = model.decode(latents.to(model.device, model.dtype) / SCALE).sample.float()
        if torch.isfinite(decoded).all() or model.dtype == torch.float32:
            return decoded
        model.to(torch.float32)
        return self._pictures(latents)

    def to(self, device: torch.device, dtype: torch.dtype) -> PictureCodec:
        """Move the autoencoder."""
        self.autoencoder.to(device, dtype)
        return self

    def save_pretrained(self, folder: Path) -> None:
        self.autoencoder.save_pretrained(folder)

    @staticmethod
    def from_pretrained(folder: Path) -> PictureCodec:
        """Open an autoencoder's folder in diffusers' layout, or a BlockTransform's."""
        if read_json(folder / CONFIG).get("_class_name") == BlockTransform.__name__:
            return PictureCodec(BlockTransform.from_pretrained(folder))
        from diffusers import AutoencoderKL

        return PictureCodec(AutoencoderKL.from_pretrained(folder).eval())
