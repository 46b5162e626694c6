"""`emo evaluate`: how good videos are, in numbers, alone, beside the truth, or beside each other."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from emo_cli.cli import options as take
from emo_cli.cli.report import Report
from emo_cli.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from emo_cli.evaluation.measures import Measures, PaperRow
    from emo_cli.evaluation.sets import Evaluation

EXAMPLES = """Examples:

[bold]emo evaluate talk.mp4[/bold]  lips, head, eyes and picture of one video

[bold]emo evaluate made/ --truth real/[/bold]  a folder beside the true videos of the same names

[bold]emo evaluate --compare before/ after/ --json[/bold]  two folders and their difference, for a program

[bold]emo evaluate made/ --truth real/ --fid pt_inception-2015-12-05-6726825d.pth --syncnet syncnet_v2.model[/bold]  \
with networks that you fetched

docs/evaluation.md tells what each figure means, and where the networks come from."""

MARKS = {"higher": "more", "lower": "less", "as the truth": "="}
LEGEND = "more, less: which is better; =: as in a true video"

compared = partial(Option, rich_help_panel="What it is compared with", show_default=False)
network = partial(Option, rich_help_panel="Published networks, for files that you fetched", show_default=False)

VIDEO_HELP = "A video, or a folder of videos."
VideoArgument = Annotated[Path | None, Argument(metavar="VIDEO|FOLDER", help=VIDEO_HELP, show_default=False)]
TRUTH_HELP = "The true video, or a folder of true videos of the same names."
TruthOption = Annotated[Path | None, compared(metavar="VIDEO|FOLDER", help=TRUTH_HELP)]
PHOTO_HELP = "The photo that the video was made of, or a folder of photos of the same names."
PhotoOption = Annotated[Path | None, compared(metavar="PHOTO|FOLDER", help=PHOTO_HELP)]
COMPARE_HELP = "Two videos or folders, side by side, in the place of one."
CompareOption = Annotated[tuple[Path, Path] | None, compared(metavar="A B", help=COMPARE_HELP)]
FID_HELP = "FID: pt_inception-2015-12-05-6726825d.pth. Needs --truth."
FidOption = Annotated[Path | None, network(metavar="FILE", help=FID_HELP)]
SYNCNET_HELP = "SyncNet's confidence and distance (LSE-C, LSE-D): syncnet_v2.model."
SyncNetOption = Annotated[Path | None, network(metavar="FILE", help=SYNCNET_HELP)]
FSIM_HELP = "F-SIM: an ArcFace network, .onnx or .pth."
FsimOption = Annotated[Path | None, network(metavar="FILE", help=FSIM_HELP)]
FVD_HELP = "FVD: rgb_imagenet.pt, I3D on Kinetics-400. Needs --truth."
FvdOption = Annotated[Path | None, network(metavar="FILE", help=FVD_HELP)]
EFID_HELP = "E-FID: epoch_20.pth of Deep3DFaceRecon. Needs --truth."
EfidOption = Annotated[Path | None, network(metavar="FILE", help=EFID_HELP)]


def evaluate(
    video: VideoArgument = None,
    truth: TruthOption = None,
    photo: PhotoOption = None,
    compare: CompareOption = None,
    fid: FidOption = None,
    syncnet: SyncNetOption = None,
    fsim: FsimOption = None,
    fvd: FvdOption = None,
    efid: EfidOption = None,
    device: take.DeviceOption = "auto",
    quiet: take.QuietOption = False,
    json: take.JsonOption = False,
) -> None:
    """Measure videos of talking faces: lips against sound, head, blinks, drift, flicker, seams; nothing is changed."""
    with Report(quiet=quiet, as_json=json) as report:
        if (video is None) == (compare is None):
            raise UsageError("Give one video or folder, or two after --compare; see `emo evaluate --help`.")
        report.stage("starting")
        from emo_cli.evaluation.judges import WeightFiles
        from emo_cli.evaluation.sets import EvaluateOptions
        from emo_cli.evaluation.sets import evaluate as measure

        files = WeightFiles(fid=fid, fvd=fvd, efid=efid, fsim=fsim, syncnet=syncnet)
        asked = compare if compare is not None else (video,) if video is not None else ()
        found = measure(EvaluateOptions(asked, truth, photo, files, device), report)
        for note in found.notes:
            report.warn(note)
        report.result(found, _told(found))


def _told(found: Evaluation) -> str:
    """The tables, as text: with lines and colours on a terminal, plain elsewhere."""
    from rich.console import Console

    shown = sys.stdout.isatty()
    text = io.StringIO()
    console = Console(file=text, force_terminal=shown, width=None if shown else 160, no_color=None if shown else True)
    console.print(_figures(found, shown))
    console.print(f"({LEGEND})")
    console.print("\nas in EMO's Table 1:")
    console.print(_paper(found, shown))
    return text.getvalue().rstrip()


def _figures(found: Evaluation, lines: bool) -> Table:
    """A row for each figure that anybody has, a column for each set."""
    from emo_cli.evaluation.measures import ROWS

    columns = [(group.name, group.mean) for group in found.sets]
    if found.difference is not None:
        columns.append(("difference", found.difference))
    if found.truth is not None:
        columns.append((found.truth.name, found.truth.mean))
    table = _table(["", *(name for name, _ in columns), "unit", "better"], lines)
    for row in ROWS:
        values = [_value(measures, row.field, row.digits) for _, measures in columns]
        if any(value != "-" for value in values):
            table.add_row(row.title, *values, row.unit, MARKS[row.better])
    return table


def _value(measures: Measures, name: str, digits: int) -> str:
    value = getattr(measures, name)
    return "-" if value is None else f"{value:.{digits}f}"


def _paper(found: Evaluation, lines: bool) -> Table:
    from emo_cli.evaluation.measures import PAPER_TITLES

    table = _table(["", *PAPER_TITLES], lines)
    for group in (*found.sets, *([found.truth] if found.truth else [])):
        table.add_row(group.name, *_columns(group.paper))
    return table


def _columns(paper: PaperRow) -> list[str]:
    from dataclasses import astuple

    return ["-" if value is None else f"{value:.3f}" for value in astuple(paper)]


def _table(titles: Sequence[str], lines: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if lines else None, pad_edge=False)
    for title in titles:
        named = title in ("", "unit", "better")
        table.add_column(title, justify="left" if named else "right", no_wrap=named, overflow="fold")
    return table
