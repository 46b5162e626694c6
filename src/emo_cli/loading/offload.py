"""Weights that wait in main memory and visit the device layer by layer, for models that do not fit into its memory.

Moving them is accelerate's work (`pip install 'emo-cli[offload]'`). What stays on the device: the first and the last
layers of a network, all small networks, and what the layers make.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import nn

from emo_cli import device
from emo_cli.errors import DeviceError
from emo_cli.networks.unet import UNet


def is_possible() -> bool:
    """Whether accelerate is installed."""
    return find_spec("accelerate") is not None


def check() -> None:
    """Raises DeviceError when accelerate is missing."""
    if not is_possible():
        raise DeviceError("Offloading needs accelerate. Run `pip install 'emo-cli[offload]'`.")


def offload(network: UNet, place: torch.device) -> None:
    """Leave a network's levels in main memory; each layer's weights are on `place` only while it computes."""
    from accelerate import cpu_offload

    for parameter in network.parameters(recurse=False):
        parameter.data = parameter.data.to(place)
    for part in _always_there(network):
        part.to(place)
    for level in network.levels():
        weights = {name: device.pinned(value, place) for name, value in level.state_dict().items()}
        cpu_offload(level, execution_device=place, state_dict=weights)


def resident(network: UNet, dtype: torch.dtype) -> int:
    """Bytes of a network's weights that an offloading device holds at once: what stays there, and the largest layer."""
    inside = [module for level in network.levels() for module in level.modules()]
    largest = max(sum(value.numel() for value in module.parameters(recurse=False)) for module in inside)
    total = sum(value.numel() for value in network.parameters())
    waiting = sum(value.numel() for level in network.levels() for value in level.parameters())
    return (total - waiting + largest) * dtype.itemsize


def _always_there(network: UNet) -> list[nn.Module]:
    levels = {"down_blocks", "mid_block", "up_blocks"}
    return [part for name, part in network.named_children() if name not in levels]
