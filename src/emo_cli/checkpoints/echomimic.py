"""EchoMimic's published weights (Chen et al. 2024), opened into our own networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from emo_cli.checkpoints.keymap import Keymap, fill, merged, read_weights, refuse_strangers
from emo_cli.checkpoints.sizes import Divisions, unet_sizes, width_of
from emo_cli.errors import IncompatibleCheckpoint, WeightsError
from emo_cli.family import Family
from emo_cli.networks.codec import PictureCodec
from emo_cli.networks.conditions import FaceLocator
from emo_cli.networks.unet import UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.sound.whisper import WhisperHearing
from emo_cli.stored import read_json

WHISPER = "audio_processor/whisper_tiny.pt"
AUTOENCODER = "sd-vae-ft-mse"
BASE_CONFIG = "sd-image-variations-diffusers/unet/config.json"

UNET_KEYS = Keymap(unused=(r".*\.pos_encoder\.pe",))  # sinusoids, computed here
WHISPER_KEYS = Keymap(
    renames=(
        (r"^encoder\.positional_embedding$", "encoder.embed_positions.weight"),
        (r"\.blocks\.(\d+)\.", r".layers.\1."),
        (r"\.attn\.(query|key|value|out)\.", r".self_attn.\1_proj."),
        (r"\.query_proj\.", ".q_proj."),
        (r"\.key_proj\.", ".k_proj."),
        (r"\.value_proj\.", ".v_proj."),
        (r"\.attn_ln\.", ".self_attn_layer_norm."),
        (r"\.mlp_ln\.", ".final_layer_norm."),
        (r"\.mlp\.0\.", ".fc1."),
        (r"\.mlp\.2\.", ".fc2."),
    ),
    unused=(r"decoder\..*", r"encoder\.ln_post\..*"),
)
AUTOENCODER_KEYS = Keymap(  # attention had other names when the file was written
    renames=(
        (r"(\.mid_block\.attentions\.\d+)\.query\.", r"\1.to_q."),
        (r"(\.mid_block\.attentions\.\d+)\.key\.", r"\1.to_k."),
        (r"(\.mid_block\.attentions\.\d+)\.value\.", r"\1.to_v."),
        (r"(\.mid_block\.attentions\.\d+)\.proj_attn\.", r"\1.to_out.0."),
    )
)
AUDIO_SCALE = 3.0  # of the sound's attention: a default in EchoMimic's code that its weights were trained with

FAMILY = Family(
    name="echomimic",
    fps=24.0,
    size=512,
    window=12,
    overlap=3,
    window_shift=2,
    longest=240,
    motion_frames=0,
    motion="none",
    chaining="blend",
    schedule="ddim",
    steps=30,
    guidance=2.5,
    noise_limit=1.5,
    latent_size=64,
    latent_channels=4,
    face_input="rectangle",
    crop="face",
    controls=("steps", "guidance", "lips", "region"),
)
FEW_STEPS = {"steps": 6, "guidance": 1.0}
POSE = {
    "noise_limit": None,
    "window_shift": 3,
    "face_input": "landmarks",
    "controls": ("steps", "guidance", "lips", "pose"),
}


@dataclass(frozen=True)
class Variant:
    """One of the published sets of weights: its files, and how it is sampled."""

    family: Family
    backbone: str
    motion: str
    reference: str
    locator: str
    locator_channels: int

    @property
    def files(self) -> tuple[str, ...]:
        """What must lie in the folder, besides the autoencoder."""
        return (self.backbone, self.motion, self.reference, self.locator, WHISPER)

    def missing(self, folder: Path) -> list[str]:
        """What does not lie in the folder."""
        missing = [file for file in self.files if not (folder / file).is_file()]
        return missing if (folder / AUTOENCODER).is_dir() else [*missing, AUTOENCODER]


def _variant(ending: str, **changes: object) -> Variant:
    pose = ending.startswith("_pose")
    return Variant(
        family=FAMILY.with_changes(name="echomimic" + ending.replace("_", "-"), **changes),
        backbone=f"denoising_unet{ending}.pth",
        motion=f"motion_module{ending}.pth",
        reference="reference_unet_pose.pth" if pose else "reference_unet.pth",
        locator="face_locator_pose.pth" if pose else "face_locator.pth",
        locator_channels=3 if pose else 1,
    )


VARIANTS = {
    variant.family.name: variant
    for variant in (
        _variant(""),
        _variant("_acc", **FEW_STEPS),
        _variant("_pose", **POSE),
        _variant("_pose_acc", **POSE, **FEW_STEPS),
    )
}


def is_echomimic(folder: Path) -> bool:
    """Whether a folder holds at least one Backbone of EchoMimic."""
    return any((folder / variant.backbone).is_file() for variant in VARIANTS.values())


def choose(folder: Path, name: str | None = None) -> Variant:
    """The variant of that name, or else the first whose files are all there; WeightsError names what is missing."""
    if name is not None and name in VARIANTS:
        chosen = [VARIANTS[name]]
    else:
        chosen = [variant for variant in VARIANTS.values() if (folder / variant.backbone).is_file()]
    for variant in chosen:
        if not variant.missing(folder):
            return variant
    if not chosen:
        raise WeightsError(f"{folder} holds no weights of EchoMimic. Give the folder of its published files.")
    missing = ", ".join(chosen[0].missing(folder))
    raise WeightsError(f"{folder} lacks {missing} of {chosen[0].family.name}. Fetch the missing files.")


def open_folder(folder: Path, name: str | None = None) -> EmoPipeline:
    """Open a folder with the published files.

    Sizes are read off the weights. Heads and groups are those of Stable Diffusion, or of the base model's configuration
    where it lies beside them. Raises WeightsError or IncompatibleCheckpoint.
    """
    variant = choose(folder, name)
    divisions = Divisions.beside(folder / BASE_CONFIG)
    body = backbone(folder / variant.backbone, folder / variant.motion, divisions)
    encoder = hearing(folder / WHISPER)
    if body.config["cross_width"] != encoder.width:
        raise IncompatibleCheckpoint(
            f"{folder / variant.backbone} listens to {body.config['cross_width']} numbers per token, but {WHISPER} "
            f"gives {encoder.width}. Choose matching weights."
        )
    return EmoPipeline(
        family=variant.family,
        reference_net=reference_net(folder / variant.reference, divisions),
        backbone=body,
        codec=autoencoder(folder / AUTOENCODER),
        sound_encoder=encoder,
        face_locator=face_locator(folder / variant.locator, variant.locator_channels),
    )


def reference_net(path: Path, divisions: Divisions) -> UNet:
    """ReferenceNet of a file."""
    weights = read_weights(path)
    refuse_strangers(weights, "EchoMimic", path)
    if any(".attn2." in name for name in weights):
        raise IncompatibleCheckpoint(f"{path} holds a Backbone, not a ReferenceNet. Choose the right file.")
    sizes = unet_sizes(weights, divisions, path)
    with torch.device("meta"):
        network = UNet(**sizes)
    return fill(network, weights, path, UNET_KEYS)


def backbone(spatial: Path, temporal: Path, divisions: Divisions) -> UNet:
    """The Backbone of two files: all but the temporal modules, and these."""
    return joined_backbone(read_weights(spatial), read_weights(temporal), divisions, spatial)


def joined_backbone(
    spatial: Mapping[str, Tensor], temporal: Mapping[str, Tensor], divisions: Divisions, source: Path | str
) -> UNet:
    """The Backbone of the tensors of both files."""
    for part in (spatial, temporal):
        refuse_strangers(part, "EchoMimic", source)
    if not any(".attn2." in name for name in spatial):
        raise IncompatibleCheckpoint(f"{source} holds no Backbone: no layer in it listens. Choose the right file.")
    weights = merged(spatial, temporal, source)
    sizes = unet_sizes(weights, divisions, source)
    with torch.device("meta"):
        network = UNet(
            cross="audio",
            cross_width=width_of(weights, ".attn2.to_k.weight", 1, source),
            audio_scale=AUDIO_SCALE,
            temporal_heads=divisions.heads,
            **sizes,
        )
    return fill(network, weights, source, UNET_KEYS)


def face_locator(path: Path, channels: int) -> FaceLocator:
    """The face locator of a file; IncompatibleCheckpoint when it is the one of another variant."""
    weights = read_weights(path)
    stored = width_of(weights, "conv_in.weight", 1, path)
    if stored != channels:
        raise IncompatibleCheckpoint(
            f"{path} takes pictures of {stored} channels, not {channels}: it is the face locator of another variant."
            " Choose the right file."
        )
    blocks = sorted(int(name.split(".")[1]) for name in weights if name.startswith("blocks.") and "weight" in name)
    wide = [weights[f"blocks.{index}.weight"].shape[0] for index in blocks if index % 2]
    with torch.device("meta"):
        network = FaceLocator(
            channels,
            width_of(weights, "conv_out.weight", 0, path),
            (width_of(weights, "conv_in.weight", 0, path), *wide),
        )
    return fill(network, weights, path)


def hearing(path: Path) -> WhisperHearing:
    """The encoder of one of OpenAI's Whisper files."""
    return whisper_encoder(read_weights(path, inside="model_state_dict"), path)


