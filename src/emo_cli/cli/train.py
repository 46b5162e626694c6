"""`emo train`: make a model's weights, or go on from those that exist."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Context, Option

from emo_cli.cli.options import DEVICE_HELP
from emo_cli.cli.report import Report
from emo_cli.errors import OutputError, UsageError

optional = partial(Option, show_default=False)
MINI_ONLY, FILMED_ONLY = "Only for mini", "Only on real video"
for_mini = partial(optional, rich_help_panel=MINI_ONLY)
on_video = partial(optional, rich_help_panel=FILMED_ONLY)

OUT_HELP = "Where checkpoints, logs, samples and the finished model go."
OutOption = Annotated[Path, Option(metavar="FOLDER", help=OUT_HELP)]
PRESET_HELP = "Which kind of model: mini, emo, or emo-tiny, which is emo at toy size. Without it: mini."
PresetOption = Annotated[str | None, optional(metavar="NAME", help=PRESET_HELP)]
FROM_HELP = "Begin with this model's weights (mini, echomimic, hallo, or a folder) instead of from nothing."
FromOption = Annotated[str | None, optional("--from", metavar="MODEL", help=FROM_HELP)]
DATA_HELP = "Clips made by `emo dataset prepare`; for mini, speech made by an earlier run, or by `synthesise`, too."
DataOption = Annotated[Path | None, optional(metavar="FOLDER", help=DATA_HELP)]
STAGE_HELP = "Run only this stage. Without it: all, one after another."
StageOption = Annotated[str | None, optional(metavar="NAME", help=STAGE_HELP)]
StepsOption = Annotated[int | None, optional(min=1, help="Steps of each stage, if not the usual.")]
RateOption = Annotated[float | None, optional(min=1e-9, help="Learning rate of each stage, if not the usual.")]
MinutesOption = Annotated[float | None, optional(min=0, help="Pause each stage after so long.")]
SeedOption = Annotated[int, Option(min=0, help="The same seed gives the same data and weights.")]
WorkersOption = Annotated[int, Option(min=0, help="Processes that make speech, or threads that read clips.")]
ResumeOption = Annotated[bool, Option("--resume", help="Go on with what --out holds.")]

RIG_HELP = "Tables of the face rig; docs/training.md says how to get them."
RigOption = Annotated[Path | None, for_mini(metavar="FILE", help=RIG_HELP)]
HEAD_HELP = "Head model that the teeth are pictured from. Without it an open mouth is dark."
HeadModelOption = Annotated[Path | None, for_mini("--head-model", metavar="FILE", help=HEAD_HELP)]
PROCESSES_HELP = "Processes that learn motion together, one core each."
ProcessesOption = Annotated[int, Option(min=1, help=PROCESSES_HELP, rich_help_panel=MINI_ONLY)]

BASE_HELP = "Folder of Stable Diffusion 1.5, in diffusers' layout."
BaseOption = Annotated[Path | None, on_video(metavar="FOLDER", help=BASE_HELP)]
TEMPORAL_HELP = "Motion modules of AnimateDiff to begin with."
TemporalOption = Annotated[Path | None, on_video(metavar="FILE", help=TEMPORAL_HELP)]
HEARING_HELP = "Folder of wav2vec2-base-960h."
HearingOption = Annotated[Path | None, on_video(metavar="FOLDER", help=HEARING_HELP)]
AUTOENCODER_HELP = "Autoencoder, if not the one in --base."
AutoencoderOption = Annotated[Path | None, on_video(metavar="FOLDER", help=AUTOENCODER_HELP)]
BatchOption = Annotated[int | None, on_video(min=1, help="Clips per step, of all processes together.")]
AccumulateOption = Annotated[
    int, Option(min=1, help="Parts of a batch, one after another, to save memory.", rich_help_panel=FILMED_ONLY)
]
SizeOption = Annotated[int | None, on_video(min=64, help="Side of the pictures, if not the usual.")]
DeviceOption = Annotated[str, Option(help=DEVICE_HELP, rich_help_panel=FILMED_ONLY)]
DTYPE_HELP = "Precision of the arithmetic: float32 or bfloat16. Weights stay float32."
DtypeOption = Annotated[str, Option(help=DTYPE_HELP, rich_help_panel=FILMED_ONLY)]
RECOMPUTE_HELP = "Compute layers again on the way back: less memory, more time."
RecomputeOption = Annotated[bool | None, on_video("--recompute/--no-recompute", help=RECOMPUTE_HELP)]
SAMPLES_HELP = "Show what the model makes every so many steps; 0: never."
SamplesOption = Annotated[int, Option(min=0, help=SAMPLES_HELP, rich_help_panel=FILMED_ONLY)]

EXAMPLES = """Examples:

[bold]emo train --rig rig.npz --out run[/bold]  mini from nothing: every stage, one after another

[bold]emo train --rig rig.npz --out run --resume[/bold]  go on after an interruption

[bold]emo train --from mini --data me --out run[/bold]  mini, moving as the person in the clips of \
[bold]emo dataset prepare[/bold]

[bold]emo train --preset emo-tiny --data clips --out trial[/bold]  EMO's three stages at toy size, on any machine

[bold]emo train --preset emo --base sd15 --hearing wav2vec2-base-960h --data clips --out run[/bold]  the paper

