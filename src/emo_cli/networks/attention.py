"""Attention over the places of one frame: the frame itself, the reference portrait, the sound, the identity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from emo_cli.networks.reuse import Change, anew


@dataclass(frozen=True)
class KeysValues:
    """Keys and values of a context that stays the same for all denoising steps; each (batch, tokens, width)."""

    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    """Multi-head attention whose keys and values may come from the queries' own tokens, from a context, or both."""

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width or width, width, bias=False)
        self.to_v = nn.Linear(context_width or width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def keys_values(self, context: Tensor) -> KeysValues:
        """Project a context once, to be kept for many calls."""
        return KeysValues(self.to_k(context), self.to_v(context))

    def forward(self, x: Tensor, context: KeysValues | None = None, beside_itself: bool = False) -> Tensor:
        """x (batch, tokens, width) attends to the context; to itself if there is none; to both if asked.

        A context with fewer rows than x is shared by consecutive rows (one portrait, many frames).
        """
        q = self._split(self.to_q(x))
        if context is None:
            k, v = self._split(self.to_k(x)), self._split(self.to_v(x))
        else:
            rows = x.shape[0] // context.keys.shape[0]
            k, v = (self._shared(part, rows) for part in (context.keys, context.values))
            if beside_itself:
                k = torch.cat([self._split(self.to_k(x)), k], dim=2)
                v = torch.cat([self._split(self.to_v(x)), v], dim=2)
        attended = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.to_out[0](attended.transpose(1, 2).flatten(2))
        return out

    def silence(self, x: Tensor) -> Tensor:
        """What attention of x to a context of zeros gives, (1, width): zero values leave only the output's bias."""
        out: Tensor = self.to_out[0](x.new_zeros(1, x.shape[-1]))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, tokens, width / heads)

    def _shared(self, x: Tensor, rows: int) -> Tensor:
        split = self._split(x)
        return split if rows == 1 else split[:, None].expand(-1, rows, -1, -1, -1).flatten(0, 1)


class GatedProjection(nn.Module):
    """GEGLU: half of the projection gates the other half."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        out: Tensor = functional.gelu(gate).mul_(value)
        return out


class FeedForward(nn.Module):
    """Token-wise network with a gated hidden layer."""

    def __init__(self, width: int, multiple: int) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [GatedProjection(width, multiple * width), nn.Identity(), nn.Linear(multiple * width, width)]
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


@dataclass(frozen=True)
class BlockContext:
    """What one spatial block attends to besides its own frame; a field is None when it plays no part.

    lips: how much of the sound's part is added, 1 as trained; change: gives what the parts that do not listen add;
    alone: how many rows at the end neither see the reference nor hear the sound.
    """

    reference: KeysValues | None = None
    cross: KeysValues | None = None
    lips: float = 1.0
    change: Change = anew
    alone: int = 0


class SpatialBlock(nn.Module):
    """Self- and reference-attention, an optional cross-attention, a feed-forward network.

    `cross` says what the second attention reads: "audio" (EchoMimic, mini), "identity" (Hallo's face tokens),
    "reference" (EMO, section 3.2: the text layers turned into reference-attention layers) or "none".
    """

    def __init__(
        self, width: int, heads: int, cross: str, cross_width: int, audio_scale: float, feed_forward: int
    ) -> None:
        super().__init__()
        self.cross = cross
        self.cross_scale = audio_scale if cross == "audio" else 1.0
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads)
        if cross != "none":
            self.norm2 = nn.LayerNorm(width)
            self.attn2 = Attention(width, heads, width if cross == "reference" else cross_width)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width, feed_forward)

    def reference_keys_values(self, features: Tensor) -> KeysValues:
        """Keys and values of ReferenceNet's features (images, tokens, width) for this block."""
        attention = self.attn2 if self.cross == "reference" else self.attn1
        return attention.keys_values(features)

    def forward(self, x: Tensor, context: BlockContext) -> tuple[Tensor, Tensor]:
        """x (rows, tokens, width) -> the block's output, and norm1(x): what a ReferenceNet hands over."""
        normed = self.norm1(x)
        joined = None if self.cross == "reference" else context.reference
        x = x + context.change(lambda: self._looked_around(normed, joined, context.alone))
        if self.cross == "audio":
            x = x + self.cross_scale * context.lips * self._cross_attention(x, context.cross, context.alone)
        elif self.cross == "identity":
            x = x + context.change(lambda: self._cross_attention(x, context.cross))
        elif self.cross == "reference" and (portrait := context.reference) is not None:
            x = x + context.change(lambda: self.attn2(self.norm2(x), portrait))
        return x + context.change(lambda: self.ff(self.norm3(x))), normed

    def _looked_around(self, normed: Tensor, joined: KeysValues | None, alone: int) -> Tensor:
        if joined is None or not alone:
            whole: Tensor = self.attn1(normed, joined, beside_itself=True)
            return whole
        seeing, others = normed[:-alone], normed[-alone:]
        return torch.cat([self.attn1(seeing, joined, beside_itself=True), self.attn1(others)])

    def _cross_attention(self, x: Tensor, context: KeysValues | None, alone: int = 0) -> Tensor:
        if context is None:
            return self.attn2.silence(x)
        heard: Tensor = self.attn2(self.norm2(x[: len(x) - alone]), context)
        return torch.cat([heard, self.attn2.silence(x).expand(alone, *heard.shape[1:])]) if alone else heard


class TokenConvolution(nn.Conv2d):
    """A 1x1 convolution that takes tokens (..., tokens, width) instead of a picture."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.flatten(1), self.bias)


class SpatialTransformer(nn.Module):
    """A SpatialBlock on a picture: norm, tokens, 1x1 convolution in, block, 1x1 convolution out, residual.

    Where a pixel's channels lie together in memory (channels_last), picture and tokens are the same numbers in place.
    """

    def __init__(self, channels: int, groups: int, block: nn.Module, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or channels
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = TokenConvolution(channels, inner, 1)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = TokenConvolution(inner, channels, 1)

    @property
    def block(self) -> nn.Module:
        return self.transformer_blocks[0]

    def tokens(self, x: Tensor) -> Tensor:
        """(rows, channels, h, w) -> (rows, h * w, inner)"""
        out: Tensor = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        return out

    def picture(self, tokens: Tensor, x: Tensor) -> Tensor:
        """(rows, h * w, inner) -> (rows, channels, h, w), added to x"""
        out: Tensor = x + self.proj_out(tokens).transpose(1, 2).unflatten(2, x.shape[-2:])
        return out

    def forward(self, x: Tensor, context: BlockContext) -> tuple[Tensor, Tensor]:
        tokens, normed = self.block(self.tokens(x), context)
        return self.picture(tokens, x), normed
