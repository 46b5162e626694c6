"""What can be trained on real video: EMO as in the paper, the same at toy size, and models that exist already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from emo_cli.checkpoints import hallo, open_model, stable_diffusion
from emo_cli.checkpoints.echomimic import autoencoder
from emo_cli.checkpoints.keymap import read_weights
from emo_cli.errors import UsageError
from emo_cli.family import Family
from emo_cli.networks.blocks import BlockTransform
from emo_cli.networks.codec import PictureCodec
from emo_cli.networks.conditions import FaceLocator, SoundProjection, SpeedLayers, WindowProjection
from emo_cli.networks.unet import UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.sound.encoders import MiniHearing
from emo_cli.sound.wav2vec import REACH
from emo_cli.training.emo.stages import STAGES, Stage
from emo_cli.weights import locate

HEARING = Path(hallo.HEARING).name  # the file of a wav2vec 2.0 in transformers' layout


@dataclass(frozen=True)
class Sources:
    """Where a model begins: the folder of Stable Diffusion 1.5, AnimateDiff's file, the folders of wav2vec 2.0 and of
    an autoencoder, in diffusers' and transformers' layouts; start: a model to go on from, by name or folder."""

    base: Path | None = None
    temporal: Path | None = None
    hearing: Path | None = None
    autoencoder: Path | None = None
    start: str | None = None


@dataclass(frozen=True)
class Preset:
    """How one kind of model is made and trained.

    begin: the untrained model; stages: in order; weighting: gamma of min-SNR (objective.py); drop_all, drop_sound,
    drop_speed: shares of batches without any condition, without sound, without speed, for guidance and for a model that
    stands on its own feet; first_clips: share of clips without earlier frames; average: of the weights, per step;
    warmup: steps until the rate is reached; recompute: give up memory on the way, and compute twice.
    """

    begin: Callable[[Sources], EmoPipeline]
    stages: tuple[Stage, ...] = STAGES
    weighting: float = 5.0
    drop_all: float = 0.1
    drop_sound: float = 0.1
    drop_speed: float = 0.1
    first_clips: float = 0.25
    average: float = 0.9999
    warmup: int = 500
    recompute: bool = True


EMO = Family(
    name="emo",
    fps=30.0,
    size=512,
    window=12,
    motion_frames=4,
    motion="reference",
    chaining="carry",
    carried="latents",
    schedule="ddim",
    steps=40,
    guidance=3.5,
    latent_size=64,
    latent_channels=4,
    face_input="rectangle",
    controls=("steps", "guidance", "region"),
)
"""EMO section 3; the guidance is Hallo's, since the paper gives none."""

TINY = replace(EMO, name="emo-tiny", fps=25.0, size=64, steps=6, guidance=1.5, latent_size=8, latent_channels=16)
TINY_WIDTHS: dict[str, Any] = {
    "widths": (16, 32), "layers": 1, "heads": 4, "groups": 8, "attention": (True, True), "feed_forward": 2,
}  # fmt: skip
TINY_TOKENS = 48  # width of an audio token


def _emo(sources: Sources) -> EmoPipeline:
    """The paper's sizes and beginnings. Raises UsageError when something to begin with is not named."""
    base, hearing = sources.base, sources.hearing
    if base is None or hearing is None:
        raise UsageError(
            "The preset emo begins with Stable Diffusion 1.5 and wav2vec 2.0: give their folders with --base and "
            "--hearing, or try --preset emo-tiny, which needs neither."
        )
    codec = autoencoder(sources.autoencoder or base / "vae")
    reference_net = stable_diffusion.reference_net(base)
    backbone = stable_diffusion.backbone(base)
    if sources.temporal is not None:
        stable_diffusion.begin_temporal(backbone, sources.temporal)
    file = hearing if hearing.is_file() else hearing / HEARING
    encoder = hallo.hearing(read_weights(file), file, clip=EMO.window)
    layers = encoder.tokens // (2 * REACH + 1)
    projection = WindowProjection(layers=layers, features=encoder.width, width=backbone.config["audio_width"])
    return EmoPipeline(
        family=EMO,
        reference_net=reference_net,
        backbone=backbone,
        codec=codec,
        sound_encoder=encoder,
        sound_projection=projection,
        face_locator=FaceLocator(1, backbone.config["widths"][0]),
    )


def _tiny(sources: Sources) -> EmoPipeline:
    """EMO at toy size, from nothing; it hears with mini's encoder, so that nothing has to be fetched."""
    channels = TINY.latent_channels
    encoder = MiniHearing.from_pretrained(locate("mini") / "sound_encoder")
    backbone = UNet(
        channels, channels, cross="reference", audio_layers="plain", audio_width=TINY_TOKENS, temporal=(True, True),
        temporal_heads=4, temporal_groups=8, speed="attention", speed_width=32, **TINY_WIDTHS,
    )  # fmt: skip
    stable_diffusion.quieten(backbone)
    return EmoPipeline(
        family=TINY,
        reference_net=UNet(channels, None, **TINY_WIDTHS),
        backbone=backbone,
        codec=PictureCodec(BlockTransform().eval()),
        sound_encoder=encoder,
        sound_projection=SoundProjection(encoder.tokens, encoder.width, TINY_TOKENS),
        face_locator=FaceLocator(1, TINY_WIDTHS["widths"][0], (8, 16, 16, 32)),
    )


def _existing(sources: Sources) -> EmoPipeline:
    """A model that exists: one by name, or a folder of any kind that `emo animate` opens."""
    assert sources.start is not None
    folder = locate(sources.start)
    pipeline = open_model(folder, sources.start)
    if pipeline.family.schedule != "ddim":
        raise UsageError(f"{sources.start} is not of EMO's kind; --preset mini trains what mini is.")
    return pipeline


def _hurried(stage: Stage) -> Stage:
    return replace(stage, batch=8 if stage.name == "image" else 4, rate=1e-3, steps=2000)


PRESETS = {
    "emo": Preset(_emo),
    "emo-tiny": Preset(_tiny, tuple(map(_hurried, STAGES)), average=0.998, warmup=20, recompute=False),
    "tune": Preset(_existing),
}


def stages_for(preset: Preset, backbone: UNet) -> tuple[Stage, ...]:
    """The stages that a model has the parts for: without speed layers there is no third one."""
    return tuple(stage for stage in preset.stages if backbone.config["speed"] == "attention" or not stage.paced)


def with_parts_of(stage: Stage, pipeline: EmoPipeline, seed: int) -> EmoPipeline:
    """The model with new speed layers, where a stage brings them in."""
    if not stage.paced or pipeline.speed_layers is not None:
        return pipeline
    torch.manual_seed(seed)
    return replace(pipeline, speed_layers=SpeedLayers(pipeline.backbone.config["speed_width"]))


def seeded(preset: Preset, sources: Sources, seed: int) -> EmoPipeline:
    """The untrained model, the same for the same seed."""
    torch.manual_seed(seed)
    return preset.begin(sources)
