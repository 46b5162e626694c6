"""How mini is trained: its networks and stages, and `train`, which runs them in order and can be continued."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.whitening import HeadWhitening, Looks
from emo_cli.errors import InputError, UsageError
from emo_cli.face.landmarks import triangles
from emo_cli.family import Family
from emo_cli.networks.conditions import SoundProjection
from emo_cli.networks.unet import UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.sound.encoders import MiniHearing
from emo_cli.training.bank import Take, act_all, draw
from emo_cli.training.corpus import load, write_corpus
from emo_cli.training.distillation import Distillation
from emo_cli.training.fitting import fit_codec, fit_scale
from emo_cli.training.hearing import train_hearing
from emo_cli.training.keeping import kept_file, remembered
from emo_cli.training.loop import Randomness, Schedule, Step, run, take_over, take_result
from emo_cli.training.objective import MotionNetworks, Objective
from emo_cli.training.processes import first, report_aloud, run_together
from emo_cli.training.rig import HeadModel, Rig
from emo_cli.training.targets import displacement, random_reference

STAGES = ("hearing", "head", "video", "distillation")


@dataclass(frozen=True)
class Preset:
    """All sizes and settings of one kind of model, with the schedule of each stage.

    evidence: the sound encoder is also told what an acoustic model of real speakers thinks (acoustics.py). melody: it
    also tells how high the voice is (melody.py). again: share of the learning rates where a run begins with an earlier
    model's weights.
    widths: channels of the two levels; clips: per step and process; head_clips: extra clips per step on which only the
    head's tokens learn, since nods are learned slowly from few clips. jumps: the steps that are enough after
    distillation, whose teacher takes twice as many; jumped: its clips per step and process.
    """

    family: Family
    widths: tuple[int, int]
    audio_width: int
    head_width: int
    tokens: int
    sound_width: int
    corpus_minutes: float
    hearing: Schedule
    head: Schedule
    video: Schedule
    distillation: Schedule
    clips: int
    head_clips: int
    jumps: int = 2
    jumped: int = 4
    evidence: bool = False
    melody: bool = False
    again: float = 0.5

    @property
    def frames(self) -> int:
        """Frames of a clip, earlier and new ones."""
        return self.family.motion_frames + self.family.window


MINI = Preset(
    family=Family(
        name="mini",
        steps=4,
        noise_correlation=0.9,
        threads=1,
        controls=("steps", "guidance", "motion", "expression", "lips", "speed"),
    ),
    widths=(64, 96),
    audio_width=128,
    head_width=96,
    tokens=10,
    sound_width=162,
    corpus_minutes=480.0,
    hearing=Schedule(steps=10_000, rate=1.5e-3, warmup=50, floor=0.02, betas=(0.9, 0.999)),
    head=Schedule(steps=2500, rate=1e-3, warmup=50, floor=0.03, decay=0.05, betas=(0.9, 0.99)),
    video=Schedule(steps=2400, rate=1.2e-3),
    distillation=Schedule(steps=800, rate=4e-4, floor=0.02, average=0.99, log_every=20),
    clips=8,
    head_clips=24,
    evidence=True,
    melody=True,
)
PRESETS = {"mini": MINI}


@dataclass(frozen=True)
class TrainOptions:
    """What `emo train` was asked for.

    rig: the 468-point face tables; head_model: the head that the teeth are pictured from; out: where everything goes
    (corpus, checkpoints, model); data: a corpus to use instead of making one; start: the folder of an earlier model to
    begin with; stage: only this one; steps, rate: of each stage, if not the usual; minutes: stop each stage after so
    long, with a checkpoint to continue from;
    workers: processes that make speech; processes: that learn motion together.
    """

    rig: Path
    out: Path
    head_model: Path | None = None
    preset: str = "mini"
    data: Path | None = None
    start: Path | None = None
    stage: str | None = None
    steps: int | None = None
    rate: float | None = None
    minutes: float | None = None
    seed: int = 0
    workers: int = 1
    processes: int = 1


Report = Callable[[str], None]


def networks(preset: Preset) -> MotionNetworks:
    """ReferenceNet, Backbone and sound projection before training; every residual branch starts at zero."""
    shared = {
        "in_channels": preset.family.latent_channels,
        "widths": preset.widths,
        "layers": 1,
        "heads": 4,
        "groups": 8,
        "attention": (True, True),
        "feed_forward": 2,
        "scale_shift": True,
        "skip_inputs": False,
        "position_size": preset.family.latent_size,
    }
    reference_net = UNet(out_channels=None, temporal=(False, False), **shared)
    backbone = UNet(
        out_channels=preset.family.latent_channels,
        cross="audio",
        cross_width=preset.audio_width,
        temporal=(True, True),
        temporal_layers=1,
        temporal_heads=4,
        temporal_groups=8,
        speed="embedding",
        head_width=preset.head_width,
        head_audio=preset.tokens * preset.audio_width,
        head_gaze=True,
        **shared,
    )
    for network in (reference_net, backbone):
        silence_branches(network)
    return MotionNetworks(
        reference_net, backbone, SoundProjection(preset.tokens, preset.sound_width, preset.audio_width)
    )


def silence_branches(network: nn.Module) -> None:
    """Zero the last layer of every residual branch, so that an untrained network passes its input through."""
    for name, module in network.named_modules():
        if name.rsplit(".", 1)[-1] in ("conv2", "conv_out", "proj_out") and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def train(options: TrainOptions, report: Report) -> Path:
    """Run all stages, or the one that was asked for, continuing what is there; returns the model's folder."""
    if options.preset not in PRESETS:
        raise UsageError(f"There is no preset {options.preset}. Choose one of {', '.join(PRESETS)}.")
    if options.stage not in (None, *STAGES):
        raise UsageError(f"There is no stage {options.stage}. Choose one of {', '.join(STAGES)}.")
    preset = PRESETS[options.preset]
    corpus = options.data or options.out / "corpus"
    if options.data is None:
        report(f"speech: {preset.corpus_minutes:g} minutes in {corpus}")
        write_corpus(corpus, preset.corpus_minutes, options.seed, options.workers)
    stages = (options.stage,) if options.stage else STAGES
    if "hearing" in stages:
        schedule = _cut(preset.hearing, preset, options)
        earlier = None if options.start is None else MiniHearing.from_pretrained(options.start / "sound_encoder")
        folder = options.out / "hearing"
        train_hearing(
            corpus, folder, schedule, options.seed, report,
            evidence=preset.evidence, melody=preset.melody, earlier=earlier,
        )  # fmt: skip
    if stages == ("hearing",):
        return options.out / "hearing"
    if options.processes == 1:
        _train_motion(options, corpus, stages, report)
    else:
        run_together(options.processes, _train_motion, options, corpus, stages, report_aloud)
    return options.out / "model"


