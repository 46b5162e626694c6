"""A portrait and a sound become frames: the networks of one model, run segment after segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from emo_cli import clips, sampling
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.whitening import HeadState, HeadWhitening
from emo_cli.clips import ClipPlan, Segment
from emo_cli.errors import ModelError, WeightsError
from emo_cli.family import Family
from emo_cli.networks.codec import Canvas, Codec, Motion, PictureCodec, Strength
from emo_cli.networks.conditions import (
    FaceLocator,
    IdentityProjection,
    SoundProjection,
    SpeedLayers,
    WindowProjection,
)
from emo_cli.networks.unet import Conditions, Reference, UNet
from emo_cli.sampling import FlowClip, FlowStep
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

AS_MADE = Strength()

Callback = Callable[[int, int], None]
"""Called after each denoising step with the frames shown so far and the step's index."""


@dataclass(frozen=True)
class Settings:
    """How one video is made. None takes the family's own value; speed multiplies the family's usual head speed."""

    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    speed: float = 1.0
    strength: Strength = AS_MADE


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
        device = self.backbone.device
        reference = self.reference_net.look(canvas.reference.to(device, self.backbone.dtype))
        scene = Scene(
            conditions=Conditions(reference=self.backbone.remember(reference), face=self._face(mask)),
            features=features.to(device),
            speed=settings.speed * torch.tensor([self.family.speed], device=device),
        )
        make = self._flow_segments if self.family.schedule == "flow" else self._ddim_segments
        for motion in make(scene, plan, settings, callback or (lambda frames, step: None)):
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

    def _hear(self, scene: Scene, first: int, frames: int) -> Tensor:
        """Audio tokens (1, frames, tokens, width) of frames that may lie before or after the sound."""
        index = torch.arange(first, first + frames).clamp(0, len(scene.features) - 1)
        features = scene.features[None, index]
        tokens: Tensor = features if self.sound_projection is None else self.sound_projection(features)
        return tokens.to(self.backbone.dtype)

    def _flow_segments(
        self, scene: Scene, plan: ClipPlan, settings: Settings, callback: Callback
    ) -> Iterator[Motion]:
        """Mini's way: earlier frames are clean frames of the same window, the head has numbers of its own."""
        assert self.whitening is not None
        family, known = self.family, self.family.motion_frames
        shape = (1, known, family.latent_channels, family.latent_size, family.latent_size)
        earlier, state = torch.zeros(shape), HeadState.at_rest(1, known)
        for index, segment in enumerate(plan.segments):
            generator = torch.Generator().manual_seed(clip_seed(settings.seed, index))
            noise = sampling.frame_noise((1, segment.length, *shape[2:]), family.noise_correlation, generator)
            numbers = torch.randn(1, self.whitening.numbers, generator=generator)
            predict = self._flow_predict(scene, segment, earlier, state, settings, first=index == 0)
            clip = sampling.flow(
                FlowClip(noise, numbers),
                predict,
                settings.steps or family.steps,
                partial(callback, segment.start),
            )
            pose, lids, state = self.whitening.decode(clip.numbers, scene.speed.cpu(), state)
            earlier = clip.latents[:, -known:]
            shown = segment.shown
            yield Motion(clip.latents[0, :shown], pose[0, :shown], lids[0, :shown])

    def _flow_predict(
        self,
        scene: Scene,
        segment: Segment,
        earlier: Tensor,
        state: HeadState,
        settings: Settings,
        first: bool,
    ) -> sampling.FlowPredict:
        assert self.whitening is not None
        whitening, known = self.whitening, self.family.motion_frames
        device, dtype = self.backbone.device, self.backbone.dtype
        tokens = self._hear(scene, segment.start - known, known + segment.length)
        audio = self.backbone.listen(tokens)
        pose = state.pose / (whitening.kappa * scene.speed.cpu())[:, None]
        seen = torch.tensor([not first])
        guidance = self.family.guidance if settings.guidance is None else settings.guidance

        def say(clip: FlowClip, step: FlowStep, heard: bool) -> FlowClip:
            times = torch.full((1, known + segment.length), step.t)
            times[:, :known] = float(first)
            head = sampling.head_input(whitening, clip.numbers, pose, state.known_lids, seen)
            conditions = Conditions(
                reference=scene.conditions.reference,
                audio=audio if heard else None,
                heard=tokens if heard else None,
                speed=scene.speed.to(dtype),
                head=head.to(device, dtype),
            )
            noisy = torch.cat([earlier, clip.latents], dim=1).to(device, dtype)
            said = self.backbone(noisy, times.to(device), conditions)
            assert said.head is not None
            v = whitening.gather(said.head.pose[:, known:].float().cpu(), said.head.blinks.float().cpu())
            return FlowClip(said.sample[:, known:].float().cpu(), v)

        def predict(clip: FlowClip, step: FlowStep) -> FlowClip:
            with_sound = say(clip, step, True)
            if guidance == 1:
                return with_sound
            without = say(clip, step, False)
            return FlowClip(
                sampling.guided(with_sound.latents, without.latents, guidance),
                sampling.guided(with_sound.numbers, without.numbers, self.family.head_guidance),
            )

        return predict

    def _ddim_segments(
        self, scene: Scene, plan: ClipPlan, settings: Settings, callback: Callback
    ) -> Iterator[Motion]:
        """Stable Diffusion's way: v-predictions; clips carry motion frames, or windows blend inside each step."""
        family, levels = self.family, sampling.noise_levels()
        shape = (family.latent_channels, family.latent_size, family.latent_size)
        earlier: Tensor | None = None
        for index, segment in enumerate(plan.segments):
            generator = torch.Generator().manual_seed(clip_seed(settings.seed, index))
            noise = torch.randn(1, segment.length, *shape, generator=generator)
            if family.noise_limit is not None:
                noise = noise.clamp(-family.noise_limit, family.noise_limit)
            predict = self._ddim_predict(scene, segment, self._motion(earlier), settings)
            latents = sampling.ddim(
                noise,
                predict,
                settings.steps or family.steps,
                levels,
                partial(callback, segment.start),
            )
            if family.motion_frames:
                earlier = latents[0, -family.motion_frames :]
            yield Motion(latents[0, : segment.shown])

    def _motion(self, earlier: Tensor | None) -> tuple[Tensor, ...] | None:
        """EMO, section 3.2: earlier frames pass ReferenceNet; their features join the temporal layers. First: zeros."""
        family = self.family
        if family.motion != "reference":
            return None
        if earlier is None:
            earlier = torch.zeros(
                family.motion_frames, family.latent_channels, family.latent_size, family.latent_size
            )
        features = self.reference_net.look(earlier.to(self.backbone.device, self.backbone.dtype))
        return pictures(features)

    def _ddim_predict(
        self, scene: Scene, segment: Segment, motion: tuple[Tensor, ...] | None, settings: Settings
    ) -> sampling.Predict:
        family, device, dtype = self.family, self.backbone.device, self.backbone.dtype
        guidance = family.guidance if settings.guidance is None else settings.guidance
        speeds = None
        if self.speed_layers is not None:
            speeds = self.speed_layers(scene.speed[:, :1].expand(-1, family.window)).to(dtype)
        tokens = self._hear(scene, segment.start, segment.length)
        silent = Conditions(motion=motion, speed=speeds)

        def say(latents: Tensor, window: tuple[int, ...], t: Tensor) -> Tensor:
            noisy, times = latents.to(device, dtype), t[None].to(device)
            frames = list(window)
            audio = self.backbone.listen(tokens[:, frames])
            speed = None if speeds is None else speeds[:, : len(frames)]
            full = Conditions(
                reference=scene.conditions.reference,
                face=scene.conditions.face,
                audio=audio,
                motion=motion,
                speed=speed,
            )
            with_sound = self.backbone(noisy, times, full).sample.float().cpu()
            if guidance == 1:
                return with_sound
            without = Conditions(motion=silent.motion, speed=speed)
            return sampling.guided(with_sound, self.backbone(noisy, times, without).sample.float().cpu(), guidance)

        def predict(latents: Tensor, t: Tensor) -> Tensor:
            frames = latents.shape[1]
            if family.chaining == "carry":
                return say(latents, tuple(range(frames)), t)
            shift = int(1000 - float(t)) % max(family.window - family.overlap, 1)
            windows = list(clips.windows(frames, family.window, family.overlap, shift))
            return sampling.blended(latents, windows, lambda part, window: say(part, window, t))

        return predict


@dataclass(frozen=True)
class Scene:
    """What stays the same for all segments of one video."""

    conditions: Conditions
    features: Tensor
    speed: Tensor


def clip_seed(seed: int, index: int) -> int:
    """The seed of a segment's noise: a segment's frames do not depend on how the others were made."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def pictures(features: Reference) -> tuple[Tensor, ...]:
    """ReferenceNet's features of n frames as (1, n, channels, h, w) each, for the temporal layers."""
    shaped = []
    for hidden in features.hidden:
        side = round(hidden.shape[1] ** 0.5)
        shaped.append(hidden.transpose(1, 2).unflatten(2, (side, side))[None])
    return tuple(shaped)