def whisper_encoder(weights: Mapping[str, Tensor], source: Path | str) -> WhisperHearing:
    """The encoder of tensors under OpenAI's names. A head has 64 numbers in every size of Whisper."""
    refuse_strangers(weights, "Whisper", source)
    width = width_of(weights, "encoder.conv1.weight", 0, source)
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.blocks.")}
    with torch.device("meta"):
        network = WhisperHearing(
            width=width,
            heads=max(width // 64, 1),
            layers=len(layers),
            mels=width_of(weights, "encoder.conv1.weight", 1, source),
            positions=width_of(weights, "encoder.positional_embedding", 0, source),
        )
    return fill(network, weights, source, WHISPER_KEYS)


def autoencoder(folder: Path) -> PictureCodec:
    """Stable Diffusion's autoencoder from a folder in diffusers' layout, every key accounted for."""
    from diffusers import AutoencoderKL

    names = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise WeightsError(f"{folder} lacks {names[0]}. Fetch the missing file.")
    config = read_json(folder / "config.json")
    try:
        with torch.device("meta"):
            network = AutoencoderKL.from_config(config)
    except (TypeError, ValueError) as problem:
        raise WeightsError(f"{folder} describes no autoencoder ({problem}). Fetch it again.") from problem
    return PictureCodec(fill(network, read_weights(found), found, AUTOENCODER_KEYS))