def _train_motion(options: TrainOptions, corpus: Path, stages: tuple[str, ...], report: Report) -> None:
    torch.set_flush_denormal(True)
    torch.manual_seed(options.seed)  # the same first weights in every process
    preset, rig = PRESETS[options.preset], Rig.load(options.rig)
    hearing = _open_hearing(options.out)
    takes = takes_of(options, corpus, hearing, rig)
    report(f"takes: {len(takes)}, {sum(len(take) for take in takes) / 1500:.0f} minutes")
    head_model = None if options.head_model is None else HeadModel.load(options.head_model)
    codec, whitening = fit_tables(rig, head_model, takes, options.seed)
    objective = Objective(rig, codec, whitening, preset.family.noise_correlation)
    learner = networks(preset)
    if options.start is not None:
        earlier = EmoPipeline.from_pretrained(options.start)
        for name, part in learner.named_children():
            take_over(part, getattr(earlier, name))
    report(f"parameters: {sum(p.numel() for p in learner.parameters()) / 1e6:.2f} million")
    if "head" in stages:
        learning = [*learner.sound_projection.parameters(), *learner.backbone.head.parameters()]
        step = _head_step(objective, learner, takes, preset)
        run(learner, learning, step, _cut(preset.head, preset, options), options.out / "head", options.seed, report)
    elif "video" in stages:
        take_result(learner, options.out / "head")
    if "video" in stages:
        step = _video_step(objective, learner, takes, preset)
        schedule = _cut(preset.video, preset, options)
        run(learner, learner.parameters(), step, schedule, options.out / "video", options.seed, report)
    elif "distillation" in stages:
        take_result(learner, options.out / "video")
    family = preset.family
    if "distillation" in stages:
        step = _distillation_step(objective, learner, takes, preset)
        schedule = _cut(preset.distillation, preset, options)
        run(learner, learner.parameters(), step, schedule, options.out / "distillation", options.seed, report)
        family = family.with_changes(steps=preset.jumps, guidance=1.0, head_guidance=1.0)
    if first():
        pipeline = assemble(family, learner, codec, whitening, hearing)
        pipeline.save_pretrained(options.out / "model", torch.float16)


