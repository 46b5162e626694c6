"""Attention along time: every place of the picture looks at the same place in the other frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from emo_cli.networks.attention import Attention, FeedForward, KeysValues
from emo_cli.networks.reuse import Change, anew

LONGEST_WINDOW = 64


def positions(length: int, width: int) -> Tensor:
    """Sinusoidal positions (length, width): sine on even, cosine on odd channels, base 10000.

    Always on the CPU: no file holds them, so a network that is built without memory must still have them.
    """
    place = torch.arange(length, dtype=torch.float32, device="cpu")[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32, device="cpu") * (-math.log(10000.0) / width))
    table = torch.zeros(length, width, device="cpu")
    table[:, 0::2], table[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
    return table


class TemporalBlock(nn.Module):
    """Self-attentions along time, an optional speed cross-attention, a feed-forward network."""

    position_table: Tensor

    def __init__(self, width: int, heads: int, layers: int, feed_forward: int, speed_width: int | None) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList([Attention(width, heads) for _ in range(layers)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(layers)])
        if speed_width is not None:
            self.speed_norm = nn.LayerNorm(width)
            self.speed_attention = Attention(width, heads, speed_width)
        self.ff = FeedForward(width, feed_forward)
        self.ff_norm = nn.LayerNorm(width)
        self.register_buffer("position_table", positions(LONGEST_WINDOW, width), persistent=False)

    def forward(self, x: Tensor, earlier: int, speed: KeysValues | None) -> Tensor:
        """x (places, earlier + frames, width) -> (places, frames, width); earlier frames are only looked at.

        The position is added after the norm, so that queries, keys and values all see it.
        """
        place = self.position_table[: x.shape[1]].to(x.dtype)
        for attention, norm in zip(self.attention_blocks[:-1], self.norms[:-1], strict=True):
            x = x + attention(norm(x) + place)
        last, normed = self.attention_blocks[-1], self.norms[-1](x) + place
        assert isinstance(last, Attention)
        x = x[:, earlier:] + last(normed[:, earlier:], last.keys_values(normed))
        if speed is not None:
            x = x + self.speed_attention(self.speed_norm(x), speed)
        out: Tensor = x + self.ff(self.ff_norm(x))
        return out


class TemporalTransformer(nn.Module):
    """A TemporalBlock on frames of a picture; the norm works frame by frame."""

    def __init__(self, channels: int, groups: int, block: TemporalBlock) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Linear(channels, channels)

    def forward(
        self, x: Tensor, frames: int, motion: Tensor | None, speed: Tensor | None, change: Change = anew
    ) -> Tensor:
        """x (batch * frames, channels, h, w); motion (batch, earlier, channels, h, w) comes before it in time.

        speed: (batch, frames, width) features of EMO's speed layers.
        """
        return x + change(lambda: self._change(x, frames, motion, speed))

    def _change(self, x: Tensor, frames: int, motion: Tensor | None, speed: Tensor | None) -> Tensor:
        height, width = x.shape[-2:]
        clip = x.unflatten(0, (-1, frames))
        earlier = 0 if motion is None else motion.shape[1]
        if motion is not None:
            clip = torch.cat([motion.to(clip.dtype), clip], dim=1)
        normed = self.norm(clip.flatten(0, 1))  # (batch * time, channels, h, w)
        tokens = self.proj_in(normed.flatten(2).transpose(1, 2))  # (batch * time, h * w, channels)
        tokens = tokens.unflatten(0, (-1, earlier + frames)).transpose(1, 2).flatten(0, 1)
        block = self.transformer_blocks[0]
        assert isinstance(block, TemporalBlock)
        context = None if speed is None else block.speed_attention.keys_values(speed)
        tokens = self.proj_out(block(tokens, earlier, context))  # (batch * h * w, frames, channels)
        moved = tokens.unflatten(0, (-1, height * width)).transpose(1, 2)  # (batch, frames, h * w, channels)
        return moved.flatten(0, 1).transpose(1, 2).unflatten(2, (height, width))


class TemporalModule(nn.Module):
    """One temporal layer of the Backbone (EMO, section 3.2, "temporal modules"; AnimateDiff's layout)."""

    def __init__(
        self, channels: int, groups: int, heads: int, layers: int, feed_forward: int, speed_width: int | None
    ) -> None:
        super().__init__()
        block = TemporalBlock(channels, heads, layers, feed_forward, speed_width)
        self.temporal_transformer = TemporalTransformer(channels, groups, block)

    def forward(
        self, x: Tensor, frames: int, motion: Tensor | None, speed: Tensor | None, change: Change = anew
    ) -> Tensor:
        out: Tensor = self.temporal_transformer(x, frames, motion, speed, change)
        return out
