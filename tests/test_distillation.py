"""A pupil learns to make one jump of its teacher's two guided steps."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from emo_cli import sampling
from emo_cli.chart.whitening import HeadWhitening
from emo_cli.face.landmarks import triangles
from emo_cli.sampling import FlowClip, FlowStep
from emo_cli.training.bank import Clips
from emo_cli.training.distillation import Distillation, moved_on
from emo_cli.training.fitting import fit_codec
from emo_cli.training.objective import MotionNetworks, Objective
from emo_cli.training.stages import MINI, networks
from rig_fixture import small_rig

GUIDANCE, JUMPS, CLIPS = 2.0, 2, 2


@pytest.fixture(scope="module")
def objective() -> Objective:
    whitening = HeadWhitening(gaze=True)
    whitening.directions.copy_(torch.linalg.qr(torch.randn(3, 16, 5, generator=torch.Generator().manual_seed(1)))[0])
    return Objective(small_rig(), fit_codec(small_rig(), torch.from_numpy(triangles())), whitening, 0.9)


@pytest.fixture(scope="module")
def teacher() -> MotionNetworks:
    """Networks whose every branch says something."""
    torch.manual_seed(2)
    made = networks(replace(MINI, widths=(16, 16), audio_width=16, head_width=16))
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return made


@pytest.fixture
def clips() -> Clips:
    generator, frames = torch.Generator().manual_seed(3), 20

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(CLIPS, *shape, generator=generator)

    return Clips(
        sound=random(frames, MINI.tokens, MINI.sound_width),
        weights=random(frames, len(small_rig().names)) * 0.2,
        closure=random(frames),
        pose=random(frames, 3),
        lids=random(frames),
        onsets=random(frames) > 0.9,
        saccades=random(frames) > 0.9,
        fixations=random(frames, 2),
        gaze=random(frames, 2),
        speed=random(3) + 0.2,
    )


def distillation(objective: Objective, teacher: MotionNetworks, smoothing: float = 0.1) -> Distillation:
    return Distillation(objective, deepcopy(teacher), GUIDANCE, 1.0, JUMPS, smoothing)


def test_jumps_that_hit_their_targets_lead_where_the_teacher_s_guided_steps_lead(
    objective: Objective, teacher: MotionNetworks, clips: Clips
) -> None:
    distil, generator = distillation(objective, teacher, smoothing=0), torch.Generator().manual_seed(4)
    lesson = objective.lesson(clips, *objective.faces(clips, generator), generator)
    noise = objective.noise(lesson, generator)
    with torch.no_grad():
        told = objective.tell(teacher, lesson)

        def guided(clip: FlowClip, step: FlowStep) -> FlowClip:
            u = torch.full((CLIPS,), step.angle / (math.pi / 2))
            heard, silent = (objective.ask(teacher, lesson, told, clip, u, sound) for sound in (True, False))
            latents = silent.latents + GUIDANCE * (heard.latents - silent.latents)
            return FlowClip(latents, heard.numbers)

        expected = sampling.flow(noise, guided, 2 * JUMPS, lambda index: None)
        clip = noise
        for jump in range(JUMPS):
            u, below = (torch.full((CLIPS,), 1 - (jump + k) / JUMPS) for k in (0, 1))
            clip = moved_on(clip, distil._target(lesson, told, clip, u, below), u, below)
    assert (expected.latents - noise.latents).std() > 0.1
    assert torch.allclose(clip.latents, expected.latents, atol=1e-4)
    assert torch.allclose(clip.numbers, expected.numbers, atol=1e-4)


def test_a_pupil_comes_nearer_to_its_teacher_who_stays_as_he_is(
    objective: Objective, teacher: MotionNetworks, clips: Clips
) -> None:
    distil, pupil = distillation(objective, teacher), deepcopy(teacher)
    optimiser = torch.optim.AdamW(pupil.parameters(), 1e-4)
    seen = []
    for _ in range(8):
        total = distil.total(distil(pupil, clips, torch.Generator().manual_seed(5)))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        seen.append(float(total.detach()))
    assert seen[-1] < 0.9 * seen[0]
    taught = zip(distil.teacher.parameters(), teacher.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in taught)
