"""Put a published file of weights into its network: every key must be used, and none may be left over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from emo_cli.checkpoints.keymap import fill, read_weights

Network = TypeVar("Network", bound=nn.Module)

_COUNTERS = "num_batches_tracked"


def filled(make: Callable[[], Network], path: Path, inside: str | None = None) -> Network:
    """The network that `make` makes, with the weights of a file, ready to be used.

    inside: the entry that holds the tensors, or the first word of their names, if the file has one. Counters of
    training batches play no part and are in some files only. Raises WeightsError when the file cannot be read,
    IncompatibleCheckpoint with the first keys that are missing, unknown or misshapen.
    """
    weights = read_weights(path, inside)
    if inside is not None:
        weights = {name.removeprefix(f"{inside}."): value for name, value in weights.items()}
    with torch.device("meta"):  # it takes the file's own tensors, so none are drawn for it first
        network = make()
    counters = [name for name in network.state_dict() if name.endswith(_COUNTERS)]
    return fill(network, {**weights, **dict.fromkeys(counters, torch.tensor(0))}, path).requires_grad_(False)
