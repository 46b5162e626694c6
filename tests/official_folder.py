"""Folders as the authors publish them, with the small networks of the parity vectors."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

VECTORS = Path(__file__).parent / "parity" / "echomimic"


def vectors(name: str) -> dict[str, Tensor]:
    """Weights by their official names."""
    return load_file(VECTORS / f"{name}.safetensors")


def small_whisper(width: int = 48, layers: int = 2, positions: int = 100) -> dict[str, Tensor]:
    """An untrained Whisper under OpenAI's names; its last norm and its decoder are there, and are not needed."""
    chance = torch.Generator().manual_seed(0)
    shapes = {
        "encoder.positional_embedding": (positions, width),
        "encoder.conv1.weight": (width, 80, 3),
        "encoder.conv1.bias": (width,),
        "encoder.conv2.weight": (width, width, 3),
        "encoder.conv2.bias": (width,),
        "encoder.ln_post.weight": (width,),
        "encoder.ln_post.bias": (width,),
        "decoder.positional_embedding": (7, width),
    }
    for layer in range(layers):
        block = f"encoder.blocks.{layer}."
        for part in ("query", "key", "value", "out"):
            shapes[f"{block}attn.{part}.weight"] = (width, width)
            if part != "key":
                shapes[f"{block}attn.{part}.bias"] = (width,)
        shapes |= {f"{block}mlp.0.weight": (4 * width, width), f"{block}mlp.0.bias": (4 * width,)}
        shapes |= {f"{block}mlp.2.weight": (width, 4 * width), f"{block}mlp.2.bias": (width,)}
        for norm in ("attn_ln", "mlp_ln"):
            shapes |= {f"{block}{norm}.weight": (width,), f"{block}{norm}.bias": (width,)}
    return {name: torch.randn(shape, generator=chance) * 0.2 for name, shape in shapes.items()}


def echomimic_folder(folder: Path, *endings: str) -> Path:
    """EchoMimic's layout; endings: "" for standard, "_acc", "_pose", "_pose_acc"."""
    for ending in endings or ("",):
        pose = "_pose" if "_pose" in ending else ""
        (folder / "audio_processor").mkdir(parents=True, exist_ok=True)
        torch.save(vectors("reduced_denoising_unet"), folder / f"denoising_unet{ending}.pth")
        torch.save(vectors("reduced_motion_module"), folder / f"motion_module{ending}.pth")
        torch.save(vectors("reduced_reference_unet"), folder / f"reference_unet{pose}.pth")
        torch.save(vectors(f"reduced_face_locator{pose}"), folder / f"face_locator{pose}.pth")
    whisper = {"dims": {"n_mels": 80}, "model_state_dict": small_whisper()}
    torch.save(whisper, folder / "audio_processor" / "whisper_tiny.pt")
    facts = json.loads((VECTORS / "reduced_config.json").read_text())
    autoencoder, base = folder / "sd-vae-ft-mse", folder / "sd-image-variations-diffusers" / "unet"
    for place in (autoencoder, base):
        place.mkdir(parents=True, exist_ok=True)
    (autoencoder / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", **facts["vae"]}))
    save_file(vectors("reduced_vae"), autoencoder / "diffusion_pytorch_model.safetensors")
    (base / "config.json").write_text(json.dumps(facts["denoising_unet"]))
    return folder