[bold]emo train --from echomimic --data clips --out tuned --stage video --rate 1e-6[/bold]  fine-tune what exists

[bold]accelerate launch --num_processes 8 -m emo_cli train --preset emo ...[/bold]  eight graphics cards"""


@dataclass(frozen=True)
class Way:
    """A way to train: in words; the options that have a say in it beside those that always have; the one that it
    cannot do without, and what to tell who left it out."""

    words: str
    options: str
    needs: str
    lacking: str


ALWAYS = "out preset start data steps rate minutes seed resume"
SPEECH = Way(
    "mini learns from speech",
    "stage workers rig head_model processes",
    "rig", "Speech is acted out on a face rig. Give --rig; docs/training.md says how to get one.",
)  # fmt: skip
PEOPLE = Way(
    "mini learns from clips of people",
    "processes",
    "start", "--data holds clips of people, which fine-tune a model. Add --from mini, or --preset emo-tiny.",
)  # fmt: skip
VIDEO = Way(
    "a model of EMO's kind learns from clips",
    "stage workers base temporal hearing autoencoder batch accumulate size device dtype recompute samples",
    "data", "Give the clips to learn from with --data; `emo dataset prepare` makes them.",
)  # fmt: skip


def train(
    context: Context,
    out: OutOption,
    preset: PresetOption = None,
    start: FromOption = None,
    data: DataOption = None,
    stage: StageOption = None,
    steps: StepsOption = None,
    rate: RateOption = None,
    minutes: MinutesOption = None,
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    resume: ResumeOption = False,
    rig: RigOption = None,
    head_model: HeadModelOption = None,
    processes: ProcessesOption = 1,
    base: BaseOption = None,
    temporal: TemporalOption = None,
    hearing: HearingOption = None,
    autoencoder: AutoencoderOption = None,
    batch: BatchOption = None,
    accumulate: AccumulateOption = 1,
    size: SizeOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    recompute: RecomputeOption = None,
    samples: SamplesOption = 500,
) -> None:
    """Train a model on synthetic voices and a face rig, or on clips of people; docs/training.md tells how."""
    leads = os.environ.get("RANK", "0") == "0"
    if leads and not resume and out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty. Add --resume to go on with it, or choose another folder.")
    kind = _kind(preset, start)
    with Report(quiet=not leads) as report:
        report.stage("starting")
        way = _way(kind, data)
        _check(context, way)
        if way is VIDEO:
            from emo_cli.training.emo.course import CourseOptions
            from emo_cli.training.emo.course import train as learn
            from emo_cli.training.emo.presets import Sources

            assert data is not None
            course = CourseOptions(
                data=data, out=out, preset=kind, sources=Sources(base, temporal, hearing, autoencoder, start),
                stage=stage, steps=steps, batch=batch, rate=rate, accumulate=accumulate, minutes=minutes, seed=seed,
                size=size, device=device, dtype=dtype, recompute=recompute, samples=samples, workers=workers,
            )  # fmt: skip
            folder = learn(course, report.line, report.share)
        elif way is PEOPLE:
            from emo_cli.training.personal import PersonalOptions, train_on_people
            from emo_cli.weights import locate

            assert start is not None and data is not None
            personal = PersonalOptions(
                start=locate(start), data=data, out=out, steps=steps, rate=rate, minutes=minutes, seed=seed,
                processes=processes,
            )  # fmt: skip
            folder = train_on_people(personal, report.line)
        else:
            from emo_cli.training.stages import TrainOptions
            from emo_cli.training.stages import train as run
            from emo_cli.weights import locate

            assert rig is not None
            earlier = None if start is None else locate(start)
            options = TrainOptions(
                rig=rig, out=out, head_model=head_model, preset=kind, data=data, start=earlier, stage=stage,
                steps=steps, rate=rate, minutes=minutes, seed=seed, workers=max(workers, 1), processes=processes,
            )  # fmt: skip
            folder = run(options, report.line)
        report.result({"folder": folder}, f"{folder}: try it with `emo animate PHOTO SOUND --model {folder}`")


def _way(kind: str, data: Path | None) -> Way:
    """How a model of this kind learns from what lies in a folder."""
    if kind != "mini":
        return VIDEO
    from emo_cli.training.personal import is_clips

    return PEOPLE if is_clips(data) else SPEECH


def _check(context: Context, way: Way) -> None:
    """Raises UsageError for an option that is missing, or that would change nothing."""
    if way is not VIDEO and os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError("mini starts its processes itself: leave out the launcher and give --processes.")
    heard = {*ALWAYS.split(), *way.options.split()}
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name not in heard and source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT"):
            raise UsageError(
                f"{option.opts[0]} has no say where {way.words}. Leave it out, or choose another --preset or --data."
            )
    if context.params[way.needs] is None:
        raise UsageError(way.lacking)


def _kind(preset: str | None, start: str | None) -> str:
    """The preset that the user's words mean; `tune` goes on from any model of EMO's kind."""
    if start is None:
        return preset or "mini"
    from emo_cli.checkpoints import describe
    from emo_cli.weights import locate

    own = "mini" if describe(locate(start), start).schedule == "flow" else "tune"
    if preset not in (None, own):
        raise UsageError(f"{start} is no model of the preset {preset}. Leave out --preset, or --from.")
    return own
