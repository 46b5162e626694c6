"""A portrait and a sound become frames: the networks of one model, run segment after segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from emo_cli import clips, device, landmark_images
from emo_cli.ahead import ahead
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.whitening import HeadWhitening
from emo_cli.clips import ClipPlan
from emo_cli.errors import WeightsError
from emo_cli.family import Family
from emo_cli.hallo_masks import FACE_ROOM, HalloRegions, find_regions
from emo_cli.identity import FaceRecogniser
from emo_cli.landmark_images import Drawings
from emo_cli.networks.audio import RegionMasks
from emo_cli.networks.blocks import BlockTransform
from emo_cli.networks.codec import Canvas, Codec, Motion, PictureCodec
from emo_cli.networks.conditions import (
    FaceLocator,
    IdentityProjection,
    SoundProjection,
    SpeedLayers,
    WindowProjection,
)
from emo_cli.networks.unet import Reference, UNet
from emo_cli.regions import face_rectangle
from emo_cli.segments.blend import blended_segments
from emo_cli.segments.carry import carried_segments
from emo_cli.segments.finite import finite_segments
from emo_cli.segments.flow import flow_segments
from emo_cli.segments.made import Diary, Made
from emo_cli.segments.room import Room, patient_frames, patient_segments
from emo_cli.segments.scene import Callback, Identity, Scene, Settings
from emo_cli.sound.encoders import MiniHearing, SoundEncoder
from emo_cli.sound.wav2vec import Wav2VecEncoder
from emo_cli.sound.whisper import WhisperHearing
from emo_cli.stored import CONFIG, StoredNetwork, read_json
from emo_cli.tape import Features

if TYPE_CHECKING:
    from emo_cli.portrait import Portrait
    from emo_cli.speech import Speech

NETWORKS: dict[str, type[StoredNetwork]] = {
    kind.__name__: kind
    for kind in (
        UNet, FlowCodec, HeadWhitening, MiniHearing, SoundProjection, WindowProjection, IdentityProjection, FaceLocator,
        SpeedLayers, Wav2VecEncoder, WhisperHearing,
    )
}  # fmt: skip

WAYS: dict[tuple[str, str], Callable[[Scene, ClipPlan, Callback, Made | None], Iterator[Made]]] = {
    ("flow", "carry"): flow_segments,
    ("ddim", "carry"): carried_segments,
    ("ddim", "blend"): blended_segments,
}


BLACK, DARK = 1 / 255, 8 / 255
"""Mean lightness, 0..1: a frame below the first is black, a photo below the second may have black frames."""


def unheard(sentence: str) -> None:
    """For callers who want to hear no warnings."""


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
    recogniser: FaceRecogniser | None = None
    speed_layers: SpeedLayers | None = None

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Open a model folder written by save_pretrained. Raises WeightsError when something is missing or broken."""
        folder = Path(folder)
        family = Family.load(folder)
        parts: dict[str, Any] = {}
        for part in sorted(path for path in folder.iterdir() if (path / CONFIG).is_file()):
            kind = read_json(part / CONFIG).get("_class_name")
            if kind in ("AutoencoderKL", BlockTransform.__name__):
                parts[part.name] = PictureCodec.from_pretrained(part)
            elif kind == FaceRecogniser.__name__:
                parts[part.name] = FaceRecogniser.from_pretrained(part)
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

    def to(
        self, device: torch.device | str, dtype: torch.dtype = torch.float32, stay: Sequence[nn.Module] = ()
    ) -> Self:
        """Move to a device. `dtype` is for the Backbone and ReferenceNet; small parts and tables stay float32.

        stay: parts that are left as they are.
        """
        place = torch.device(device)
        moving = {name: part for name, part in self.parts().items() if not any(part is one for one in stay)}
        for name, part in moving.items():
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
        diary: Diary | None = None,
        warn: Callable[[str], None] = unheard,
        room: Room | None = None,
    ) -> Iterator[np.ndarray]:
        """Frames, uint8 (H, W, 3), segment by segment; memory does not grow with the sound.

        diary: keeps finished segments, and tells which a run before this one has kept; warn: hears of a change of
        precision; room: what is done where the memory runs out, without it nothing.
        """
        settings = settings or Settings()
        room = room or self._room(settings)
        canvas = self.codec.open(portrait)
        draw = partial(self.codec.decode, canvas, strength=settings.strength)
        # The next clip is denoised while this one is drawn and encoded.
        for motion in ahead(self.denoised(portrait, speech, settings, canvas, callback, diary, warn, room=room)):
            yield from patient_frames(draw, motion, room, warn)

    def denoised(
        self,
        portrait: Portrait,
        speech: Speech,
        settings: Settings,
        canvas: Canvas,
        callback: Callback | None = None,
        diary: Diary | None = None,
        warn: Callable[[str], None] = unheard,
        seen: Reference | None = None,
        room: Room | None = None,
    ) -> Iterator[Motion]:
        """What the codec draws, segment by segment: all that this model looks at besides the sound, found here.

        seen: what `look` gave, for callers who have asked it already.
        """
        regions = self._regions(portrait, settings)
        return self.motions(
            canvas,
            self._mask(portrait, settings) if regions is None else regions.face,
            speech.features,
            settings,
            callback,
            frames=self._wanted(speech),
            drawings=self._drawings(portrait, settings),
            masks=None if regions is None else regions.masks,
            embedding=self._embedding(portrait),
            diary=diary,
            warn=warn,
            seen=seen,
            room=room,
        )

    @torch.no_grad()
    def look(self, portrait: Portrait, canvas: Canvas) -> Reference:
        """What ReferenceNet sees of a portrait, once per video."""
        return self._look(canvas, self._identity(self._embedding(portrait)))

    @torch.no_grad()
    def motions(
        self,
        canvas: Canvas,
        mask: np.ndarray,
        features: Features,
        settings: Settings,
        callback: Callback | None = None,
        *,
        frames: int | None = None,
        masks: RegionMasks | None = None,
        embedding: Tensor | None = None,
        drawings: Drawings | None = None,
        diary: Diary | None = None,
        warn: Callable[[str], None] = unheard,
        seen: Reference | None = None,
        room: Room | None = None,
    ) -> Iterator[Motion]:
        """Motion per segment for features (frames or more, tokens, width); the codec draws it.

        frames: how many to make, without it one per row of features; masks: regions of Hallo's audio layers; embedding:
        (1, width) of the person's face, without it the one that stands for nobody; drawings: what the face locator sees
        in the place of the mask, frame by frame; room: goes before settings.at_once.
        """
        within = room or self._room(settings)
        plan = clips.plan(frames or len(features), self.family)
        make = WAYS[self.family.schedule, self.family.chaining]
        last = None
        for last in () if diary is None else diary.kept():
            if diary is not None and last.index >= diary.first:
                yield last.motion

        def segments(before: Made | None) -> Iterator[Made]:
            now = replace(settings, at_once=within.at_once)
            scene = self._scene(canvas, mask, features, now, masks, embedding, drawings, seen)
            return make(scene, plan, callback or (lambda frames, step: None), before)

        def patient(before: Made | None) -> Iterator[Made]:
            return patient_segments(segments, before, within, warn)

        for made in finite_segments(patient, last, partial(self._widen, warn, within), partial(self._is_black, canvas)):
            if diary is not None:
                diary.keep(made)
            yield made.motion

    def _room(self, settings: Settings) -> Room:
        """What goes through at once where nobody has planned it."""
        return Room(self.backbone.device, settings.at_once.within(self.family))

    def _scene(
        self,
        canvas: Canvas,
        mask: np.ndarray,
        features: Features,
        settings: Settings,
        masks: RegionMasks | None,
        embedding: Tensor | None,
        drawings: Drawings | None,
        seen: Reference | None,
    ) -> Scene:
        """All that stays the same for a video's segments, in the networks' present precision."""
        place, dtype = self.backbone.device, self.backbone.dtype
        identity, strength = self._identity(embedding), settings.strength
        known = seen is not None and seen.hidden[0].dtype == dtype
        reference = seen if seen is not None and known else self._look(canvas, identity)
        return Scene(
            family=self.family,
            settings=settings,
            backbone=self.backbone,
            reference_net=self.reference_net,
            canvas=canvas,
            reference=self.backbone.remember(reference.rounded() if self.family.exact else reference),
            features=features,
            face=None if drawings else self._face(mask),
            moving_face=drawings and partial(self._drawn_face, drawings),
            sound_projection=self.sound_projection,
            whitening=self.whitening,
            speed_layers=self.speed_layers,
            masks=masks and masks.to(place, dtype).scaled(strength.motion, strength.expression, strength.lips),
            identity=identity,
            codec=self.codec if isinstance(self.codec, PictureCodec) else None,
        )

    def _look(self, canvas: Canvas, identity: Identity | None) -> Reference:
        network = self.reference_net
        person = None if identity is None else network.recognise(identity.person)
        return network.look(canvas.reference.to(network.device, network.dtype), person)

    def _is_black(self, canvas: Canvas, made: Made) -> bool:
        """Whether a segment's last frame, drawn to see it, is black; asked only where another precision could help."""
        if self.backbone.dtype == torch.float32 or not isinstance(self.codec, PictureCodec):
            return False
        if float(canvas.sheet.mean() + 1) / 2 < DARK:
            return False
        return float(self.codec.pixels(made.motion.latents[-1:]).mean()) < BLACK

    def _widen(self, warn: Callable[[str], None], room: Room) -> bool:
        """The networks in a precision with more room for large numbers; False when they are in float32 already."""
        narrow = self.backbone.dtype
        wider = device.wider(narrow, self.backbone.device)
        if wider is None:
            return False
        with room.turn:
            for network in (self.backbone, self.reference_net):  # the codec, in another thread, guards itself
                network.to(wider)  # where its weights lie they stay: offloaded ones wait in main memory
        before, now = (str(dtype).removeprefix("torch.") for dtype in (narrow, wider))
        warn(f"In {before} the model's numbers left its range or turned black; the rest is made in {now}.")
        return True

    def _face(self, mask: np.ndarray) -> Tensor | None:
        if self.face_locator is None:
            return None
        region = torch.from_numpy(mask)[None, None].to(self.face_locator.device)
        channels = self.face_locator.config["mask_channels"]
        located: Tensor = self.face_locator(region.expand(-1, channels, -1, -1))
        return located.to(self.backbone.dtype)

    def _drawn_face(self, drawings: Drawings, places: Sequence[int]) -> Tensor:
        assert self.face_locator is not None
        pictures = torch.from_numpy(drawings(places)).to(self.face_locator.device)
        located: Tensor = self.face_locator(pictures)
        return located.to(self.backbone.dtype)

    def plan(self, speech: Speech) -> ClipPlan:
        """How `frames` cuts the video of a sound into segments."""
        return clips.plan(self._wanted(speech), self.family)

    def _wanted(self, speech: Speech) -> int:
        """How many frames are made; with some models more than are heard: their number decides the noise of all."""
        overshoots = self.family.exact and self.family.chaining == "blend"
        return len(speech.features) if overshoots else speech.frames

    def _mask(self, portrait: Portrait, settings: Settings) -> np.ndarray:
        if self.family.face_input != "rectangle":
            return portrait.mask
        size = portrait.image.shape[0]
        return face_rectangle(portrait.photo_face, portrait.crop, size, settings.region, self.family.exact)

    def _drawings(self, portrait: Portrait, settings: Settings) -> Drawings | None:
        if self.family.face_input != "landmarks":
            return None
        followed = portrait.landmarks[None] if settings.driving is None else settings.driving
        return partial(landmark_images.pictures, followed, portrait.image.shape[0])

    def _regions(self, portrait: Portrait, settings: Settings) -> HalloRegions | None:
        if self.backbone.config["audio_layers"] != "hierarchical":
            return None
        height, width = portrait.image.shape[:2]
        room = FACE_ROOM * settings.region
        return find_regions(portrait.landmarks, (height, width), height, self.family.exact, room)

    def _embedding(self, portrait: Portrait) -> Tensor | None:
        known = portrait.identity
        if known is None and self.recogniser is not None and self.recogniser.ready:
            known = self.recogniser(portrait.image, portrait.landmarks)
        return None if known is None else torch.from_numpy(known)[None]

    def _identity(self, embedding: Tensor | None) -> Identity | None:
        """Identity tokens; the zero embedding is one that the weights know."""
        if self.identity_projection is None:
            return None
        zeros = torch.zeros(1, self.identity_projection.config["features"], device=self.identity_projection.device)
        nobody = self.identity_projection(zeros).to(self.backbone.dtype)
        person = nobody if embedding is None else self.identity_projection(embedding.to(zeros)).to(nobody)
        return Identity(person, nobody)
