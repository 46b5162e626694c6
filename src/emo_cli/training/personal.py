"""Fine-tune mini on tracked clips of real people, so that it moves as they do: `emo train --from mini --data CLIPS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from emo_cli.chart.codec import FlowCodec
from emo_cli.dataset.manifest import MANIFEST
from emo_cli.errors import UsageError
from emo_cli.networks.conditions import SoundProjection
from emo_cli.pipeline import EmoPipeline
from emo_cli.sound.encoders import MiniHearing
from emo_cli.training.loop import Randomness, Schedule, Step, run
from emo_cli.training.objective import MotionNetworks, Objective
from emo_cli.training.processes import first, report_aloud, run_together
from emo_cli.training.tracked import TrackedTake, draw, load_takes

SCHEDULE = Schedule(steps=400, rate=2e-4, warmup=10, floor=0.1, average=0.99, log_every=20, checkpoint_minutes=5.0)
ONE_IN = 8  # takes that are never learned from, to tell learning from learning by heart
_MEASURED = 3  # batches of the measurement
STAGE = "personal"


@dataclass(frozen=True)
class PersonalOptions:
    """What the fine-tuning was asked for: start: the folder of mini or another model of its kind; data: the clips'
    folder; out: where checkpoints and the model go; steps, rate: if not the usual; minutes: pause after so long;
    processes: that learn together; clips: per step and process."""

    start: Path
    data: Path
    out: Path
    steps: int | None = None
    rate: float | None = None
    minutes: float | None = None
    seed: int = 0
    processes: int = 1
    clips: int = 8


Report = Callable[[str], None]


def is_clips(data: Path | None) -> bool:
    """Whether a folder holds training clips, and not a spoken corpus."""
    return data is not None and (data / MANIFEST).is_file()


def train_on_people(options: PersonalOptions, report: Report) -> Path:
    """Run the fine-tuning, or go on with it; returns the model's folder. Raises InputError, UsageError."""
    if options.processes == 1:
        _train(options, report)
    else:
        run_together(options.processes, _train, options, report_aloud)
    return options.out / "model"


def _train(options: PersonalOptions, report: Report) -> None:
    torch.set_flush_denormal(True)
    torch.manual_seed(options.seed)
    pipeline = EmoPipeline.from_pretrained(options.start)
    codec, hearing, learner, objective = parts_of(pipeline, str(options.start))
    takes = load_takes(options.data, codec, hearing)
    report(f"takes: {len(takes)}, {sum(len(take) for take in takes) / 1500:.1f} minutes")
    learned, kept = split(takes)
    before = measured(objective, learner, kept, pipeline, options.clips)
    schedule = SCHEDULE.asked(options.steps, options.rate, options.minutes)
    step = personal_step(objective, learner, learned, pipeline, options.clips)
    run(learner, learner.parameters(), step, schedule, options.out / STAGE, options.seed, report)
    if first():
        after = measured(objective, learner, kept, pipeline, options.clips)
        which = "clips not learned from" if kept is not learned else "these clips"
        report(f"error on {which}: {before:.4f} before, {after:.4f} after")
        pipeline.save_pretrained(options.out / "model", torch.float16)


def parts_of(pipeline: EmoPipeline, name: str) -> tuple[FlowCodec, MiniHearing, MotionNetworks, Objective]:
    """What is learned and by which rule; only the networks of motion learn. Raises UsageError for other models."""
    codec, hearing, whitening = pipeline.codec, pipeline.sound_encoder, pipeline.whitening
    projection = pipeline.sound_projection
    if (
        not isinstance(codec, FlowCodec)
        or not isinstance(hearing, MiniHearing)
        or not isinstance(projection, SoundProjection)
        or whitening is None
    ):
        raise UsageError(f"{name} is no model of mini's kind. Give --from mini, or a folder that emo train made of it.")
    learner = MotionNetworks(pipeline.reference_net, pipeline.backbone, projection)
    learner.train().requires_grad_(True)
    return codec, hearing, learner, Objective(None, codec, whitening, pipeline.family.noise_correlation)


def split(takes: Sequence[TrackedTake]) -> tuple[Sequence[TrackedTake], Sequence[TrackedTake]]:
    """Takes to learn from and takes to measure on; the same ones where there are few."""
    if len(takes) < ONE_IN // 2:
        return takes, takes
    return [t for i, t in enumerate(takes) if i % ONE_IN != 1], [t for i, t in enumerate(takes) if i % ONE_IN == 1]


def personal_step(
    objective: Objective, learner: MotionNetworks, takes: Sequence[TrackedTake], pipeline: EmoPipeline, count: int
) -> Step:
    """One step on `count` clips of random takes."""
    family, codec, tokens = pipeline.family, objective.codec, pipeline.sound_encoder.tokens
    frames = family.motion_frames + family.window

    def step(randomness: Randomness) -> dict[str, torch.Tensor]:
        batch = draw(takes, codec, count, frames, tokens, randomness.choice)
        losses = objective.motion_of(learner, batch.clips, batch.canonical, batch.moved, randomness.noise)
        return {"total": objective.total(losses), **losses}

    return step


@torch.no_grad()
def measured(
    objective: Objective, learner: MotionNetworks, takes: Sequence[TrackedTake], pipeline: EmoPipeline, count: int
) -> float:
    """The mean loss on takes, always with the same clips and the same noise."""
    step, randomness = personal_step(objective, learner, takes, pipeline, count), Randomness.seeded(0)
    return sum(float(step(randomness)["total"]) for _ in range(_MEASURED)) / _MEASURED
