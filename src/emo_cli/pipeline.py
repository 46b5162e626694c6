"""A portrait and a sound become frames: the networks of one model, run segment after segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from emo_cli import clips
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.whitening import HeadWhitening
from emo_cli.clips import ClipPlan
from emo_cli.errors import ModelError, WeightsError
from emo_cli.family import Family
from emo_cli.networks.codec import Canvas, Codec, Motion, PictureCodec
from emo_cli.networks.conditions import (
    FaceLocator,
    IdentityProjection,
    SoundProjection,
    SpeedLayers,
    WindowProjection,
)
from emo_cli.networks.unet import UNet
from emo_cli.segments.blend import blended_segments
from emo_cli.segments.carry import carried_segments
from emo_cli.segments.flow import flow_segments
from emo_cli.segments.scene import Callback, Scene, Settings
from emo_cli.sound_encoders import MiniHearing, SoundEncoder
from emo_cli.stored import CONFIG, StoredNetwork, read_json

if TYPE_CHECKING:
    from emo_cli.portrait import Portrait
    from emo_cli.speech import Speech

NETWORKS: dict[str, type[StoredNetwork]] = {
    kind.__name__: kind
    for kind in (
        UNet, FlowCodec, HeadWhitening, MiniHearing, SoundProjection, WindowProjection, IdentityProjection, FaceLocator,
        SpeedLayers,
    )
}  # fmt: skip

WAYS: dict[tuple[str, str], Callable[[Scene, ClipPlan, Callback], Iterator[Motion]]] = {
    ("flow", "carry"): flow_segments,
    ("ddim", "carry"): carried_segments,
    ("ddim", "blend"): blended_segments,
}


@dataclass(frozen=True)
class EmoPipeline:
    """All parts of a model. Parts a family does not have are None.

    >>> pipeline = EmoPipeline.from_pretrained("mini-folder").to("cpu")
    >>> for frame in pipeline.frames(portrait, speech): ...
    """

    family: Family
    reference_net: UNet
    backbone: UNet
    codec: Codec
    sound_encoder: SoundEncoder
    sound_projection: SoundProjection | WindowProjection | None = None
    whitening: HeadWhitening | None = None
    face_locator: FaceLocator | None = None
    identity_projection: IdentityProjection | None = None
    speed_layers: SpeedLayers | None = None

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Open a model folder written by save_pretrained. Raises WeightsError when something is missing or broken."""
        folder = Path(folder)
        family = Family.load(folder)
        parts: dict[str, Any] = {}
        for part in sorted(path for path in folder.iterdir() if (path / CONFIG).is_file()):
            kind = read_json(part / CONFIG).get("_class_name")
            if kind == "AutoencoderKL":
                parts[part.name] = PictureCodec.from_pretrained(part)
            elif kind in NETWORKS:
                parts[part.name] = NETWORKS[str(kind)].from_pretrained(part)
            else:
                raise WeightsError(f"{part} holds an unknown network {kind}. Update emo, or fetch the model again.")
        try:
            return cls(family=family, **parts)
        except TypeError as problem:
            raise WeightsError(f"{folder} lacks parts of a model ({problem}). Fetch it again.") from problem

    def save_pretrained(self, folder: Path | str, dtype: torch.dtype | None = None) -> None:
        """Write family.json and one folder per part; `dtype` is the precision of learned weights."""
        folder = Path(folder)
        self.family.save(folder)
        for name, part in self.parts().items():
            if isinstance(part, StoredNetwork) and any(True for _ in part.parameters()):
                part.save_pretrained(folder / name, dtype)
            else:
                part.save_pretrained(folder / name)

    def parts(self) -> dict[str, Any]:
        """The parts that exist, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "family"}
        return {name: part for name, part in named.items() if part is not None}

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Self:
        """Move to a device. `dtype` is for the Backbone and ReferenceNet; small parts and tables stay float32."""
        place = torch.device(device)
        for name, part in self.parts().items():
            heavy = name in ("backbone", "reference_net", "codec") and not isinstance(part, FlowCodec)
            if isinstance(part, PictureCodec):
                part.to(place, dtype)
            elif isinstance(part, nn.Module):
                part.to(place, dtype if heavy else torch.float32)
        return self

    def frames(
        self,
        portrait: Portrait,
        speech: Speech,
        settings: Settings | None = None,
        callback: Callback | None = None,
    ) -> Iterator[np.ndarray]:
        """Frames, uint8 (H, W, 3), segment by segment; memory does not grow with the sound."""
        settings = settings or Settings()
        canvas = self.codec.open(portrait)
        for motion in self.motions(canvas, portrait.mask, speech.features, settings, callback):
            yield from self.codec.decode(canvas, motion, settings.strength)

    @torch.no_grad()
    def motions(
        self,
        canvas: Canvas,
        mask: np.ndarray,
        features: Tensor,
        settings: Settings,
        callback: Callback | None = None,
    ) -> Iterator[Motion]:
        """Motion per segment for features (frames, tokens, width); the codec draws it."""
        plan = clips.plan(len(features), self.family)
        device, dtype = self.backbone.device, self.backbone.dtype
        reference = self.reference_net.look(canvas.reference.to(device, dtype))
        scene = Scene(
            family=self.family,
            settings=settings,
            backbone=self.backbone,
            reference_net=self.reference_net,
            reference=self.backbone.remember(reference),
            features=features.to(device),
            face=self._face(mask),
            sound_projection=self.sound_projection,
            whitening=self.whitening,
            speed_layers=self.speed_layers,
        )
        make = WAYS[self.family.schedule, self.family.chaining]
        for motion in make(scene, plan, callback or (lambda frames, step: None)):
            if not torch.isfinite(motion.latents).all():
                raise ModelError("The model gave numbers that are not finite. Try --dtype float32.")
            yield motion

    def _face(self, mask: np.ndarray) -> Tensor | None:
        if self.face_locator is None:
            return None
        region = torch.from_numpy(mask)[None, None].to(self.face_locator.device)
        channels = self.face_locator.config["mask_channels"]
        located: Tensor = self.face_locator(region.expand(-1, channels, -1, -1))
        return located.to(self.backbone.dtype)
