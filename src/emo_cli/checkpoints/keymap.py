"""Read the weight files of other projects: tensors only, every key accounted for, anything odd said in a sentence."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from emo_cli.errors import IncompatibleCheckpoint, WeightsError
from emo_cli.stored import load_strictly
from emo_cli.weights import POINTER

Network = TypeVar("Network", bound=nn.Module)
Weights = dict[str, Tensor]

SIGNS = {
    "Hallo": r"(denoising_unet|imageproj|audioproj)\.",
    "Stable Diffusion's first format": r"model\.diffusion_model\.",
    "EchoMimic": r"(down|up)_blocks\.\d\.(attentions|motion_modules)\.",
    "wav2vec 2.0": r"(wav2vec2\.)?feature_extractor\.",
    "Whisper": r"encoder\.blocks\.",
}
"""How a key begins that only one family of files has."""

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_FORBIDDEN = ("Unsupported", "GLOBAL", "not allowed", "blocklist")  # torch's words when a pickle asks for code


@dataclass(frozen=True)
class Keymap:
    """How another project's keys become ours.

    renames: (pattern, replacement) pairs of regular expressions, applied to each key one after another. unused:
    patterns of whole keys that are stored but play no part, such as tables of positions; nothing else may be left over.
    """

    renames: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()

    def apply(self, weights: Mapping[str, Tensor], source: str) -> Weights:
        """Our names -> tensors; IncompatibleCheckpoint when two keys become one."""
        out: Weights = {}
        for key, value in weights.items():
            if self.drops(key):
                continue
            name = key
            for pattern, replacement in self.renames:
                name = re.sub(pattern, replacement, name)
            if name in out:
                raise IncompatibleCheckpoint(f"{source} holds {name} twice. Choose matching weights.")
            out[name] = value
        return out

    def drops(self, key: str) -> bool:
        """Whether a key is one of those that play no part."""
        return any(re.fullmatch(pattern, key) for pattern in self.unused)


def fill(network: Network, weights: Mapping[str, Tensor], source: Path | str, keymap: Keymap | None = None) -> Network:
    """Put official weights into a network, ready to be used, as float32.

    The network may stand on the meta device: then it takes the tensors as they are, without a copy. Raises
    IncompatibleCheckpoint with the first five names of keys that are missing, unknown or misshapen.
    """
    named = (keymap or Keymap()).apply(weights, str(source))
    plain = {name: value.float() if value.is_floating_point() else value for name, value in named.items()}
    load_strictly(network, plain, str(source))
    return network.eval()


def parts(weights: Mapping[str, Tensor], names: Iterable[str], source: Path | str) -> dict[str, Weights]:
    """Split a file that holds several networks by the first word of its keys; no other word may occur."""
    split: dict[str, Weights] = {name: {} for name in names}
    strangers = sorted(key for key in weights if key.partition(".")[0] not in split)
    if strangers:
        shown = ", ".join(strangers[:5])
        raise IncompatibleCheckpoint(
            f"{source} has unknown {len(strangers)} tensors ({shown}). Choose matching weights."
        )
    for key, value in weights.items():
        name, _, rest = key.partition(".")
        split[name][rest] = value
    return split


def merged(first: Mapping[str, Tensor], second: Mapping[str, Tensor], source: Path | str) -> Weights:
    """Two files that make one network; no key may stand in both."""
    shared = sorted(first.keys() & second.keys())
    if shared:
        raise IncompatibleCheckpoint(f"{source} repeats {', '.join(shared[:5])}. Choose matching weights.")
    return {**first, **second}


def read_weights(path: Path, inside: str | None = None) -> Weights:
    """The tensors of a .safetensors file, or of a .pth/.pt/.bin file of PyTorch that holds tensors and nothing else.

    inside: the entry that holds the tensors, where the file has other facts beside them (OpenAI's Whisper). Tensors of
    a file in PyTorch's present format are mapped, not read, so that opening 3 GB takes no memory. Raises WeightsError
    when the file is missing, is not what its name says, is cut off, or asks to run a program.
    """
    _check_kind(path)
    content: Any = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    if inside is not None and isinstance(content, Mapping) and inside in content:
        content = content[inside]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds no named tensors. Fetch the official file again.")
    others = sorted(str(name) for name, value in content.items() if not isinstance(value, Tensor))
    if others:
        raise WeightsError(
            f"{path} holds more than tensors ({', '.join(others[:5])}), so it is not opened. Get the official file."
        )
    return dict(content)


def refuse_strangers(weights: Mapping[str, Tensor], own: str, source: Path | str) -> None:
    """IncompatibleCheckpoint when the keys are those of a family other than `own`."""
    for family, sign in SIGNS.items():
        if family != own and any(re.match(sign, name) for name in weights):
            raise IncompatibleCheckpoint(f"{source} holds weights of {family}, not of {own}. Choose the right file.")


def _check_kind(path: Path) -> None:
    """Say what a file is when it is plainly not a file of weights."""
    try:
        with path.open("rb") as file:
            begin = file.read(512)
    except OSError as problem:
        reason = problem.strerror or problem
        raise WeightsError(f"The weights {path} cannot be opened ({reason}). Fetch the model again.") from problem
    if not begin:
        raise WeightsError(f"{path} is empty. Fetch the model again.")
    if begin.startswith(POINTER):
        raise WeightsError(
            f"{path} is only a Git LFS pointer, not the weights themselves. Run `git lfs pull`, or fetch it again."
        )
    if begin.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        raise WeightsError(f"{path} is a web page, not weights. The download went wrong; fetch it again.")
    if path.suffix == ".safetensors":
        return
    if begin.startswith(_ZIP) and not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is cut off: its end is missing. Fetch it again.")
    if not begin.startswith((_ZIP, _PICKLE)):
        raise WeightsError(f"{path} is not a file of weights. Fetch the official file again.")


def _safetensors(path: Path) -> Weights:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as problem:
        raise WeightsError(f"{path} is cut off or damaged ({_short(problem)}). Fetch it again.") from problem


def _pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as problem:
        if any(word in str(problem) for word in _FORBIDDEN):
            raise WeightsError(
                f"{path} holds more than tensors and could run a program on this computer, so it is not opened. "
                "Get the official file."
            ) from problem
        raise WeightsError(f"{path} is cut off or damaged. Fetch it again.") from problem
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError) as problem:
        raise WeightsError(f"{path} is cut off or damaged ({_short(problem)}). Fetch it again.") from problem


def _short(problem: Exception) -> str:
    """The first line of another library's complaint."""
    return str(problem).splitlines()[0][:120] if str(problem) else type(problem).__name__
