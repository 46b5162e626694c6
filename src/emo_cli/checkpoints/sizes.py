"""Read a network's sizes off the shapes of its weights, so that one loader opens every size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from emo_cli.errors import WeightsError
from emo_cli.stored import read_json


@dataclass(frozen=True)
class Divisions:
    """What shapes do not tell: into how many heads and groups of channels the layers are divided.

    The published weights leave it to the configuration of the Stable Diffusion model they grew from.
    """

    heads: int = 8
    groups: int = 32

    @classmethod
    def beside(cls, config: Path) -> Divisions:
        """Those of a diffusers `unet/config.json`, or Stable Diffusion's own if there is no such file."""
        if not config.is_file():
            return cls()
        facts = read_json(config)
        heads, groups = facts.get("attention_head_dim", cls.heads), facts.get("norm_num_groups", cls.groups)
        if not (isinstance(heads, int) and isinstance(groups, int) and heads > 0 and groups > 0):
            raise WeightsError(f"{config} states no usable numbers of heads and groups. Fetch the model again.")
        return cls(heads, groups)


def unet_sizes(weights: Mapping[str, Tensor], divisions: Divisions, source: Path | str) -> dict[str, Any]:
    """The arguments of UNet that its spatial weights decide: channels, levels, layers, where attention is.

    Raises WeightsError when the weights are not those of a UNet at all.
    """
    levels = _count(weights, "down_blocks.{}.resnets.0.conv1.weight")
    if not levels or "conv_in.weight" not in weights:
        raise WeightsError(f"{source} does not hold the UNet it should. Choose the right file.")
    return {
        "in_channels": weights["conv_in.weight"].shape[1],
        "out_channels": weights["conv_out.weight"].shape[0] if "conv_out.weight" in weights else None,
        "widths": tuple(weights[f"down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)),
        "layers": _count(weights, "down_blocks.0.resnets.{}.conv1.weight"),
        "heads": divisions.heads,
        "groups": divisions.groups,
        "attention": _where(weights, "down_blocks.{}.attentions.0.norm.weight", levels),
        "temporal": _where(weights, "down_blocks.{}.motion_modules.0.temporal_transformer.norm.weight", levels),
    }


def width_of(weights: Mapping[str, Tensor], ending: str, axis: int, source: Path | str) -> int:
    """The length along `axis` of the first tensor whose name ends so; WeightsError when there is none."""
    for name, value in weights.items():
        if name.endswith(ending) and value.dim() > axis:
            return value.shape[axis]
    raise WeightsError(f"{source} holds no {ending.strip('.')}. Choose the right file.")


def _where(weights: Mapping[str, Tensor], pattern: str, levels: int) -> tuple[bool, ...]:
    return tuple(pattern.format(level) in weights for level in range(levels))


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    index = 0
    while pattern.format(index) in weights:
        index += 1
    return index
