"""Hallo's published weights, first version (Xu et al. 2024), opened into our own networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from emo_cli.checkpoints.echomimic import AUTOENCODER, autoencoder
from emo_cli.checkpoints.keymap import Keymap, fill, parts, read_weights
from emo_cli.checkpoints.sizes import Divisions, unet_sizes, width_of
from emo_cli.errors import WeightsError
from emo_cli.family import Family
from emo_cli.identity import FaceRecogniser
from emo_cli.networks.conditions import FaceLocator, IdentityProjection, WindowProjection
from emo_cli.networks.unet import UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.sound.wav2vec import REACH, Wav2VecEncoder

NETWORKS = "hallo/net.pth"
HEARING = "wav2vec/wav2vec2-base-960h/model.safetensors"
RECOGNISER = "face_analysis/models/glintr100.onnx"
BASE_CONFIG = "stable-diffusion-v1-5/unet/config.json"
PARTS = ("reference_unet", "denoising_unet", "face_locator", "imageproj", "audioproj")
TEMPORAL_HEADS = 8  # AnimateDiff's, whatever Stable Diffusion's are
HEAD_WIDTH = 64  # of wav2vec 2.0 in every size

BACKBONE_KEYS = Keymap(
    unused=(
        r".*\.pos_encoder\.pe",  # sinusoids, computed here
        r"(down_blocks\.3|up_blocks\.0)\.motion_modules\..*",  # stored, but never run
    )
)
HEARING_KEYS = Keymap(
    renames=(
        (r"^wav2vec2\.", ""),
        (r"\.weight_g$", ".parametrizations.weight.original0"),
        (r"\.weight_v$", ".parametrizations.weight.original1"),
    ),
    unused=(r"lm_head\..*", r"(wav2vec2\.)?masked_spec_embed"),
)

FAMILY = Family(
    name="hallo",
    fps=25.0,
    size=512,
    window=16,
    motion_frames=2,
    motion="reference",
    chaining="carry",
    carried="pictures",
    schedule="ddim",
    steps=40,
    guidance=3.5,
    latent_size=64,
    latent_channels=4,
    controls=("steps", "guidance", "motion", "expression", "lips", "region"),
)


def is_hallo(folder: Path) -> bool:
    """Whether a folder holds the networks of Hallo."""
    return (folder / NETWORKS).is_file()


def open_folder(folder: Path) -> EmoPipeline:
    """Open a folder with the published files.

    Sizes are read off the weights; heads and groups are those of Stable Diffusion, or of the base model's configuration
    where it lies beside them. The face recognition network is optional. Raises WeightsError or IncompatibleCheckpoint.
    """
    missing = [file for file in (NETWORKS, HEARING) if not (folder / file).is_file()]
    missing += [] if (folder / AUTOENCODER).is_dir() else [AUTOENCODER]
    if missing:
        raise WeightsError(f"{folder} lacks {', '.join(missing)} of Hallo. Fetch the missing files.")
    source, divisions = folder / NETWORKS, Divisions.beside(folder / BASE_CONFIG)
    weights = parts(read_weights(source), PARTS, source)
    encoder = hearing(read_weights(folder / HEARING), folder / HEARING)
    audio = weights["audioproj"]
    layers = encoder.tokens // (2 * REACH + 1)
    recogniser = folder / RECOGNISER
    return EmoPipeline(
        family=FAMILY,
        reference_net=reference_net(weights["reference_unet"], divisions, source),
        backbone=backbone(weights["denoising_unet"], divisions, source),
        codec=autoencoder(folder / AUTOENCODER),
        sound_encoder=encoder,
        sound_projection=sound_projection(audio, layers, source),
        face_locator=face_locator(weights["face_locator"], source),
        identity_projection=identity_projection(weights["imageproj"], source),
        recogniser=FaceRecogniser(recogniser) if recogniser.is_file() else None,
    )


def reference_net(weights: Mapping[str, Tensor], divisions: Divisions, source: Path | str) -> UNet:
    """ReferenceNet: its blocks read identity tokens too."""
    sizes = unet_sizes(weights, divisions, source)
    with torch.device("meta"):
        network = UNet(cross="identity", cross_width=width_of(weights, ".attn2.to_k.weight", 1, source), **sizes)
    return fill(network, weights, source)


def backbone(weights: Mapping[str, Tensor], divisions: Divisions, source: Path | str) -> UNet:
    """The Backbone with hierarchical audio attention."""
    used = {name: value for name, value in weights.items() if not BACKBONE_KEYS.drops(name)}
    sizes = unet_sizes(used, divisions, source)
    with torch.device("meta"):
        network = UNet(
            cross="identity",
            cross_width=width_of(used, ".attn2.to_k.weight", 1, source),
            audio_layers="hierarchical",
            audio_width=width_of(used, ".attn2_0.to_k.weight", 1, source),
            temporal_heads=TEMPORAL_HEADS,
            **sizes,
        )
    return fill(network, used, source)


def face_locator(weights: Mapping[str, Tensor], source: Path | str) -> FaceLocator:
    """The face locator, for a rectangle in three equal channels."""
    wide = [weights[name].shape[0] for name in sorted(weights) if name.startswith("blocks.") and "weight" in name][1::2]
    with torch.device("meta"):
        network = FaceLocator(
            width_of(weights, "conv_in.weight", 1, source),
            width_of(weights, "conv_out.weight", 0, source),
            (width_of(weights, "conv_in.weight", 0, source), *wide),
        )
    return fill(network, weights, source)


def identity_projection(weights: Mapping[str, Tensor], source: Path | str) -> IdentityProjection:
    """From a face's numbers to identity tokens."""
    width = width_of(weights, "norm.weight", 0, source)
    tokens = width_of(weights, "proj.weight", 0, source) // width
    with torch.device("meta"):
        network = IdentityProjection(width_of(weights, "proj.weight", 1, source), tokens, width)
    return fill(network, weights, source)


