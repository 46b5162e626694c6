"""What steers the Backbone besides the noisy latents: face region, sound, identity, head speed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu, silu

from emo_cli.stored import StoredNetwork, recorded


class FaceLocator(StoredNetwork):
    """EMO, section 3.2: a light convolutional encoder of the region in which the face may move.

    (rows, mask_channels, 8 h, 8 w) in 0..1 -> (rows, out_channels, h, w), added behind the Backbone's first layer.
    """

    @recorded
    def __init__(
        self, mask_channels: int = 1, out_channels: int = 320, widths: Sequence[int] = (16, 32, 96, 256)
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(mask_channels, widths[0], 3, padding=1)
        blocks = []
        for narrow, wide in pairwise(widths):
            blocks += [nn.Conv2d(narrow, narrow, 3, padding=1), nn.Conv2d(narrow, wide, 3, stride=2, padding=1)]
        self.blocks = nn.ModuleList(blocks)
        self.conv_out = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, mask: Tensor) -> Tensor:
        x = silu(self.conv_in(mask))
        for block in self.blocks:
            x = silu(block(x))
        out: Tensor = self.conv_out(x)
        return out


class SoundProjection(StoredNetwork):
    """One linear map per token and a learned place in the window: mini's way from sound features to audio tokens.

    (rows, frames, tokens, features) -> (rows, frames, tokens, width)
    """

    @recorded
    def __init__(self, tokens: int = 10, features: int = 160, width: int = 128) -> None:
        super().__init__()
        self.linear = nn.Linear(features, width)
        self.place = nn.Parameter(torch.randn(tokens, width) * 0.02)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.linear(features) + self.place
        return out


class WindowProjection(StoredNetwork):
    """Three linear layers from a window of sound features to audio tokens: Hallo's and EMO's audio projection.

    (rows, frames, window, layers, features) -> (rows, frames, tokens, width); the window's numbers may also come as
    (window * layers, features), as sound encoders give them.
    """

    @recorded
    def __init__(
        self,
        window: int = 5,
        layers: int = 12,
        features: int = 768,
        hidden: int = 512,
        tokens: int = 32,
        width: int = 768,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.proj1 = nn.Linear(window * layers * features, hidden)
        self.proj2 = nn.Linear(hidden, hidden)
        self.proj3 = nn.Linear(hidden, tokens * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        x = relu(self.proj2(relu(self.proj1(features.flatten(2)))))
        out: Tensor = self.norm(self.proj3(x).unflatten(-1, (self.tokens, -1)))
        return out


class IdentityProjection(StoredNetwork):
    """A face embedding (rows, features) -> identity tokens (rows, tokens, width)."""

    @recorded
    def __init__(self, features: int = 512, tokens: int = 4, width: int = 768) -> None:
        super().__init__()
        self.tokens = tokens
        self.proj = nn.Linear(features, tokens * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, embedding: Tensor) -> Tensor:
        out: Tensor = self.norm(self.proj(embedding).unflatten(-1, (self.tokens, -1)))
        return out


class SpeedLayers(StoredNetwork):
    """EMO, section 3.2: the head's rotation speed, softly sorted into buckets.

    s_i = tanh(3 (w - c_i) / r_i) for buckets with centre c_i and radius r_i; the buckets of frames f-m..f+m pass
    through a small network. The paper gives neither number nor centres of the buckets; these are our choice.
    speeds (batch, frames) -> (batch, frames, width)
    """

    centres: Tensor
    radii: Tensor

    @recorded
    def __init__(
        self,
        width: int = 320,
        neighbours: int = 2,
        centres: Sequence[float] = (0.0, 0.15, 0.3, 0.5, 0.7, 0.9, 1.1, 1.4, 1.8),
        radii: Sequence[float] = (0.1, 0.1, 0.15, 0.2, 0.2, 0.2, 0.25, 0.3, 0.4),
    ) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("centres", torch.tensor(centres), persistent=False)
        self.register_buffer("radii", torch.tensor(radii), persistent=False)
        joined = len(centres) * (2 * neighbours + 1)
        self.mlp = nn.Sequential(nn.Linear(joined, width), nn.SiLU(), nn.Linear(width, width))

    def buckets(self, speeds: Tensor) -> Tensor:
        """(batch, frames) -> (batch, frames, buckets), each in -1..1"""
        return torch.tanh(3 * (speeds[..., None] - self.centres) / self.radii)

    def forward(self, speeds: Tensor) -> Tensor:
        buckets = self.buckets(speeds).transpose(1, 2)  # (batch, buckets, frames)
        window = pad(buckets, (self.neighbours, self.neighbours), mode="replicate").unfold(
            2, 2 * self.neighbours + 1, 1
        )
        out: Tensor = self.mlp(window.permute(0, 2, 3, 1).flatten(2))
        return out
