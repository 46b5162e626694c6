"""`emo dataset`: make what models are trained on, and look at it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from emo_cli.cli.report import Report
from emo_cli.errors import UsageError

EXAMPLES = "Examples: [bold]emo dataset prepare talks/ --out clips[/bold], [bold]emo dataset report clips[/bold]"

dataset = Typer(
    name="dataset", help="Make training material.", epilog=EXAMPLES, no_args_is_help=True, rich_markup_mode="rich"
)

required = partial(Option, show_default=False)

OutOption = Annotated[Path, required("--out", metavar="FOLDER", help="Where the speech goes; a part of it is kept.")]
HoursOption = Annotated[float, Option(min=0.01, help="How much sound.")]
SeedOption = Annotated[int, Option(min=0, help="The same seed gives the same sound, whatever --workers says.")]
WorkersOption = Annotated[int, Option(min=1, help="Processes that speak at a time, one core each.")]

EXAMPLE = "Examples: [bold]emo dataset synthesise --out speech --workers 2[/bold], then [bold]emo train --data speech \
--rig rig.npz --out run[/bold]"


@dataset.command(epilog=EXAMPLE)
def synthesise(out: OutOption, hours: HoursOption = 8.0, seed: SeedOption = 0, workers: WorkersOption = 1) -> None:
    """Speak and sing hours of training sound with espeak-ng, flite and festival; docs/training.md names the voices."""
    with Report() as report:
        report.stage("starting")
        from emo_cli.training.corpus import write_corpus

        shards = write_corpus(out, 60 * hours, seed, workers)
        report.result({"folder": out, "shards": shards}, f"{out}: {hours:g} hours of speech and song")


VideosArgument = Annotated[list[Path], Argument(metavar="VIDEOS...", help="Videos, or folders with videos in them.")]
DataOption = Annotated[Path, required("--out", metavar="DATA", help="Folder of the clips; give it again to go on.")]
FpsOption = Annotated[float, Option(min=1, max=240, help="Frames per second of the clips; EMO has 30, mini 25.")]
SizeOption = Annotated[int, Option(min=64, max=4096, help="Side of the clips' square picture, pixels.")]
ShortestOption = Annotated[float, Option(min=0.5, help="Seconds of the shortest clip.")]
LongestOption = Annotated[float, Option(min=0.5, help="Seconds of the longest clip.")]
RoomOption = Annotated[float, Option(min=1, help="Side of the square, in sizes of the box around all faces of a clip.")]
CameraOption = Annotated[float, Option(min=0, help="How far the camera may wander, share of the picture's width.")]
BackgroundOption = Annotated[float, Option(min=0, max=1, help="How much may change behind the head, 0 to 1.")]
AgreementOption = Annotated[float, Option(min=-1, max=1, help="Least correlation of lips and sound; -1 takes all.")]
KeepOption = Annotated[list[str] | None, required("--keep", metavar="REASON", help="Keep: hands, captions.")]
PrepareWorkersOption = Annotated[int, Option(min=1, help="Videos worked on at a time, one core each.")]

PREPARE_EXAMPLES = """Examples:

[bold]emo dataset prepare talks/ --out clips --workers 4[/bold]  every video in a folder

[bold]emo dataset prepare me.mp4 --out me[/bold], then [bold]emo train --preset mini --from mini --data me --out run\
[/bold]  a model of one person

[bold]emo dataset prepare talks/ --out clips30 --fps 30 --camera 0.05[/bold]  30 frames a second, a freer camera"""


@dataset.command(epilog=PREPARE_EXAMPLES)
def prepare(
    videos: VideosArgument, out: DataOption, fps: FpsOption = 25.0, size: SizeOption = 512,
    shortest: ShortestOption = 3.0, longest: LongestOption = 12.0, room: RoomOption = 2.0, camera: CameraOption = 0.02,
    background: BackgroundOption = 0.03, agreement: AgreementOption = 0.15, keep: KeepOption = None,
    workers: PrepareWorkersOption = 1,
) -> None:  # fmt: skip
    """Cut videos of people talking into training clips of one face each; what is left out is told with its reason."""
    kept = set(keep or ())
    if not kept <= {"hands", "captions"}:
        raise UsageError("--keep takes hands or captions. Give it twice for both.")
    if longest < 2 * shortest:
        raise UsageError(f"--longest {longest:g} must be at least twice --shortest {shortest:g}. Change one of them.")
    with Report() as report:
        report.stage("starting")
        from emo_cli.dataset.limits import Limits
        from emo_cli.dataset.preparing import prepare as run

        limits = Limits(
            fps, size, shortest, longest, room, camera, background, agreement,
            hands="hands" not in kept, captions="captions" not in kept,
        )  # fmt: skip
        found = run(videos, out, limits, workers, lambda done, total, told: report.line(f"{done} of {total}  {told}"))
        seconds = sum(clip.seconds for clip in found.clips)
        report.result(
            {"folder": out, "clips": len(found.clips), "seconds": round(seconds, 1), "dropped": len(found.dropped)},
            f"{out}: {len(found.clips)} clips, {seconds / 60:.1f} minutes; {len(found.dropped)} stretches left out. "
            f"Look at them: emo dataset report {out}",
        )


FolderArgument = Annotated[Path, Argument(metavar="DATA", help="A folder that `emo dataset prepare` made.")]
PageOption = Annotated[Path | None, required("--out", metavar="FILE", help="The page. Without it: DATA/report.html.")]


@dataset.command(epilog="Examples: [bold]emo dataset report clips[/bold]")
def report(data: FolderArgument, out: PageOption = None) -> None:
    """Write a page about a folder of clips: counts, lengths, poses, speeds, what was left out, sample frames."""
    with Report() as told:
        told.stage("starting")
        from emo_cli.dataset.report import write_report

        page = out or data / "report.html"
        clips = write_report(data, page)
        told.result({"page": page, "clips": clips}, f"{page}: {clips} clips")
