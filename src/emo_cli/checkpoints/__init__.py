"""Open a model from whatever folder holds it: one made by emo, or the published files of EchoMimic or Hallo."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from emo_cli.checkpoints import echomimic, hallo
from emo_cli.errors import OutputError, WeightsError
from emo_cli.family import FILE, Family
from emo_cli.networks.codec import PictureCodec
from emo_cli.pipeline import EmoPipeline


def open_model(folder: Path | str, name: str | None = None) -> EmoPipeline:
    """Open a model folder of any kind.

    name: which of several models a folder of published files is meant for, e.g. "echomimic-acc"; without it the first
    that is complete. Raises WeightsError, or IncompatibleCheckpoint when a file is not the one it should be.
    """
    folder = Path(folder)
    if (folder / FILE).is_file():
        return EmoPipeline.from_pretrained(folder)
    if echomimic.is_echomimic(folder):
        return echomimic.open_folder(folder, name)
    if hallo.is_hallo(folder):
        return hallo.open_folder(folder)
    raise _unknown(folder)


def describe(folder: Path | str, name: str | None = None) -> Family:
    """What a model folder expects, without opening its weights; WeightsError as open_model."""
    folder = Path(folder)
    if (folder / FILE).is_file():
        return Family.load(folder)
    if echomimic.is_echomimic(folder):
        return echomimic.choose(folder, name).family
    if hallo.is_hallo(folder):
        return hallo.FAMILY
    raise _unknown(folder)


def import_model(
    source: Path | str, target: Path | str, dtype: torch.dtype | None = None, name: str | None = None
) -> Family:
    """Write a folder of published files as one of our own, which opens faster and holds no pickle.

    dtype: precision of the learned weights; float32 without it. The folder appears whole or not at all. Raises
    WeightsError for a bad source or a full disk, OutputError when the target exists or cannot be written.
    """
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{target} exists already. Choose another folder.")
    pipeline = open_model(source, name)
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        _check_room(pipeline, unfinished, dtype)
        pipeline.save_pretrained(unfinished, dtype)
        if target.is_dir():
            target.rmdir()
        unfinished.rename(target)
    except (OSError, SafetensorError) as problem:
        raise OutputError(f"{target} cannot be written ({problem}). Free some space or choose another.") from problem
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return pipeline.family


def _check_room(pipeline: EmoPipeline, folder: Path, dtype: torch.dtype | None) -> None:
    """WeightsError when the disk is too full for the networks."""
    wide = torch.float32.itemsize
    narrow = wide if dtype is None else dtype.itemsize
    needed = 0
    for part in pipeline.parts().values():
        network = part.autoencoder if isinstance(part, PictureCodec) else part
        numbers = sum(value.numel() for value in network.state_dict().values()) if isinstance(network, nn.Module) else 0
        needed += numbers * (narrow if isinstance(part, nn.Module) else wide)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise WeightsError(
            f"The model needs {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free beside {folder.parent}. "
            "Free some space or choose another folder."
        )


def _unknown(folder: Path) -> WeightsError:
    """What was looked for in a folder that holds no model."""
    if not folder.is_dir():
        return WeightsError(f"{folder} is not a folder. Give the folder of a model.")
    backbones = ", ".join(variant.backbone for variant in echomimic.VARIANTS.values())
    parts = [file for variant in echomimic.VARIANTS.values() for file in variant.files if (folder / file).is_file()]
    if parts:
        return WeightsError(
            f"{folder} holds {parts[0]} of EchoMimic, but no Backbone ({backbones}). Fetch the missing files."
        )
    return WeightsError(
        f"{folder} holds no model: neither {FILE} of emo, nor {backbones} of EchoMimic, nor {hallo.NETWORKS} of Hallo. "
        "Give the folder of a model."
    )