def sound_projection(weights: Mapping[str, Tensor], layers: int, source: Path | str) -> WindowProjection:
    """From windows of wav2vec's `layers` to audio tokens."""
    window, width = 2 * REACH + 1, width_of(weights, "norm.weight", 0, source)
    with torch.device("meta"):
        network = WindowProjection(
            window=window,
            layers=layers,
            features=width_of(weights, "proj1.weight", 1, source) // (window * layers),
            hidden=width_of(weights, "proj1.weight", 0, source),
            tokens=width_of(weights, "proj3.weight", 0, source) // width,
            width=width,
        )
    return fill(network, weights, source)


def hearing(
    weights: Mapping[str, Tensor], source: Path | str, heads: int | None = None, clip: int = FAMILY.window
) -> Wav2VecEncoder:
    """wav2vec 2.0 of tensors under transformers' names. clip: frames that are always heard together."""
    named = HEARING_KEYS.apply(weights, str(source))
    width = width_of(named, "encoder.layer_norm.weight", 0, source)
    convolutions = [named[name] for name in sorted(named) if name.endswith(".conv.weight") and "conv_layers" in name]
    place = ".parametrizations.weight.original1"
    network = Wav2VecEncoder(
        width=width,
        layers=len({name.split(".")[2] for name in named if name.startswith("encoder.layers.")}),
        heads=heads or max(width // HEAD_WIDTH, 1),
        feed_forward=width_of(named, ".feed_forward.intermediate_dense.weight", 0, source),
        widths=tuple(weight.shape[0] for weight in convolutions),
        kernels=tuple(weight.shape[2] for weight in convolutions),
        place_kernel=width_of(named, place, 2, source),
        place_groups=width // width_of(named, place, 1, source),
        clip=clip,
    )
    return fill(network, named, source)
