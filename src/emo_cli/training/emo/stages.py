"""The three stages of EMO (section 3.3) as rows of a table: what is seen, and which parts of the networks learn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from torch import nn

Part = Literal["backbone", "reference_net", "face_locator", "temporal", "audio", "speed"]


@dataclass(frozen=True)
class Stage:
    """One stage.

    learns: the parts whose weights change; all others are frozen. moving: clips of `window` frames behind motion
    frames, otherwise single pictures that pass the temporal modules by; hears, paced: whether the sound and the head's
    speed are told. batch: clips per step, of all processes together; rate: of AdamW; why: in a few words, for the user.
    """

    name: str
    learns: tuple[Part, ...]
    moving: bool
    hears: bool
    paced: bool
    batch: int
    rate: float
    steps: int
    why: str


_PICTURE: tuple[Part, ...] = ("backbone", "reference_net", "face_locator")

STAGES = (
    Stage(
        "image", _PICTURE, moving=False, hears=False, paced=False, batch=48, rate=1e-5, steps=30_000,
        why="another picture of the same person in the face's place",
    ),
    Stage(
        "video", (*_PICTURE, "temporal", "audio"), moving=True, hears=True, paced=False, batch=4, rate=1e-5,
        steps=30_000, why="clips that go on from earlier frames and follow the sound",
    ),
    Stage(
        "speed", ("temporal", "speed"), moving=True, hears=True, paced=True, batch=4, rate=1e-5, steps=10_000,
        why="how fast the head moves; the audio layers rest, or the speed would be followed in the place of the sound",
    ),
)  # fmt: skip
"""Batches and rate are the paper's; it does not tell the steps, which are our choice."""

PARTS: tuple[tuple[Part, str], ...] = (
    ("reference_net", r"reference_net\.|identity_projection\."),
    ("face_locator", r"face_locator\."),
    ("speed", r"speed_layers\.|backbone\..*\.speed_(norm|attention)\."),
    ("temporal", r"backbone\..*motion_modules\."),
    ("audio", r"sound_projection\.|backbone\..*audio_modules\."),
    ("backbone", r"backbone\."),
)
"""Which part a weight belongs to: the first row whose pattern its name begins with."""

SPATIAL_AUDIO = r"backbone\..*\.transformer_blocks\.\d+\.(attn2|norm2)\."
"""The audio layers of a Backbone that hears inside its spatial blocks (EchoMimic)."""


def part_of(name: str, hears_in_place: bool) -> Part:
    """The part that a weight of the learner belongs to. hears_in_place: see SPATIAL_AUDIO."""
    if hears_in_place and re.match(SPATIAL_AUDIO, name):
        return "audio"
    return next(part for part, pattern in PARTS if re.match(pattern, name))


def unfreeze(learner: nn.Module, stage: Stage, hears_in_place: bool) -> list[nn.Parameter]:
    """Freeze all but what learns in a stage; returns what learns."""
    for name, value in learner.named_parameters():
        value.requires_grad_(part_of(name, hears_in_place) in stage.learns)
    return [value for value in learner.parameters() if value.requires_grad]
