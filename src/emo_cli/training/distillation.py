"""Teaches mini to make in one jump what took two guided steps: as good in half the steps, each without guidance.

Progressive distillation (Salimans & Ho 2022) of guided networks (Meng et al. 2023). The pupil begins as a copy of its
teacher. Anywhere on the way from noise to motion it learns to say what brings it in one jump to where two guided steps
of the teacher lead; and since it goes on from where its own jump ended, it learns there, too, to come back to the way.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from emo_cli.sampling import SHIFT, FlowClip, guided, shifted, smoothed, stepped
from emo_cli.training.bank import Clips
from emo_cli.training.objective import Lesson, MotionNetworks, Objective, Told

SMOOTHING = 0.05  # less and the lips tremble, more and they open too little and meet too seldom
HEAD = 0.5
"""How much errors of the head's numbers count: here they can be known, where otherwise they are guessed."""


class Distillation:
    """Losses of a pupil beside its teacher.

    objective: the lessons, and how errors count; guidance, head_guidance: how far the teacher is led away from silence;
    steps: the jumps in which the pupil is to make a clip, where the teacher takes twice as many; smoothing: how much of
    each neighbouring frame is in what the pupil learns.
    """

    def __init__(
        self, objective: Objective, teacher: MotionNetworks, guidance: float, head_guidance: float, steps: int,
        smoothing: float = SMOOTHING,
    ) -> None:
        self.objective, self.teacher = objective, teacher.requires_grad_(False)
        self.guidance, self.head_guidance, self.steps, self.smoothing = guidance, head_guidance, steps, smoothing

    def __call__(self, pupil: MotionNetworks, clips: Clips, generator: torch.Generator) -> dict[str, Tensor]:
        """Mean losses over all jumps of some clips; half of them begin at pure noise, the others up to a jump below."""
        objective = self.objective
        lesson = objective.lesson(clips, *objective.faces(clips, generator), generator)
        with torch.no_grad():
            taught = objective.tell(self.teacher, lesson)
        told = objective.tell(pupil, lesson)
        u = 1 - torch.rand(len(clips.pose), generator=generator) / self.steps
        u[: len(u) // 2] = 1.0
        clip = objective.mixed(lesson, objective.noise(lesson, generator), u)
        losses: list[dict[str, Tensor]] = []
        for _ in range(self.steps):
            below = (u - 1 / self.steps).clamp(min=0)
            target = self._target(lesson, taught, clip, u, below)
            said = objective.ask(pupil, lesson, told, clip, u)
            losses.append(self._errors(said, target))
            clip = moved_on(clip, FlowClip(said.latents.detach(), said.numbers.detach()), u, below)
            u = below.clamp(min=1e-3)
        return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the losses."""
        return replace(self.objective.weights, head=HEAD).total(losses)

    @torch.no_grad()
    def _target(self, lesson: Lesson, taught: Told, clip: FlowClip, u: Tensor, below: Tensor) -> FlowClip:
        """What leads from clips at u to where the teacher comes in two steps: clean frames, and the head's v."""
        between = (u + below) / 2
        half = moved_on(clip, self._guided(lesson, taught, clip, u), u, between)
        end = moved_on(half, self._guided(lesson, taught, half, between), between, below)
        share, turned = _way(u, below)
        clean = (end.latents - share * clip.latents) / (1 - share)
        first = lesson.first[:, None, None, None, None]
        before = torch.where(first, clean[:, :1], lesson.earlier[:, -1:])
        return FlowClip(smoothed(clean, before, self.smoothing), (end.numbers - clip.numbers) / turned)

    def _guided(self, lesson: Lesson, taught: Told, clip: FlowClip, u: Tensor) -> FlowClip:
        """What the teacher says, led away from silence."""
        heard, silent = (self.objective.ask(self.teacher, lesson, taught, clip, u, sound) for sound in (True, False))
        return FlowClip(
            guided(heard.latents, silent.latents, self.guidance),
            guided(heard.numbers, silent.numbers, self.head_guidance),
        )

    def _errors(self, said: FlowClip, target: FlowClip) -> dict[str, Tensor]:
        """How far the pupil is off; lips are compared with the teacher's."""
        moved, _ = self.objective.codec.unpack(target.latents)
        errors = self.objective.errors(said.latents, target.latents, moved, torch.ones(len(moved)))
        return {**errors, "head": (said.numbers - target.numbers).square().mean()}


def moved_on(clip: FlowClip, said: FlowClip, u: Tensor, below: Tensor) -> FlowClip:
    """Clips at u (batch,), moved on to `below` by what a network said of them, as in sampling.flow."""
    return stepped(clip, said, *_way(u, below))


def _way(u: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the noise stays, t' / t (batch, 1, 1, 1, 1), and by how much the head's numbers turn (batch, 1)."""
    share = shifted(below, SHIFT) / shifted(u, SHIFT)
    return share[:, None, None, None, None], (below - u)[:, None] * (math.pi / 2)
