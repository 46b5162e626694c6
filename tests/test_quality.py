"""Presets and shortcuts: what is left out, what is kept alive, and that the best is the model as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from emo_cli.networks.reuse import Reuse
from emo_cli.networks.unet import Conditions
from emo_cli.pipeline import EmoPipeline
from emo_cli.quality import BEST, SHARES, Preset, Shortcuts, preset, wanted
from emo_cli.segments.scene import AtOnce
from test_pipeline import latents, motions, sound
from tiny_pipeline import tiny

KINDS = ("mini", "emo", "echomimic")


def asked(pipeline: EmoPipeline, frames: int, **settings: object) -> list[int]:
    """How many clips the Backbone is asked about, call after call."""
    clips: list[int] = []
    handle = pipeline.backbone.register_forward_hook(lambda _, given, said: clips.append(len(given[0])))
    motions(pipeline, sound(frames), **settings)
    handle.remove()
    return clips


def flops(pipeline: EmoPipeline, **settings: object) -> int:
    with FlopCounterMode(display=False) as counter:
        motions(pipeline, sound(6), **settings)
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", KINDS)
def test_steps_outside_the_interval_ask_only_with_the_sound(kind: str) -> None:
    pipeline = tiny(kind)
    everything = sum(asked(pipeline, 6, steps=4))
    assert sum(asked(pipeline, 6, steps=4, shortcuts=Shortcuts(silent=(0.0, 0.5)))) == everything * 3 // 4


@pytest.mark.parametrize("kind", ("mini", "emo"))
def test_kept_changes_save_arithmetic_and_stay_near(kind: str) -> None:
    pipeline, kept = tiny(kind), Shortcuts(every=2, depth=0)
    assert flops(pipeline, steps=4, shortcuts=kept) < 0.9 * flops(pipeline, steps=4)
    exact, near, other = (
        latents(pipeline, sound(6), steps=4, **wish) for wish in ({}, {"shortcuts": kept}, {"seed": 9})
    )
    assert 0 < (near - exact).norm() < 0.5 * (other - exact).norm()


def test_windows_that_overlap_keep_no_changes() -> None:
    pipeline = tiny("echomimic")
    assert torch.equal(latents(pipeline, sound(9)), latents(pipeline, sound(9), shortcuts=Shortcuts(every=2)))


def test_the_sound_is_heard_in_steps_that_keep_everything_else() -> None:
    network = tiny("mini").backbone
    noisy, t, speed = torch.randn(1, 4, 4, 8, 8), torch.tensor([0.5]), torch.zeros(1, 3)
    reuse = Reuse(every=2, depth=0)
    said = []
    with torch.no_grad():
        for step, seed in ((0, 1), (1, 2), (1, 3)):
            generator = torch.Generator().manual_seed(seed)
            audio = network.listen(torch.randn(1, 4, 5, 12, generator=generator))
            reuse.begin(step)
            said.append(network(noisy, t, Conditions(audio=audio, speed=speed), reuse).sample)
    assert not torch.allclose(said[1], said[2], atol=1e-5)


def test_the_levels_above_the_depth_compute_in_every_step() -> None:
    reuse = Reuse(every=2, depth=1)
    counted: list[int] = []

    def compute() -> torch.Tensor:
        counted.append(1)
        return torch.zeros(1)

    for step in range(2):
        reuse.begin(step)
        reuse.at(0)(compute)
        reuse.at(1)(compute)
    assert len(counted) == 3


@pytest.mark.parametrize("name", [*SHARES, "a-model-of-ones-own"])
def test_the_best_leaves_nothing_out(name: str) -> None:
    family = tiny("mini").family.with_changes(name=name)
    assert preset(family, "best") == BEST


@pytest.mark.parametrize("steps", (1, 2, 4, 6, 30, 40))
@pytest.mark.parametrize("name", SHARES)
def test_a_word_never_asks_for_more_steps_than_the_model_itself(name: str, steps: int) -> None:
    family = tiny("mini").family.with_changes(name=name, steps=steps)
    draft, fast, best = (wanted(family, word).steps for word in ("draft", "fast", "best"))
    assert draft is not None and fast is not None and 1 <= draft <= fast <= steps == best


@pytest.mark.parametrize("name", SHARES)
def test_a_draft_is_no_more_work_than_a_fast_one(name: str) -> None:
    family = tiny("mini").family.with_changes(name=name)
    draft, fast = preset(family, "draft"), preset(family, "fast")
    assert (draft.steps or family.steps) <= (fast.steps or family.steps)
    assert draft != BEST


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_made_at_its_best_is_the_one_made_without_a_word(kind: str) -> None:
    pipeline = tiny(kind)
    best = preset(pipeline.family, "best")
    made = latents(pipeline, sound(6), steps=best.steps, guidance=best.guidance, shortcuts=best.shortcuts)
    assert torch.equal(made, latents(replace(pipeline), sound(6)))


@pytest.mark.parametrize("at_once", (2, 3, 99))
def test_windows_of_one_step_give_the_same_frames_in_any_batch(at_once: int) -> None:
    pipeline = tiny("echomimic")
    single, batched = (latents(pipeline, sound(23), at_once=AtOnce(number)) for number in (1, at_once))
    assert len(asked(pipeline, 23, at_once=AtOnce(at_once))) < len(asked(pipeline, 23))
    assert torch.allclose(single, batched, atol=1e-4)


def test_both_halves_of_guidance_give_the_same_frames_together_and_apart() -> None:
    pipeline = tiny("echomimic")
    together, apart = (AtOnce(2, halves=halves) for halves in (True, False))
    assert torch.allclose(
        latents(pipeline, sound(13), at_once=together), latents(pipeline, sound(13), at_once=apart), atol=1e-5
    )
    assert 2 * len(asked(pipeline, 13, at_once=together)) == len(asked(pipeline, 13, at_once=apart))


def test_what_the_user_asks_for_wins_over_the_word() -> None:
    family = tiny("mini").family
    assert wanted(family.with_changes(steps=4), "draft") == Preset(2, family.guidance)
    assert wanted(family, "draft", steps=7, guidance=1.5) == Preset(7, 1.5)
    assert wanted(family, "best") == Preset(family.steps, family.guidance)
