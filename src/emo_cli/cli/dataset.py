"""`emo dataset`: make what mini is trained on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option, Typer

from emo_cli.cli.report import Report

dataset = Typer(name="dataset", help="Make training material.", no_args_is_help=True)

required = partial(Option, show_default=False)

OutOption = Annotated[Path, required("--out", metavar="FOLDER", help="Where the speech goes; a part of it is kept.")]
HoursOption = Annotated[float, Option(min=0.01, help="How much sound.")]
SeedOption = Annotated[int, Option(min=0, help="The same seed gives the same sound, whatever --workers says.")]
WorkersOption = Annotated[int, Option(min=1, help="Processes that speak at a time, one core each.")]

EXAMPLE = "Example: [bold]emo dataset synthesise --out speech --workers 2[/bold], then [bold]emo train --data speech \
--rig rig.npz --out run[/bold]"


@dataset.command(epilog=EXAMPLE)
def synthesise(out: OutOption, hours: HoursOption = 8.0, seed: SeedOption = 0, workers: WorkersOption = 1) -> None:
    """Speak and sing hours of training sound with espeak-ng, flite and festival; docs/training.md names the voices."""
    with Report() as report:
        report.stage("starting")
        from emo_cli.training.corpus import write_corpus

        shards = write_corpus(out, 60 * hours, seed, workers)
        report.result({"folder": out, "shards": shards}, f"{out}: {hours:g} hours of speech and song")
