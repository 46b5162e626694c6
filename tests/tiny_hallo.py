"""Hallo's published layout with small random networks: what its users have on disk, a thousand times smaller."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor, nn

from emo_cli.checkpoints import hallo
from emo_cli.networks.conditions import FaceLocator, IdentityProjection, WindowProjection
from emo_cli.networks.temporal import positions
from emo_cli.networks.unet import UNet
from emo_cli.sound.wav2vec import Wav2VecEncoder

SIZES = {"widths": (32, 32, 64, 64), "layers": 1, "cross": "identity", "cross_width": 24}
HEARD, LAYERS = 16, 2  # width and layers of the sound encoder


def official_folder(folder: Path) -> Path:
    """Write net.pth, the autoencoder and wav2vec as they are published."""
    torch.manual_seed(0)
    _save(folder / hallo.NETWORKS, networks())
    hearing = Wav2VecEncoder(HEARD, LAYERS, 1, 32, (8,) * 7, place_kernel=4, place_groups=2)
    renamed = {
        re.sub(r"parametrizations\.weight\.original([01])", lambda found: f"weight_{'gv'[int(found[1])]}", name): value
        for name, value in hearing.state_dict().items()
    }
    others = {"lm_head.weight": torch.zeros(32, HEARD), "wav2vec2.masked_spec_embed": torch.zeros(HEARD)}
    _save(folder / hallo.HEARING, {f"wav2vec2.{name}": value for name, value in renamed.items()} | others)
    autoencoder().save_pretrained(folder / hallo.AUTOENCODER)
    return folder


def autoencoder() -> AutoencoderKL:
    """Stable Diffusion's autoencoder with few channels."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
    )


def networks() -> dict[str, Tensor]:
    """The five networks under their published names, with the parts that are stored but never run."""
    everywhere = UNet(audio_layers="hierarchical", audio_width=20, temporal=(True,) * 4, **SIZES)
    stored: dict[str, nn.Module] = {
        "reference_unet": UNet(out_channels=None, **SIZES),
        "denoising_unet": everywhere,
        "face_locator": FaceLocator(3, 32, (4, 4, 8, 8)),
        "imageproj": IdentityProjection(features=10, tokens=4, width=24),
        "audioproj": WindowProjection(5, LAYERS, HEARD, hidden=12, tokens=3, width=20),
    }
    weights = {
        f"{part}.{name}": value for part, network in stored.items() for name, value in network.state_dict().items()
    }
    for parameter in weights.values():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.1)  # layers that training starts at zero
    tables = {
        name.replace("to_q.weight", "pos_encoder.pe"): positions(32, value.shape[1])[None]
        for name, value in weights.items()
        if "attention_blocks" in name and name.endswith("to_q.weight")
    }
    return weights | tables


def _save(path: Path, weights: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in weights.items()}, path)
    else:
        torch.save(weights, path)