def fit_tables(
    rig: Rig, head_model: HeadModel | None, takes: list[Take], seed: int
) -> tuple[FlowCodec, HeadWhitening]:
    """The codec's and the head's tables for this rig and these takes."""
    codec = fit_codec(rig, torch.from_numpy(triangles()), head=head_model)
    clips = draw(takes, 64, 20, 10, np.random.default_rng(seed))
    faces = random_reference(rig, 64, torch.Generator().manual_seed(seed))
    fit_scale(codec, displacement(rig, codec, faces, clips.weights, clips.closure))
    whitening = HeadWhitening.fit(
        [take.pose for take in takes],
        [take.speed for take in takes],
        [take.onsets for take in takes],
        [Looks(take.saccades, take.fixations) for take in takes],
    )
    return codec, whitening


def assemble(
    family: Family, learner: MotionNetworks, codec: FlowCodec, whitening: HeadWhitening, hearing: MiniHearing
) -> EmoPipeline:
    """The trained parts as the pipeline that `emo animate` runs."""
    return EmoPipeline(
        family=family,
        reference_net=learner.reference_net,
        backbone=learner.backbone,
        codec=codec,
        sound_encoder=hearing,
        sound_projection=learner.sound_projection,
        whitening=whitening,
    )


def _head_step(objective: Objective, learner: MotionNetworks, takes: list[Take], preset: Preset) -> Step:
    def step(randomness: Randomness) -> dict[str, torch.Tensor]:
        clips = draw(takes, 2 * preset.head_clips, preset.frames, preset.tokens, randomness.choice)
        return {"total": objective.head(learner, clips, randomness.noise)}

    return step


def _video_step(objective: Objective, learner: MotionNetworks, takes: list[Take], preset: Preset) -> Step:
    def step(randomness: Randomness) -> dict[str, torch.Tensor]:
        clips = draw(takes, preset.clips, preset.frames, preset.tokens, randomness.choice)
        losses = objective.motion(learner, clips, randomness.noise)
        more = draw(takes, preset.head_clips, preset.frames, preset.tokens, randomness.choice)
        alone = objective.head(learner, more, randomness.noise)
        total = objective.total(losses) + objective.weights.head * alone
        return {"total": total, **losses, "head alone": alone}

    return step


def _distillation_step(objective: Objective, learner: MotionNetworks, takes: list[Take], preset: Preset) -> Step:
    family = preset.family
    distil = Distillation(objective, deepcopy(learner), family.guidance, family.head_guidance, preset.jumps)

    def step(randomness: Randomness) -> dict[str, torch.Tensor]:
        clips = draw(takes, preset.jumped, preset.frames, preset.tokens, randomness.choice)
        losses = distil(learner, clips, randomness.noise)
        return {"total": distil.total(losses), **losses}

    return step


def _cut(schedule: Schedule, preset: Preset, options: TrainOptions) -> Schedule:
    """The preset's schedule with the lengths the user asked for, and slower where it begins with earlier weights."""
    usual = replace(schedule, rate=schedule.rate * (1.0 if options.start is None else preset.again))
    return usual.asked(options.steps, options.rate, options.minutes)


def takes_of(options: TrainOptions, corpus: Path, hearing: MiniHearing, rig: Rig) -> list[Take]:
    """The corpus acted out; an earlier start of the same run has kept it."""
    folder = options.out / "hearing"
    given = (options.rig, folder / "config.json", *sorted(folder.glob("*.safetensors")))
    seen = (str(options.seed).encode(), *(path.read_bytes() for path in given))
    file = kept_file(options.out, "takes", corpus, seen)
    made = remembered(file, lambda: [vars(take) for take in act_all(load(corpus, "train"), hearing, rig, options.seed)])
    return [Take(**fields) for fields in made]


def _open_hearing(out: Path) -> MiniHearing:
    folder = out / "hearing"
    if not folder.is_dir():
        raise InputError(f"There is no trained sound encoder in {folder}. Run the stage hearing first.")
    return MiniHearing.from_pretrained(folder)
