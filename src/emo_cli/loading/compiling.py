"""`--compile`: the networks' repeated blocks as machine code for this model, size and device, made by torch.compile.

Block by block and for fixed shapes: compiling a whole network, or one for every shape, takes many times longer. What is
made is kept in torch's own folder, so that the next run finds it there.
"""

from __future__ import annotations

import torch
from torch import nn

from emo_cli import device
from emo_cli.errors import DeviceError
from emo_cli.networks.attention import SpatialBlock
from emo_cli.networks.audio import AudioBlock, HierarchicalAudioBlock
from emo_cli.networks.resnet import ResnetBlock
from emo_cli.networks.temporal import TemporalBlock

BLOCKS = (ResnetBlock, SpatialBlock, AudioBlock, HierarchicalAudioBlock, TemporalBlock)
MOST_SHAPES = 64
"""A UNet's blocks of one kind differ in width and in size; torch gives up compiling at 8 of a kind."""


def check(place: torch.device) -> None:
    """Raises DeviceError when what torch.compile needs on a device is not installed."""
    missing = device.lacks_compiler(place)
    if missing is not None:
        raise DeviceError(f"--compile needs {missing} here. Install it, or leave --compile out.")


def compile_blocks(network: nn.Module) -> None:
    """Let every block of a network be compiled when it is first called."""
    torch._dynamo.config.recompile_limit = max(MOST_SHAPES, torch._dynamo.config.recompile_limit)
    for block in network.modules():
        if isinstance(block, BLOCKS):
            block.compile(dynamic=False)


def kept_in() -> str:
    """The folder in which torch keeps what it has compiled."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    return str(cache_dir())
