"""The whole course on real video: stage after stage, each from where the one before ended; it can be stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from emo_cli import device, scratch
from emo_cli.dataset.manifest import TrainingClip
from emo_cli.errors import OutputError, UsageError
from emo_cli.networks.codec import PictureCodec
from emo_cli.pipeline import EmoPipeline
from emo_cli.stored import StoredNetwork
from emo_cli.training import processes
from emo_cli.training.emo.hearing import HEARD, Hearing
from emo_cli.training.emo.learner import Learner
from emo_cli.training.emo.material import Ahead, Look, Material, clips_of, usual_speed
from emo_cli.training.emo.objective import Drops, Objective
from emo_cli.training.emo.presets import PRESETS, Preset, Sources, seeded, stages_for, with_parts_of
from emo_cli.training.emo.samples import Samples
from emo_cli.training.emo.stages import Stage, unfreeze
from emo_cli.training.journal import Progress
from emo_cli.training.loop import Schedule, run

MODEL, FINISHED, SAMPLES = "model", "finished.json", "samples"
NO_SOURCES = Sources()


@dataclass(frozen=True)
class CourseOptions:
    """What `emo train` was asked for. None takes the preset's own value.

    data: a folder made by `emo dataset prepare`; out: where everything goes; stage: only this one; batch: clips per
    step, of all processes together; accumulate: parts in which each process works through its share of a batch;
    minutes: stop each stage after so long, with a checkpoint; samples: steps from one look at the model to the next,
    0 for none; workers: threads that read clips.
    """

    data: Path
    out: Path
    preset: str = "emo-tiny"
    sources: Sources = NO_SOURCES
    stage: str | None = None
    steps: int | None = None
    batch: int | None = None
    rate: float | None = None
    accumulate: int = 1
    minutes: float | None = None
    seed: int = 0
    size: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    recompute: bool | None = None
    samples: int = 500
    workers: int = 2


@dataclass(frozen=True)
class Course:
    """One run of `train`: what was asked for, where it computes, and whom it tells."""

    options: CourseOptions
    preset: Preset
    clips: list[TrainingClip]
    place: torch.device
    precision: torch.dtype
    report: Callable[[str], None]
    progress: Progress | None = field(default=None, compare=False)


def train(options: CourseOptions, report: Callable[[str], None], progress: Progress | None = None) -> Path:
    """Run all stages, or the one that was asked for, continuing what is there; returns the last one's model folder.

    Every process of a group that a launcher started calls this. Raises an EmoError of the kind that fits.
    """
    if options.preset not in PRESETS:
        raise UsageError(f"There is no preset {options.preset}. Choose one of {', '.join(PRESETS)}.")
    place, precision = placement(options.device, options.dtype)
    with device.memory_guard(place), device.cores_for(None), processes.joined(place):
        preset = PRESETS[options.preset]
        course = Course(options, preset, clips_of(options.data), place, precision, report, progress)
        return _all_stages(course)


def placement(wanted: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """This process's device, and the precision of its arithmetic; a launcher's own wishes stand in for `auto`."""
    if os.environ.get("ACCELERATE_USE_CPU", "false").lower() == "true" and wanted == "auto":
        wanted = "cpu"
    if dtype == "auto":
        dtype = {"bf16": "bfloat16", "fp16": "float16"}.get(os.environ.get("ACCELERATE_MIXED_PRECISION", "no"), dtype)
    chosen = device.choose(wanted, "auto")
    if chosen.device.type != "cpu" and device.leaves_cards_open(wanted):
        chosen = device.choose(f"{chosen.device.type}:{processes.seat()}", "auto")
    precision = device.choose(str(chosen.device), dtype).dtype
    if precision == torch.float16:
        raise UsageError("Training in float16 loses small gradients. Use --dtype bfloat16 or float32.")
    return chosen.device, precision


def _all_stages(course: Course) -> Path:
    options = course.options
    first = partial(_begun, course)
    reached: Path | None = None
    names: list[str] = []
    pipeline: EmoPipeline | None = None
    for stage in course.preset.stages:
        folder = options.out / stage.name
        if options.stage not in (None, stage.name) or _is_finished(folder, _steps(options, stage)):
            names.append(stage.name)
            reached = folder / MODEL if (folder / MODEL).is_dir() else reached
            continue
        pipeline = EmoPipeline.from_pretrained(reached) if reached is not None else first()
        if stage not in stages_for(course.preset, pipeline.backbone):
            break
        names.append(stage.name)
        done = _stage(course, stage, pipeline, folder)
        reached = folder / MODEL
        if not done or options.stage is not None:
            break
    if options.stage is not None and options.stage not in names:
        raise UsageError(f"There is no stage {options.stage} for this model. Choose one of {', '.join(names)}.")
    assert reached is not None
    return reached


def _begun(course: Course) -> EmoPipeline:
    """The model before its first stage, at the frame rate of the data where it is new."""
    options = course.options
    pipeline = seeded(course.preset, options.sources, options.seed)
    family = pipeline.family
    if options.sources.start is None:
        family = replace(family, fps=course.clips[0].fps)
    if options.size is not None:
        if options.size % 16 or options.size < 64:
            raise UsageError(f"Pictures of {options.size} pixels do not fit the networks. Use a multiple of 64.")
        family = replace(family, size=options.size, latent_size=options.size // 8)
    return replace(pipeline, family=family)


def _stage(course: Course, stage: Stage, begin: EmoPipeline, folder: Path) -> bool:
    """Train one stage and write its model; returns whether it is finished."""
    options, preset = course.options, course.preset
    pipeline = _paced(course, stage, with_parts_of(stage, begin, options.seed)).to(course.place)
    assert isinstance(pipeline.codec, PictureCodec)
    hearing = Hearing(options.data, pipeline.sound_encoder, options.out)
    if stage.hears:
        course.report(f"listening to {len(course.clips)} clips; what is heard is kept in {options.out / HEARD}")
        hearing.listen(course.clips, course.progress)
    learner = Learner(pipeline, preset.weighting, still=not stage.moving).to(course.place)
    hears_in_place = pipeline.backbone.config["cross"] == "audio"
    learning = unfreeze(learner, stage, hears_in_place)
    for network in (pipeline.backbone, pipeline.reference_net):
        network.recompute = preset.recompute if options.recompute is None else options.recompute
    course.report(_told(stage, learner, learning))
    regions = pipeline.backbone.config["audio_layers"] == "hierarchical"
    look = Look(pipeline.family, regions, preset.first_clips)
    batches = Ahead(
        partial(Material(options.data, course.clips, look, stage, hearing).draw, count=_share(options, stage)),
        options.workers,
    )
    drops = Drops(preset.drop_all, preset.drop_sound, preset.drop_speed)
    objective = Objective(
        learner, pipeline.codec, pipeline.family, batches, drops, course.place, course.precision
    )
    shown = min(2 * pipeline.family.window, max(clip.frames for clip in course.clips))
    longer = replace(look, family=pipeline.family.with_changes(window=shown, motion_frames=0))
    seen = Material(options.data, course.clips, longer, stage, hearing)
    samples = Samples(pipeline, learner, seen, folder / SAMPLES, course.precision)
    if processes.wants_sharing_out():
        processes.share_out(learner, course.place)
        learning = [value for value in learner.parameters() if value.requires_grad]
    try:
        done = run(
            learner, learning, objective.step, _schedule(options, preset, stage), folder, _seed(options, stage),
            course.report, samples=partial(_by_the_first, samples), progress=course.progress,
        )  # fmt: skip
    finally:
        batches.close()
    with processes.whole(learner):
        if processes.first():
            whole = _gathered(pipeline) if processes.is_shared_out(learner) else pipeline
            _write(whole, folder, _steps(options, stage) if done else 0)
    processes.wait_for_all()
    return done


@torch.no_grad()
def _gathered(pipeline: EmoPipeline) -> EmoPipeline:
    """A model of ordinary networks with the numbers of one that is shared out, while every process holds them all:
    asked for its state, such a network would give its part only."""
    networks: dict[str, StoredNetwork] = {}
    for name, part in pipeline.parts().items():
        if isinstance(part, StoredNetwork) and name != "sound_encoder":
            networks[name] = type(part)(**part.config)
            known = dict(part.named_parameters())
            for key, value in networks[name].named_parameters():
                value.copy_(known[key])
    return replace(pipeline, **networks)  # type: ignore[arg-type]


def _by_the_first(samples: Samples, step: int) -> None:
    if processes.first():
        samples(step)


def _paced(course: Course, stage: Stage, pipeline: EmoPipeline) -> EmoPipeline:
    """The model with --speed among its controls, where a stage teaches it; 1 is the mean of the data."""
    if not stage.paced:
        return pipeline
    family, usual = pipeline.family, round(usual_speed(course.clips), 4)
    controls = (*family.controls, *(() if "speed" in family.controls else ("speed",)))
    return replace(pipeline, family=replace(family, speed=(usual, 0.0, 0.0), controls=controls))


def _schedule(options: CourseOptions, preset: Preset, stage: Stage) -> Schedule:
    return Schedule(
        steps=_steps(options, stage),
        rate=options.rate or stage.rate,
        warmup=preset.warmup,
        floor=1.0,
        average=preset.average,
        betas=(0.9, 0.999),
        minutes=options.minutes,
        accumulate=options.accumulate,
        samples_every=options.samples or None,
    )


def _steps(options: CourseOptions, stage: Stage) -> int:
    return options.steps or stage.steps


def _seed(options: CourseOptions, stage: Stage) -> int:
    """A seed for the chance of a stage; each process adds its number."""
    return options.seed * 1_000_003 + 10_007 * (1 + ("image", "video", "speed").index(stage.name))


def _share(options: CourseOptions, stage: Stage) -> int:
    """How many clips each process works on at once."""
    batch, parts = options.batch or stage.batch, processes.count() * options.accumulate
    if batch % parts:
        raise UsageError(
            f"A batch of {batch} clips cannot be divided among {processes.count()} processes in {options.accumulate} "
            f"parts each. Choose a --batch that is a multiple of {parts}."
        )
    return batch // parts


def _told(stage: Stage, learner: Learner, learning: list[torch.nn.Parameter]) -> str:
    count, of = sum(p.numel() for p in learning), sum(p.numel() for p in learner.parameters())
    return f"stage {stage.name}: {stage.why}; {count / 1e6:.2f} of {of / 1e6:.2f} million numbers learn"


def _is_finished(folder: Path, steps: int) -> bool:
    try:
        return bool(json.loads((folder / FINISHED).read_text())["steps"] >= steps)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(pipeline: EmoPipeline, folder: Path, steps: int) -> None:
    """Replace the stage's model, whole or not at all; steps: how many it had if the stage is finished, else 0."""
    target, part = folder / MODEL, folder / f".{MODEL}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        pipeline.save_pretrained(part)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
        scratch.write_text(folder / FINISHED, json.dumps({"steps": steps}) + "\n")
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}); free some room.") from error
