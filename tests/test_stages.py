"""From a corpus and a rig to a model that runs: all stages of `train`, a few steps each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_cli.errors import InputError, UsageError
from emo_cli.family import Family
from emo_cli.networks.codec import Canvas
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings
from emo_cli.sound.encoders import MiniHearing
from emo_cli.training.bank import act_all
from emo_cli.training.corpus import load, write_corpus
from emo_cli.training.keeping import remembered
from emo_cli.training.stages import MINI, TrainOptions, networks, train
from emo_cli.training.targets import random_reference
from rig_fixture import small_rig
from test_hearing import TwoVowels


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> TrainOptions:
    folder = tmp_path_factory.mktemp("train")
    write_corpus(folder / "corpus", 1.0, seed=7, workers=0, speakers=TwoVowels)
    small_rig().save(folder / "rig.npz")
    return TrainOptions(rig=folder / "rig.npz", out=folder / "run", data=folder / "corpus", steps=2)


def _quiet(line: str) -> None:
    """A printer that prints nothing."""


@pytest.fixture(scope="module")
def model(options: TrainOptions) -> Path:
    return train(options, _quiet)


def test_all_stages_lead_to_a_model_that_moves(model: Path) -> None:
    pipeline = EmoPipeline.from_pretrained(model)
    face = random_reference(small_rig(), 1, torch.Generator().manual_seed(0))
    canvas = Canvas(pipeline.codec.reference(face), None)
    sound = torch.randn(20, 10, pipeline.sound_encoder.width)
    motions = list(pipeline.motions(canvas, np.zeros((8, 8), np.float32), sound, Settings()))
    assert sum(len(motion.latents) for motion in motions) == 20
    assert torch.cat([motion.pose for motion in motions]).std() > 0.1


def test_a_distilled_model_asks_for_half_the_steps_and_no_guidance(model: Path) -> None:
    family = Family.load(model)
    assert (family.steps, family.guidance) == (MINI.family.steps // 2, 1.0)


def test_a_trained_model_is_small_enough_to_ship(model: Path) -> None:
    assert sum(path.stat().st_size for path in model.rglob("*") if path.is_file()) < 30e6


def test_one_stage_alone_starts_from_the_stage_before(model: Path, options: TrainOptions, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hearing"):
        train(replace(options, out=tmp_path, stage="video"), _quiet)
    assert train(replace(options, stage="video"), _quiet) == model
    assert Family.load(model) == MINI.family


def test_a_run_that_goes_on_finds_its_takes_again(model: Path, options: TrainOptions) -> None:
    kept = list(options.out.glob("takes-*.pt"))
    before = kept[0].stat().st_mtime_ns
    train(options, _quiet)
    assert list(options.out.glob("takes-*.pt")) == kept and kept[0].stat().st_mtime_ns == before


def test_takes_that_were_kept_are_the_takes_that_were_made(model: Path, options: TrainOptions) -> None:
    hearing, rig = MiniHearing.from_pretrained(options.out / "hearing"), small_rig()
    made = act_all(load(options.out.parent / "corpus", "train"), hearing, rig, options.seed)
    kept = remembered(next(iter(options.out.glob("takes-*.pt"))), lambda: [])
    assert len(kept) == len(made) > 0
    for one, other in zip(kept, made, strict=True):
        assert torch.equal(one["features"], other.features) and torch.equal(one["pose"], other.pose)


@pytest.mark.parametrize(("field", "value"), (("preset", "huge"), ("stage", "smelling")))
def test_an_unknown_preset_or_stage_is_named_with_the_choices(options: TrainOptions, field: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"{value}\. Choose one of"):
        train(replace(options, **{field: value}), _quiet)


def test_an_untrained_backbone_predicts_the_mean_and_leaves_the_noise_white() -> None:
    learner = networks(MINI)
    assert torch.count_nonzero(learner.backbone.conv_out.weight) == 0
    assert torch.count_nonzero(learner.backbone.head.pose_out.weight) == 0
