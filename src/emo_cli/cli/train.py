"""`emo train`: make a model's weights, from nothing or from those of another."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from emo_cli.cli.report import Report
from emo_cli.errors import OutputError, UsageError

optional = partial(Option, show_default=False)

RIG_HELP = "Tables of the face rig; docs/training.md says how to get them."
RigOption = Annotated[Path | None, optional(metavar="FILE", help=RIG_HELP)]
HEAD_HELP = "Head model that the teeth are pictured from. Without it an open mouth is dark."
HeadModelOption = Annotated[Path | None, optional("--head-model", metavar="FILE", help=HEAD_HELP)]
OUT_HELP = "Where speech, checkpoints and the finished model go."
OutOption = Annotated[Path, Option(metavar="FOLDER", help=OUT_HELP)]
PresetOption = Annotated[str, Option(metavar="NAME", help="Which kind of model.")]
DATA_HELP = "Speech made by an earlier run, or clips of people. Without it: speech is made first, into --out."
DataOption = Annotated[Path | None, optional(metavar="FOLDER", help=DATA_HELP)]
FROM_HELP = "Begin with this model's weights (a name or a folder) instead of from nothing."
FromOption = Annotated[str | None, optional("--from", metavar="MODEL", help=FROM_HELP)]
STAGE_HELP = "Run only this stage. Without it: all, one after another."
StageOption = Annotated[str | None, optional(metavar="NAME", help=STAGE_HELP)]
StepsOption = Annotated[int | None, optional(min=1, help="Steps of each stage, if not the usual.")]
MinutesOption = Annotated[float | None, optional(min=0, help="Pause each stage after so long.")]
SeedOption = Annotated[int, Option(min=0, help="The same seed gives the same data and weights.")]
WorkersOption = Annotated[int, Option(min=1, help="Processes that make speech.")]
ProcessesOption = Annotated[int, Option(min=1, help="Processes that learn motion together, one core each.")]
ResumeOption = Annotated[bool, Option("--resume", help="Go on with what --out holds.")]


EXAMPLES = """Examples:

[bold]emo train --rig rig.npz --out run[/bold]  every stage, one after another

[bold]emo train --rig rig.npz --out run --resume[/bold]  go on after an interruption

[bold]emo train --rig rig.npz --out trial --stage hearing --steps 100[/bold]  a short try of one stage

[bold]emo train --from mini --data me --out run[/bold]  mini, moving as the person in the clips of \
[bold]emo dataset prepare[/bold]"""


def train(
    out: OutOption,
    rig: RigOption = None,
    head_model: HeadModelOption = None,
    preset: PresetOption = "mini",
    data: DataOption = None,
    start: FromOption = None,
    stage: StageOption = None,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    processes: ProcessesOption = 1,
    resume: ResumeOption = False,
) -> None:
    """Train a model on synthetic voices and a face rig, or on clips of people; docs/training.md tells how."""
    if not resume and out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty. Add --resume to go on with it, or choose another folder.")
    with Report() as report:
        report.stage("starting")
        from emo_cli.training.personal import PersonalOptions, is_clips, train_on_people
        from emo_cli.training.stages import TrainOptions
        from emo_cli.training.stages import train as run
        from emo_cli.weights import locate

        earlier = None if start is None else locate(start)
        if data is not None and is_clips(data):
            if earlier is None:
                raise UsageError(f"{data} holds clips of people, which fine-tune a model. Add --from mini.")
            personal = PersonalOptions(earlier, data, out, steps, minutes, seed, processes)
            folder = train_on_people(personal, report.line)
        else:
            if rig is None:
                raise UsageError("Speech is acted out on a face rig. Give --rig; docs/training.md says how to get one.")
            options = TrainOptions(
                rig, out, head_model, preset, data, earlier, stage, steps, minutes, seed, workers, processes
            )
            folder = run(options, report.line)
        report.result({"folder": folder}, f"{folder}: try it with `emo animate PHOTO SOUND --model {folder}`")
