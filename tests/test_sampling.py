"""Samplers against cases with a known answer."""

import math

import pytest
import torch
from diffusers import DDIMScheduler

from emo_cli import sampling
from emo_cli.sampling import FlowClip
from emo_cli.segments.flow import joined


def quiet(step: int) -> None:
    """A callback that does nothing."""


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("steps", (1, 2, 6))
def test_flow_arrives_at_what_a_sure_network_says(steps: int) -> None:
    answer = normal(1, 3, 2, 4, 4)
    start = FlowClip(normal(1, 3, 2, 4, 4) + 1, torch.zeros(1, 5))
    said = sampling.flow(start, lambda clip, step: FlowClip(answer, torch.zeros(1, 5)), steps, quiet)
    assert torch.allclose(said.latents, answer, atol=1e-6)


@pytest.mark.parametrize("steps", (1, 4, 12))
def test_head_numbers_stay_as_they_are_where_v_is_zero(steps: int) -> None:
    start = FlowClip(torch.zeros(1, 1, 1, 1, 1), normal(1, 17))
    said = sampling.flow(start, lambda clip, step: FlowClip(clip.latents, torch.zeros(1, 17)), steps, quiet)
    assert torch.equal(said.numbers, start.numbers)


def test_flow_times_fall_from_one_to_zero() -> None:
    steps = sampling.flow_steps(6)
    assert steps[0].t == 1 and steps[-1].next_t == 0
    assert steps[0].angle == pytest.approx(math.pi / 2) and steps[-1].next_angle == 0
    assert all(step.next_t < step.t for step in steps)


@pytest.mark.parametrize("steps", (1, 6, 7, 30))
def test_ddim_agrees_with_diffusers(steps: int) -> None:
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False, steps_offset=1,
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing",
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    assert sampling.timesteps(steps) == scheduler.timesteps.tolist()

    def predict(latents: torch.Tensor, step: sampling.Step) -> torch.Tensor:
        assert step.t == scheduler.timesteps[step.index]
        return torch.tanh(latents * 0.7 + step.t / 1000)

    expected = normal(1, 4, 8, 8)
    for index, t in enumerate(scheduler.timesteps):
        expected = scheduler.step(predict(expected, sampling.Step(index, float(t))), t, expected).prev_sample
    ours = sampling.ddim(normal(1, 4, 8, 8), predict, steps, sampling.noise_levels(), quiet)
    assert torch.allclose(ours, expected, atol=1e-4)


def test_the_noisiest_level_holds_no_signal() -> None:
    assert sampling.noise_levels()[-1] == 0


def test_guidance_of_one_is_the_prediction_with_sound() -> None:
    with_sound, without = normal(3), normal(3) + 1
    assert torch.allclose(sampling.guided(with_sound, without, 1.0), with_sound)


def test_guidance_leads_away_from_silence() -> None:
    assert sampling.guided(torch.tensor(2.0), torch.tensor(1.0), 3.0) == 4.0


def test_overlapping_windows_blend_to_their_mean() -> None:
    latents = torch.zeros(1, 4, 1)
    blended = sampling.blended(latents, [(0, 1, 2), (2, 3)], lambda part, group: part + len(group[0]))
    assert blended.flatten().tolist() == [3, 3, 2.5, 2]


def test_correlated_noise_has_unit_size_and_smooth_time() -> None:
    noise = sampling.frame_noise((400, 16, 8), 0.9, torch.Generator().manual_seed(0))
    assert noise.std(0).mean() == pytest.approx(1, abs=0.05)
    assert (noise[:, 1:] * noise[:, :-1]).mean() == pytest.approx(0.9, abs=0.03)


def test_noise_goes_on_across_the_border_of_two_clips() -> None:
    chance = torch.Generator().manual_seed(0)
    first = sampling.frame_noise((400, 16, 8), 0.9, chance)
    second = sampling.frame_noise((400, 16, 8), 0.9, chance, before=first[:, -1])
    assert (first[:, -1] * second[:, 0]).mean() == pytest.approx(0.9, abs=0.04)
    assert (first[:, -1] * second[:, 7]).mean() == pytest.approx(0.9**8, abs=0.06)
    assert second.std(0).mean() == pytest.approx(1, abs=0.05)


def test_the_same_seed_draws_the_same_noise() -> None:
    draws = [sampling.frame_noise((1, 4, 2), 0.5, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)


def test_the_first_frame_of_a_clip_lies_nearer_to_the_one_before_and_the_others_stay() -> None:
    clip, before = torch.randn(1, 6, 2, 3, 3), torch.randn(1, 2, 3, 3)
    made = joined(clip, before)
    assert (made[:, 0] - before).norm() < (clip[:, 0] - before).norm()
    assert torch.equal(made[:, 1:], clip[:, 1:])
    assert torch.allclose(joined(torch.ones(1, 1, 1), torch.zeros(1, 1)), torch.full((1, 1, 1), 0.8))
