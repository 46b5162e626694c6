"""Head pose, blinks and gaze of a clip, denoised beside the picture: one token per frame at the Backbone's bottleneck.

A smooth head turn carried by many latent cells is decided in the first instants of denoising and dies in few-step
sampling, so pose travels as whitened numbers (chart/whitening.py) with tokens of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emo_cli.networks.attention import Attention, FeedForward
from emo_cli.networks.temporal import positions

POSE_INPUTS = 8  # noisy pose (3), known pose (3), known lids (1), is-known flag (1)
GAZE_INPUTS = 2  # known gaze
BLINK_EVENTS = 2  # whether a blink begins in this clip, and when
GAZE_EVENTS = 3  # when the clip's next saccade begins, and where it goes


@dataclass(frozen=True)
class HeadInput:
    """The head's part of the noisy clip.

    frames: (batch, frames, 8) noisy pose spread over the frames, known pose, known lids, flag of known frames, or
    (batch, frames, 10) with the known gaze; events: (batch, 2) noisy numbers of blinks, or (batch, 5) and of gaze.
    """

    frames: Tensor
    events: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> HeadInput:
        """The same input elsewhere."""
        return HeadInput(self.frames.to(device, dtype), self.events.to(device, dtype))


@dataclass(frozen=True)
class HeadPrediction:
    """v of the pose, spread over the frames (batch, frames, 3), and v of blinks and gaze (batch, 2 or 5)."""

    pose: Tensor
    events: Tensor


class HeadBlock(nn.Module):
    """Self-attention along time and a feed-forward network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, 4)
        self.norm2, self.ff = nn.LayerNorm(width), FeedForward(width, 2)

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x) + place)
        out: Tensor = x + self.ff(self.norm2(x))
        return out


class HeadStream(nn.Module):
    """The tokens' own small transformer; it hears the sound and sees the mean of the bottleneck.

    gaze: whether the model has gaze; its numbers go through the layers of the blinks.
    """

    place: Tensor

    def __init__(
        self, width: int, audio_width: int, embedding_width: int, middle_width: int, gaze: bool = False
    ) -> None:
        super().__init__()
        events = BLINK_EVENTS + GAZE_EVENTS * gaze
        self.pose_in = nn.Linear(POSE_INPUTS + GAZE_INPUTS * gaze, width)
        self.blinks_in = nn.Linear(events, width)
        self.audio_in = nn.Linear(audio_width, width)
        self.embedding_in = nn.Linear(embedding_width, width)
        self.middle_in = nn.Linear(middle_width, width)
        self.blocks = nn.ModuleList([HeadBlock(width) for _ in range(2)])
        self.norm = nn.LayerNorm(width)
        self.pose_out = nn.Linear(width, 3)
        self.blinks_out = nn.Linear(width, events)
        self.embedding_out = nn.Linear(width, embedding_width)
        self.register_buffer("place", positions(64, width), persistent=False)
        for layer in (self.middle_in, self.pose_out, self.blinks_out, self.embedding_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, head: HeadInput, audio: Tensor | None, embedding: Tensor, middle: Tensor | None
    ) -> tuple[HeadPrediction, Tensor]:
        """audio (batch, frames, tokens * width), embedding (batch, frames, e), middle (batch, frames, channels).

        Returns the prediction and (batch, frames, e), to be added to the time embedding of the upper half.
        """
        x = self.pose_in(head.frames) + self.blinks_in(head.events)[:, None] + self.embedding_in(embedding)
        x = x + (self.audio_in.bias if audio is None else self.audio_in(audio))
        if middle is not None:
            x = x + self.middle_in(middle)
        place = self.place[: x.shape[1]].to(x.dtype)
        for block in self.blocks:
            x = block(x, place)
        x = self.norm(x)
        prediction = HeadPrediction(self.pose_out(x), self.blinks_out(torch.mean(x, dim=1)))
        return prediction, self.embedding_out(x)
