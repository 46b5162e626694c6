"""Segments in a row, for every kind of model, with tiny untrained networks."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
import torch

from emo_cli.chart.whitening import HeadWhitening
from emo_cli.errors import ModelError, WeightsError
from emo_cli.family import Family
from emo_cli.networks.codec import Motion
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.made import Made
from emo_cli.segments.scene import Settings, clip_seed
from tiny_pipeline import tiny

KINDS = ("mini", "emo", "echomimic")
MASK = np.ones((64, 64), np.float32)


def sound(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, 5, 12, generator=torch.Generator().manual_seed(seed))


def motions(pipeline: EmoPipeline, features: torch.Tensor, **settings: object) -> list[Motion]:
    canvas = pipeline.codec.open(None)
    return list(pipeline.motions(canvas, MASK, features, Settings(**settings)))


def latents(pipeline: EmoPipeline, features: torch.Tensor, **settings: object) -> torch.Tensor:
    return torch.cat([motion.latents for motion in motions(pipeline, features, **settings)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", (1, 15, 16, 17, 40))
def test_there_are_as_many_frames_as_the_sound_has(kind: str, frames: int) -> None:
    assert len(latents(tiny(kind), sound(frames), steps=1)) == frames


@cache
def third(kind: str) -> torch.Tensor:
    """What the seed 3 makes of a sound."""
    return latents(tiny(kind), sound(17), seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_frames(kind: str) -> None:
    assert torch.equal(third(kind), latents(tiny(kind), sound(17), seed=3))


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_other_frames(kind: str) -> None:
    assert not torch.allclose(third(kind), latents(tiny(kind), sound(17), seed=4), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_other_sound_gives_other_frames(kind: str) -> None:
    assert not torch.allclose(third(kind), latents(tiny(kind), sound(17, seed=1), seed=3), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_guidance_of_one_asks_the_network_once_per_step(kind: str) -> None:
    pipeline = tiny(kind)
    asked: list[int] = []  # one per clip: both halves may go as one batch
    handle = pipeline.backbone.register_forward_hook(lambda _, given, said: asked.extend([1] * len(given[0])))
    motions(pipeline, sound(6), steps=2, guidance=1.0)
    single = len(asked)
    motions(pipeline, sound(6), steps=2, guidance=2.0)
    handle.remove()
    assert len(asked) - single == 2 * single


@pytest.mark.parametrize("kind", ("mini", "emo"))
def test_the_beginning_does_not_depend_on_how_the_sound_goes_on(kind: str) -> None:
    pipeline = tiny(kind)
    window = pipeline.family.window
    short, long = sound(2 * window), torch.cat([sound(2 * window), sound(window, 5)])
    assert torch.allclose(latents(pipeline, short)[:window], latents(pipeline, long)[:window], atol=1e-6)


@pytest.mark.parametrize("kind", ("mini", "emo"))
def test_a_clip_continues_the_one_before(kind: str) -> None:
    pipeline = tiny(kind)
    window = pipeline.family.window
    first, later = sound(window), sound(window, 1)
    after = latents(pipeline, torch.cat([first, later]))[window:]
    other = latents(pipeline, torch.cat([first + 3, later]))[window:]
    assert not torch.allclose(after, other, atol=1e-5)


def test_mini_gives_pose_lids_and_gaze_for_every_frame() -> None:
    for motion in motions(tiny("mini"), sound(20)):
        assert motion.pose.shape == (len(motion.latents), 3)
        assert motion.lids.shape == (len(motion.latents),)
        assert motion.gaze.shape == (len(motion.latents), 2)


def test_the_eyes_of_an_untrained_mini_jump_and_then_rest() -> None:
    gaze = torch.cat([motion.gaze for motion in motions(tiny("mini"), sound(320), steps=1)])
    moves = gaze.diff(dim=0).norm(dim=1) > 0.01
    assert 5 < moves.sum() < 80


def test_a_mini_without_gaze_makes_its_frames_without_it() -> None:
    pipeline = tiny("mini")
    config = {**pipeline.backbone.config, "head_gaze": False}
    pipeline = replace(pipeline, backbone=type(pipeline.backbone)(**config).eval(), whitening=HeadWhitening())
    for motion in motions(pipeline, sound(20)):
        assert motion.gaze is None
        assert motion.lids.shape == (len(motion.latents),)


def test_speed_makes_the_head_of_an_untrained_mini_move_in_proportion() -> None:
    pipeline = tiny("mini")
    pipeline.whitening.directions.fill_(0.5)
    slow, fast = (torch.cat([m.pose for m in motions(pipeline, sound(48), speed=s)]) for s in (0.5, 1.0))
    assert torch.allclose(fast, 2 * slow, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_callback_hears_of_every_step(kind: str) -> None:
    pipeline, heard = tiny(kind), []
    canvas = pipeline.codec.open(None)
    settings = Settings(steps=3)
    list(pipeline.motions(canvas, MASK, sound(20), settings, lambda frames, step: heard.append((frames, step))))
    assert [step for _, step in heard[:3]] == [0, 1, 2]
    assert len(heard) % 3 == 0


def test_segments_come_out_one_by_one() -> None:
    pipeline, heard = tiny("mini"), []
    stream = pipeline.motions(
        pipeline.codec.open(None), MASK, sound(160), Settings(), lambda frames, step: heard.append(frames)
    )
    next(stream)
    assert set(heard) == {0}


def test_a_model_that_gives_no_numbers_is_reported() -> None:
    pipeline = tiny("mini")
    pipeline.backbone.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="float32 too"):
        motions(pipeline, sound(4))


def test_a_saved_mini_without_its_codec_is_refused_with_the_next_step(tmp_path) -> None:
    tiny("mini").save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="Fetch it again"):
        EmoPipeline.from_pretrained(tmp_path)


def test_a_folder_without_a_family_is_no_model(tmp_path) -> None:
    with pytest.raises(WeightsError, match="not a model folder"):
        EmoPipeline.from_pretrained(tmp_path)


def test_a_family_is_read_as_it_was_written(tmp_path) -> None:
    family = replace(tiny("emo").family, speed=(0.1, 0.2, 0.3))
    family.save(tmp_path)
    assert Family.load(tmp_path) == family


def test_unknown_facts_in_a_family_are_refused(tmp_path) -> None:
    (tmp_path / "family.json").write_text('{"name": "x", "colour": "red"}')
    with pytest.raises(WeightsError, match="colour"):
        Family.load(tmp_path)


def test_segments_have_noise_of_their_own() -> None:
    assert len({clip_seed(seed, index) for seed in range(20) for index in range(20)}) == 400


def test_bfloat16_stays_near_float32() -> None:
    pipeline = tiny("mini")
    exact = latents(pipeline, sound(16))
    rough = latents(pipeline.to("cpu", torch.bfloat16), sound(16))
    assert (exact - rough).abs().mean() < 0.05 * exact.abs().mean() + 0.05


@dataclass
class Notebook:
    """Keeps segments in memory; a later run begins at segment `first`."""

    first: int = 0
    pages: dict[int, Made] = field(default_factory=dict)

    def kept(self) -> Iterator[Made]:
        index = max(0, self.first - 1)
        while index in self.pages:
            yield self.pages[index]
            index += 1

    def keep(self, made: Made) -> None:
        self.pages[made.index] = made


@cache
def _undisturbed(kind: str) -> tuple[EmoPipeline, list[Motion], Notebook]:
    """A pipeline, and what it makes of a sound of three segments or more, with its notes."""
    pipeline, notes = tiny(kind), Notebook()
    if kind == "echomimic":
        pipeline = replace(pipeline, family=pipeline.family.with_changes(longest=14))
    return pipeline, _noted(pipeline, notes), notes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("known", "first"), [(1, 0), (2, 0), (2, 1), (2, 2), (3, 3)])
def test_what_goes_on_from_kept_segments_equals_an_undisturbed_run(kind: str, known: int, first: int) -> None:
    pipeline, whole, notes = _undisturbed(kind)
    assert len(whole) == len(notes.pages) >= 3
    going_on = Notebook(first, {index: notes.pages[index] for index in range(known)})
    rest = _noted(pipeline, going_on)
    assert len(rest) == len(whole) - first
    for one, other in zip(whole[first:], rest, strict=True):
        assert torch.equal(one.latents, other.latents)
        assert one.pose is None or torch.equal(one.pose, other.pose)
    assert sorted(going_on.pages) == list(range(len(whole)))


def _noted(pipeline: EmoPipeline, diary: Notebook) -> list[Motion]:
    return list(pipeline.motions(pipeline.codec.open(None), MASK, sound(40), Settings(seed=5), diary=diary))
