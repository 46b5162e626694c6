"""Put a published file of weights into its network: every key must be used, and none may be left over."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import nn

from emo_cli.checkpoints.keymap import fill, read_weights

Network = TypeVar("Network", bound=nn.Module)

_COUNTERS = "num_batches_tracked"


def filled(network: Network, path: Path, inside: str | None = None) -> Network:
    """The network with the weights of a file, ready to be used.

    inside: the entry that holds the tensors, or the first word of their names, if the file has one. Counters of
    training batches play no part and are in some files only. Raises WeightsError when the file cannot be read,
    IncompatibleCheckpoint with the first keys that are missing, unknown or misshapen.
    """
    weights = read_weights(path, inside)
    if inside is not None:
        weights = {name.removeprefix(f"{inside}."): value for name, value in weights.items()}
    own = {name: value for name, value in network.state_dict().items() if name.endswith(_COUNTERS)}
    return fill(network, {**weights, **own}, path).requires_grad_(False)
