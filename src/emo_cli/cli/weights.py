"""`emo weights`: which models there are, and fetching, checking, converting and removing them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from emo_cli.cli import options as take
from emo_cli.cli.report import Report

if TYPE_CHECKING:
    from emo_cli.catalogue import Licence, Model
    from emo_cli.weights import Checked, Status

EXAMPLES = """Examples:

[bold]emo weights list[/bold]  every model: where it is, how large, under which licence

[bold]emo weights get echomimic-acc[/bold]  fetch it; run the same line again to go on after an interruption

[bold]emo weights get hallo --with identity --accept-license[/bold]  with an extra under a restricted licence

[bold]emo weights verify[/bold]  read every byte of what was fetched and compare it with what was published

[bold]emo weights import pretrained_weights --to echomimic-bf16 --dtype bf16[/bold]  convert a clone, for faster starts

HF_HOME moves the files, HF_ENDPOINT names a mirror, HF_TOKEN is your access token, HF_HUB_OFFLINE=1 stays off the net.
"""

weights = typer.Typer(
    name="weights",
    help="List, fetch, check, convert and remove the weights of models.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode="rich",
)

NAMES_HELP = "Names of models, as `emo weights list` shows them."
NamesArgument = Annotated[list[str], typer.Argument(metavar="NAME...", help=NAMES_HELP)]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model.")]
SomeNamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME...]", help="Without names: all that were fetched.")
]
EXTRA_HELP = "Fetch an extra of the model too; `emo weights list` names them. Can be given more than once."
ExtraOption = Annotated[list[str] | None, typer.Option("--with", metavar="EXTRA", help=EXTRA_HELP)]
ACCEPT_HELP = "Accept the licences of these weights, also those that restrict their use. Asked once only."
AcceptOption = Annotated[bool, typer.Option("--accept-license", "-y", help=ACCEPT_HELP)]
OfficialArgument = Annotated[
    str, typer.Argument(metavar="OFFICIAL_FOLDER", help="A folder as the authors publish it, or a fetched model.")
]
ToOption = Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the converted model goes.")]
Precision = Literal["float32", "bfloat16", "float16", "fp32", "bf16", "fp16"]
PrecisionOption = Annotated[Precision, typer.Option("--dtype", help="Type of the converted numbers.")]
LONG_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Listed:
    """One line of `emo weights list`: bytes on disk, or about how many there are to fetch."""

    name: str
    state: str
    size: int
    licences: tuple[str, ...]
    extras: tuple[str, ...]
    summary: str
    folder: Path | None


@weights.command("list", epilog="Examples: [bold]emo weights list[/bold], [bold]emo weights list --json[/bold]")
def list_models(json: take.JsonOption = False) -> None:
    """Show every model: whether it is here, how large it is, its licence, and what it is."""
    from emo_cli.catalogue import known_models
    from emo_cli.weights import status

    with Report(quiet=False, as_json=json) as report:
        rows = tuple(_row(model, status(model)) for model in known_models())
        width = max(len(row.name) for row in rows)
        report.result({"models": [row.__dict__ for row in rows]}, "\n".join(_line(row, width) for row in rows))


def _row(model: Model, found: Status) -> Listed:
    return Listed(
        name=model.name,
        state=found.state,
        size=round(found.size),
        licences=tuple(licence.text for licence in model.licences),
        extras=tuple(extra.name for extra in model.extras),
        summary=model.summary,
        folder=None if found.state == "not fetched" else found.folder,
    )


def _line(row: Listed, width: int) -> str:
    from emo_cli.catalogue import readable

    margin = " " * (width + 2)
    lines = [
        f"{row.name:<{width}}  {row.state}, {readable(row.size)}",
        f"{margin}{row.summary}",
        f"{margin}licence: {'; '.join(row.licences)}",
    ]
    if row.extras:
        lines.append(f"{margin}extras (--with): {', '.join(row.extras)}")
    return "\n".join(lines)


@weights.command(epilog="Examples: [bold]emo weights get echomimic-acc --accept-license[/bold]")
def get(
    names: NamesArgument,
    extra: ExtraOption = None,
    accept: AcceptOption = False,
    quiet: take.QuietOption = False,
    json: take.JsonOption = False,
) -> None:
    """Fetch models, or mend what is missing or damaged; an interrupted fetch goes on where it stopped."""
    from emo_cli.catalogue import find, readable
    from emo_cli.download import fetch

    with Report(quiet=quiet, as_json=json) as report:
        models = [find(name) for name in names]
        extras = tuple(extra or ())
        done = []
        for model in models:
            for licence in dict.fromkeys(file.licence for file in model.with_extras(extras)):
                report.line(f"licence: {licence.text}" + (f" ({licence.address})" if licence.address else ""))
            done.append(fetch(model, extras, _consent(accept, report), report))
        sentences = [
            f"{made.name}: {made.folder} ({readable(made.size)}, {readable(made.received)} received)"
            if made.files
            else f"{made.name}: {made.folder} (in the package)"
            for made in done
        ]
        report.result({"models": [made.__dict__ for made in done]}, "\n".join(sentences))


def _consent(accept: bool, report: Report) -> Callable[[Licence], bool]:
    """A yes from the command line, or from the keyboard where there is a person."""

    def ask(licence: Licence) -> bool:
        return accept or report.ask(f"This licence restricts the use: {licence.text}. Do you accept it?")

    return ask


@weights.command(epilog="Examples: [bold]emo weights verify[/bold], [bold]emo weights verify echomimic-acc[/bold]")
def verify(names: SomeNamesArgument = None, json: take.JsonOption = False) -> None:
    """Read every byte of fetched models and compare it with what was published; exit code 5 if one differs."""
    from emo_cli.download import Counter
    from emo_cli.errors import WeightsError
    from emo_cli.weights import find_fetched, status
    from emo_cli.weights import verify as check

    with Report(as_json=json) as report:
        models = find_fetched(tuple(names or ()))
        checked: list[Checked] = []
        for model in models:
            report.stage(f"reading {model.name}")
            checked += check(model, Counter(round(status(model).size), report))
        bad = [file for file in checked if file.problem]
        lines = [f"{file.model}: {file.problem}" for file in bad]
        mend = dict.fromkeys(f"Mend it with `emo weights get {file.model}`." for file in bad)
        verdict = list(mend) or [_all_is_well(len(checked))]
        report.result({"files": [file.__dict__ for file in checked]}, "\n".join([*lines, *verdict]))
    if bad:
        raise typer.Exit(WeightsError.exit_code)


def _all_is_well(files: int) -> str:
    return f"All {files} files are as they were published." if files else "No weights were fetched yet."


@weights.command(epilog="Examples: [bold]cd $(emo weights path mini)[/bold]")
def path(name: NameArgument, json: take.JsonOption = False) -> None:
    """Print the folder of a model that is on this machine."""
    from emo_cli.catalogue import find
    from emo_cli.weights import locate

    with Report(as_json=json) as report:
        folder = locate(find(name).name)
        report.result({"name": name, "folder": folder}, str(folder))


@weights.command(epilog="Examples: [bold]emo weights remove echomimic-acc[/bold]")
def remove(names: NamesArgument, json: take.JsonOption = False) -> None:
    """Delete fetched models; files that another fetched model needs stay."""
    from emo_cli.catalogue import find, readable
    from emo_cli.weights import remove as delete

    with Report(as_json=json) as report:
        done = [delete(model) for model in [find(name) for name in names]]
        lines = [f"{gone.name}: removed, {readable(gone.freed)} freed" for gone in done]
        report.result({"models": [gone.__dict__ for gone in done]}, "\n".join(lines))


@weights.command("import", epilog="Examples: [bold]emo weights import my-hallo/ --to hallo-mine[/bold]")
def convert(
    source: OfficialArgument,
    to: ToOption,
    dtype: PrecisionOption = "float32",
    quiet: take.QuietOption = False,
    json: take.JsonOption = False,
) -> None:
    """Convert published weights to a model folder of emo's own, which opens faster and can be half the size."""
    with Report(quiet=quiet, as_json=json) as report:
        report.stage(f"converting {source}")
        import torch

        from emo_cli.checkpoints import import_model
        from emo_cli.weights import locate

        number = getattr(torch, LONG_NAMES.get(dtype, dtype))
        import_model(locate(source), to, number, source)
        report.result({"folder": to}, f"{to}: try it with `emo animate PHOTO SOUND --model {to}`")
