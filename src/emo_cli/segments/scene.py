"""One video in the making: the networks at work, and what stays the same for all its segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from emo_cli.chart.whitening import HeadWhitening
from emo_cli.family import Family
from emo_cli.networks.attention import KeysValues
from emo_cli.networks.audio import RegionMasks
from emo_cli.networks.codec import Canvas, PictureCodec, Strength
from emo_cli.networks.conditions import SoundProjection, SpeedLayers, WindowProjection
from emo_cli.networks.unet import UNet
from emo_cli.quality import EVERYTHING, Shortcuts
from emo_cli.tape import Features, Rows

AS_MADE = Strength()

Callback = Callable[[int, int], None]
"""Called after each denoising step with the frames shown so far and the step's index."""


@dataclass(frozen=True)
class AtOnce:
    """What a family that blends windows denoises as one batch, as memory allows: how many windows, and whether both
    halves of guidance go together."""

    windows: int = 1
    halves: bool = True

    def within(self, family: Family) -> AtOnce:
        """The same for a family: where clips follow one another instead of blending, so do the halves."""
        return replace(self, halves=self.halves and family.chaining == "blend")


ONE_WINDOW = AtOnce()


@dataclass(frozen=True)
class Settings:
    """How one video is made. None takes the family's own value; speed multiplies the family's usual head speed.

    region: size of the place in which the face may move, 1 as trained; driving: landmarks (frames or fewer, 478, 2) in
    the portrait's pixels that a pose model follows, None to hold still; shortcuts: work that is left out; at_once: what
    goes through the network as one batch.
    """

    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    speed: float = 1.0
    strength: Strength = AS_MADE
    region: float = 1.0
    driving: Rows | None = None
    shortcuts: Shortcuts = EVERYTHING
    at_once: AtOnce = ONE_WINDOW


@dataclass(frozen=True)
class Identity:
    """Tokens (1, tokens, width) that tell who is seen, and those of nobody, from which guidance leads away."""

    person: Tensor
    nobody: Tensor


@dataclass(frozen=True)
class Scene:
    """The networks with a portrait and a sound.

    canvas: the portrait as its codec has opened it; reference: keys and values of the portrait per attention block;
    features: the sound (frames or more, tokens, width); face: the locator's features (1, channels, h, w); moving_face:
    gives them for some frames (frames, channels, h, w), where they differ; masks: Hallo's regions, as strong as the
    user wants them; codec: where earlier frames are handed on as pictures.
    """

    family: Family
    settings: Settings
    backbone: UNet
    reference_net: UNet
    canvas: Canvas
    reference: tuple[KeysValues, ...]
    features: Features
    face: Tensor | None = None
    sound_projection: SoundProjection | WindowProjection | None = None
    whitening: HeadWhitening | None = None
    speed_layers: SpeedLayers | None = None
    masks: RegionMasks | None = None
    identity: Identity | None = None
    codec: PictureCodec | None = None
    moving_face: Callable[[Sequence[int]], Tensor] | None = None

    @property
    def steps(self) -> int:
        """How many denoising steps a clip takes."""
        return self.settings.steps or self.family.steps

    @property
    def guidance(self) -> float:
        """How far the prediction is led away from silence; 1 asks the network only once."""
        return self.family.guidance if self.settings.guidance is None else self.settings.guidance

    def asks_silence(self, step: int) -> bool:
        """Whether this step asks the network without the sound too, to be led away from silence."""
        return self.guidance != 1 and self.settings.shortcuts.asks_silence(step, self.steps)

    @property
    def speed(self) -> Tensor:
        """Head speed per axis (1, 3)."""
        return self.settings.speed * torch.tensor([self.family.speed])

    @property
    def device(self) -> torch.device:
        """Where the Backbone is."""
        return self.backbone.device

    @property
    def dtype(self) -> torch.dtype:
        """The Backbone's precision."""
        return self.backbone.dtype

    def chance(self, index: int) -> torch.Generator:
        """The noise of segment `index`: it does not depend on how the others were made."""
        return torch.Generator().manual_seed(clip_seed(self.settings.seed, index))

    def hear(self, first: int, frames: int) -> Tensor:
        """Audio tokens (1, frames, tokens, width) of frames that may lie before or after the sound."""
        return self.hear_at(range(first, first + frames))

    def hear_at(self, places: Sequence[int]) -> Tensor:
        """Audio tokens (1, frames, tokens, width) of frames in any order."""
        index = torch.tensor(places).clamp(0, len(self.features) - 1)
        features = self.features[index][None].to(self.device)
        tokens: Tensor = features if self.sound_projection is None else self.sound_projection(features)
        return tokens.to(self.dtype)

    def located(self, places: Sequence[int]) -> Tensor | None:
        """The face locator's features of frames: (1 or frames, channels, h, w)."""
        return self.face if self.moving_face is None else self.moving_face(places)


def clip_seed(seed: int, index: int) -> int:
    """One seed per segment of a video."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))
