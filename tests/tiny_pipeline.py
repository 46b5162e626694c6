"""Small untrained pipelines of every kind, and a codec that shows latents as grey pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from emo_cli.chart.whitening import HeadWhitening
from emo_cli.family import Family
from emo_cli.networks.codec import Canvas, Motion, Strength
from emo_cli.networks.conditions import FaceLocator, SoundProjection, SpeedLayers
from emo_cli.networks.unet import UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.tape import Waveform

WIDTHS = {
    "widths": (16, 32), "layers": 1, "heads": 2, "groups": 4, "attention": (True, True), "temporal_groups": 4,
    "temporal_heads": 2, "feed_forward": 2,
}  # fmt: skip
BOTH = (True, True)


class GreyCodec:
    """Latents (frames, channels, h, w) as pictures of their first channel; a portrait as its brightness."""

    def open(self, portrait: object) -> Canvas:
        return Canvas(torch.linspace(-1, 1, 256).view(1, 4, 8, 8), None)

    def decode(self, canvas: Canvas, motion: Motion, strength: Strength) -> Iterator[np.ndarray]:
        for frame in motion.latents:
            level = (frame[0].clamp(-1, 1) * 127 + 128).to(torch.uint8).numpy()
            yield np.repeat(level[..., None], 3, axis=2)

    def save_pretrained(self, folder: Path) -> None:
        """Nothing to keep."""


class StillEncoder:
    """A sound encoder that hears nothing."""

    tokens, width = 5, 12

    def hear(self, waveform: Waveform, frames: int, fps: float) -> torch.Tensor:
        return torch.zeros(frames, self.tokens, self.width)

    def save_pretrained(self, folder: Path) -> None:
        """Nothing to keep."""


def tiny(kind: str) -> EmoPipeline:
    """An untrained pipeline: "mini" carries inline, "emo" carries through ReferenceNet, "echomimic" blends."""
    torch.manual_seed(0)
    latents = {"latent_channels": 4, "latent_size": 8, "steps": 2, "guidance": 2.0}
    if kind == "mini":
        looks = {"scale_shift": True, "skip_inputs": False, "position_size": 8}
        return EmoPipeline(
            family=Family(name="mini", window=16, motion_frames=4, noise_correlation=0.9, **latents),
            reference_net=UNet(out_channels=None, **WIDTHS, **looks).eval(),
            backbone=UNet(
                cross="audio", cross_width=12, temporal=BOTH, temporal_layers=1, speed="embedding", head_width=16,
                head_audio=60, head_gaze=True, **WIDTHS, **looks,
            ).eval(),
            codec=GreyCodec(),
            sound_encoder=StillEncoder(),
            sound_projection=SoundProjection(5, 12, 12).eval(),
            whitening=HeadWhitening(gaze=True),
        )  # fmt: skip
    ddim = {"schedule": "ddim", "noise_limit": 1.5, **latents}
    if kind == "emo":
        return EmoPipeline(
            family=Family(name="emo", window=12, motion_frames=4, motion="reference", **ddim),
            reference_net=UNet(out_channels=None, **WIDTHS).eval(),
            backbone=UNet(
                cross="reference", audio_layers="plain", audio_width=12, temporal=BOTH, speed="attention",
                speed_width=8, **WIDTHS,
            ).eval(),
            codec=GreyCodec(),
            sound_encoder=StillEncoder(),
            face_locator=FaceLocator(1, 16, (4, 8, 8, 8)).eval(),
            speed_layers=SpeedLayers(8).eval(),
        )  # fmt: skip
    return EmoPipeline(
        family=Family(
            name="echomimic", window=6, overlap=2, motion_frames=0, motion="none", chaining="blend", **ddim
        ),
        reference_net=UNet(out_channels=None, **WIDTHS).eval(),
        backbone=UNet(cross="audio", cross_width=12, audio_scale=3.0, temporal=BOTH, **WIDTHS).eval(),
        codec=GreyCodec(),
        sound_encoder=StillEncoder(),
        face_locator=FaceLocator(1, 16, (4, 8, 8, 8)).eval(),
    )
