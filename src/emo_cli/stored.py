"""Networks that can be saved to a folder and opened again: config.json beside model.safetensors."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from emo_cli.errors import IncompatibleCheckpoint, WeightsError

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def recorded(init: Callable[..., None]) -> Callable[..., None]:
    """Keep a network's constructor arguments, defaults included, as its configuration."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def constructor(self: StoredNetwork, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        init(self, *args, **kwargs)
        self.config = {name: value for name, value in bound.arguments.items() if name != "self"}

    return constructor


class StoredNetwork(nn.Module):
    """A module whose constructor is `recorded`; the folder layout is the one of diffusers' models."""

    config: Mapping[str, Any]

    def save_pretrained(self, folder: Path | str, dtype: torch.dtype | None = None) -> None:
        """Write config.json and model.safetensors; `dtype` converts floating-point weights on the way."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        described = {"_class_name": type(self).__name__, **self.config}
        (folder / CONFIG).write_text(json.dumps(described, indent=2) + "\n")
        weights = {
            name: (value.to(dtype) if dtype and value.is_floating_point() else value).detach().contiguous()
            for name, value in self.state_dict().items()
        }
        save_file(weights, folder / WEIGHTS)

    @classmethod
    def from_pretrained(cls, folder: Path | str, dtype: torch.dtype = torch.float32) -> Self:
        """Open a folder written by save_pretrained, with floating-point weights as `dtype`.

        Raises WeightsError when files are missing or broken, IncompatibleCheckpoint when keys or shapes differ.
        """
        folder = Path(folder)
        config = read_json(folder / CONFIG)
        if config.pop("_class_name", cls.__name__) != cls.__name__:
            raise IncompatibleCheckpoint(f"{folder} does not hold a {cls.__name__}. Choose the right folder.")
        try:
            network = cls(**config)
            weights = load_file(folder / WEIGHTS)
        except (TypeError, OSError, SafetensorError) as problem:
            raise WeightsError(f"The network in {folder} cannot be opened ({problem}). Fetch it again.") from problem
        load_strictly(network, weights, str(folder))
        for parameter in network.parameters():
            parameter.data = parameter.data.to(dtype)
        return network.eval()

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next((p.dtype for p in self.parameters()), torch.float32)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(chain(self.parameters(), self.buffers())).device


def load_strictly(network: nn.Module, weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Put weights into a network; every key must be used once, none may be left over or misshapen.

    They are copied, but for a network on the meta device, which takes the tensors themselves.
    """
    own = network.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    misshapen = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    for kind, names in (("misses", missing), ("has unknown", extra), ("has misshapen", sorted(misshapen))):
        if names:
            shown = ", ".join(names[:5])
            raise IncompatibleCheckpoint(f"{source} {kind} {len(names)} tensors ({shown}). Choose matching weights.")
    network.load_state_dict(dict(weights), assign=any(value.is_meta for value in own.values()))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model's folder; WeightsError when it is missing or broken."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as problem:
        raise WeightsError(f"{path} is missing or broken. Fetch the model again.") from problem
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a JSON object. Fetch the model again.")
    return content
