"""Audio layers that stand behind a spatial transformer: EMO's plain one and Hallo's hierarchical one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emo_cli.networks.attention import Attention, FeedForward, KeysValues, SpatialTransformer, TokenConvolution

REGIONS = ("full", "face", "lip")


@dataclass(frozen=True)
class RegionMasks:
    """Where Hallo's three audio branches act, finest level first, and how strongly.

    levels: per level (rows or 1, 3, h * w, 1) in 0..1 in the order full, face, lip; scales: one factor per branch.
    """

    levels: tuple[Tensor, ...]
    scales: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def to(self, device: torch.device, dtype: torch.dtype) -> RegionMasks:
        """The same masks elsewhere."""
        return RegionMasks(tuple(level.to(device, dtype) for level in self.levels), self.scales)

    def scaled(self, full: float, face: float, lip: float) -> RegionMasks:
        """The same regions with branches of other strength."""
        return RegionMasks(self.levels, (full, face, lip))


class AudioBlock(nn.Module):
    """EMO, section 3.2: one cross-attention to the sound after each reference-attention layer."""

    def __init__(self, width: int, heads: int, audio_width: int, feed_forward: int) -> None:
        super().__init__()
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, audio_width)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width, feed_forward)

    def keys_values(self, audio: Tensor) -> tuple[KeysValues, ...]:
        return (self.attn2.keys_values(audio),)

    def forward(self, x: Tensor, audio: tuple[KeysValues, ...] | None) -> Tensor:
        x = x + (self.attn2.silence(x) if audio is None else self.attn2(self.norm2(x), audio[0]))
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class HierarchicalAudioBlock(nn.Module):
    """Hallo: self-attention, then three audio branches, each held inside its region of the face."""

    def __init__(self, width: int, heads: int, audio_width: int, feed_forward: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        for index, region in enumerate(REGIONS):
            self.add_module(f"attn2_{index}", Attention(width, heads, audio_width))
            self.add_module(f"zero_conv_{region}", TokenConvolution(width, width, 1))
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width, feed_forward)

    def branches(self) -> list[tuple[Attention, TokenConvolution]]:
        """The three (attention, output convolution) pairs: full, face, lip."""
        pairs = []
        for index, region in enumerate(REGIONS):
            attention, convolution = self.get_submodule(f"attn2_{index}"), self.get_submodule(f"zero_conv_{region}")
            assert isinstance(attention, Attention) and isinstance(convolution, TokenConvolution)
            pairs.append((attention, convolution))
        return pairs

    def keys_values(self, audio: Tensor) -> tuple[KeysValues, ...]:
        return tuple(attention.keys_values(audio) for attention, _ in self.branches())

    def forward(self, x: Tensor, audio: tuple[KeysValues, ...] | None, masks: RegionMasks, level: int) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        normed, sum_of_branches = self.norm2(x), x
        for index, (attention, convolution) in enumerate(self.branches()):
            heard = attention.silence(x) if audio is None else attention(normed, audio[index])
            inside = heard * masks.levels[level][:, index]  # (rows, tokens, width)
            sum_of_branches = sum_of_branches + masks.scales[index] * convolution(inside)
        out: Tensor = sum_of_branches + self.ff(self.norm3(sum_of_branches))
        return out


class AudioTransformer(SpatialTransformer):
    """An audio block on a picture; `level` tells which size of region mask it needs."""

    def __init__(self, channels: int, groups: int, block: nn.Module, inner: int, level: int) -> None:
        super().__init__(channels, groups, block, inner)
        self.level = level

    def keys_values(self, audio: Tensor) -> tuple[KeysValues, ...]:
        """Keys and values of audio tokens (rows, tokens, width), one pair per branch."""
        assert isinstance(self.block, AudioBlock | HierarchicalAudioBlock)
        return self.block.keys_values(audio)

    def hear(self, x: Tensor, audio: tuple[KeysValues, ...] | None, masks: RegionMasks | None) -> Tensor:
        """x (rows, channels, h, w) plus what the sound adds to it."""
        tokens = self.tokens(x)
        if isinstance(self.block, HierarchicalAudioBlock):
            assert masks is not None, "hierarchical audio attention needs region masks"
            tokens = self.block(tokens, audio, masks, self.level)
        else:
            tokens = self.block(tokens, audio)
        return self.picture(tokens, x)
