"""`emo batch`: many videos in one go, that can be stopped and gone on with at any time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Exit, Option

from emo_cli.cli import options as take
from emo_cli.cli.report import Report
from emo_cli.errors import BatchError, UsageError

if TYPE_CHECKING:
    from emo_cli.animate import AnimateOptions
    from emo_cli.batch.jobs import Job, Pairing
    from emo_cli.batch.ledger import Record
    from emo_cli.batch.runner import Batch

EXAMPLES = """Examples:

[bold]emo batch people/[/bold]  anna.jpg with anna.wav, ben.png with ben.mp3, ... into videos/

[bold]emo batch "photos/*.jpg" --audio song.wav -o choir/[/bold]  everybody sings one song

[bold]emo batch photos/ speeches/ --pair cross --framing full[/bold]  everybody says everything

[bold]emo batch jobs.csv --retry 1 --json[/bold]  a table with options of their own for each row

[bold]emo batch jobs.csv --shard $SLURM_ARRAY_TASK_ID/8[/bold]  one part of eight, in a job array

The same command again goes on where the last one stopped. Exit codes: 0 all videos are there, 8 some failed."""

jobs = partial(Option, rich_help_panel="Jobs")
machines = partial(Option, rich_help_panel="Workers and machines")

SOURCE_HELP = (
    "A folder with photos and sounds of the same names; a table (.csv, .jsonl, - for standard input); "
    'or photos: a folder, a pattern such as "photos/*.jpg", a file.'
)
SourceArgument = Annotated[str, Argument(metavar="SOURCE", help=SOURCE_HELP)]
SoundsArgument = Annotated[
    str | None, Argument(metavar="[SOUNDS]", help="Sounds: a folder, a pattern, a file.", show_default=False)
]
AudioOption = Annotated[
    Path | None, jobs(metavar="SOUND", help="One sound for all photos of SOURCE.", show_default=False)
]
PAIR_HELP = "Photos with SOUNDS: of the same name, each with each, or one by one in alphabetical order."
PairOption = Annotated[Literal["stem", "cross", "zip"], jobs(help=PAIR_HELP)]
SHARD_HELP = "Only one part of the jobs: 2/4 is every fourth from the second on."
ShardOption = Annotated[str | None, jobs(metavar="PART/PARTS", help=SHARD_HELP, show_default=False)]
RetryOption = Annotated[int, jobs(min=0, metavar="NUMBER", help="How often a job that fails is tried again.")]
MOST_HELP = "Begin no more jobs after so many have failed. Without it: go on."
MaxFailuresOption = Annotated[int | None, jobs(min=1, metavar="NUMBER", help=MOST_HELP, show_default=False)]
FRESH_HELP = "Make all videos anew, also those that earlier runs have finished or begun."
FreshOption = Annotated[bool, jobs("--fresh", help=FRESH_HELP)]
OutOption = Annotated[
    Path, take.file("--output", "-o", metavar="FOLDER", help="Where videos and reports go; made if it is not there.")
]
JsonOption = Annotated[bool, take.file("--json", help="Print one JSON object a line for each job on stdout.")]
WORKERS_HELP = "Processes that make videos: auto is one per graphics card, or one where there is none."
WorkersOption = Annotated[str, machines(metavar="NUMBER", help=WORKERS_HELP, envvar="EMO_WORKERS")]
EXECUTOR_HELP = "local: on this machine; ray: on a Ray cluster, one worker per graphics card or machine."
ExecutorOption = Annotated[Literal["local", "ray"], machines(help=EXECUTOR_HELP, envvar="EMO_EXECUTOR")]
ADDRESS_HELP = "Of the Ray cluster; auto finds a running one. Without it: one is started here."
AddressOption = Annotated[str | None, machines(metavar="HOST:PORT", help=ADDRESS_HELP, show_default=False)]


def batch(
    source: SourceArgument,
    sounds: SoundsArgument = None,
    output: OutOption = Path("videos"),
    overwrite: take.OverwriteOption = False,
    sign: take.SignOption = None,
    quiet: take.QuietOption = False,
    json: JsonOption = False,
    audio: AudioOption = None,
    pair: PairOption = "stem",
    shard: ShardOption = None,
    retry: RetryOption = 0,
    max_failures: MaxFailuresOption = None,
    fresh: FreshOption = False,
    workers: WorkersOption = "auto",
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    motion: take.MotionOption = 1.0,
    expression: take.ExpressionOption = 1.0,
    lips: take.LipsOption = 1.0,
    speed: take.SpeedOption = 1.0,
    region: take.RegionOption = 1.0,
    pose: take.PoseOption = None,
    framing: take.FramingOption = "portrait",
    size: take.SizeOption = None,
    fps: take.FpsOption = None,
    face: take.FaceOption = "largest",
    start: take.StartOption = 0.0,
    duration: take.DurationOption = None,
    vocals: take.VocalsOption = "auto",
    separator: take.SeparatorOption = None,
    model: take.ModelOption = "mini",
    download: take.DownloadOption = False,
    seed: take.SeedOption = None,
    quality: take.QualityOption = "best",
    steps: take.StepsOption = None,
    guidance: take.GuidanceOption = None,
    device: take.DeviceOption = "auto",
    dtype: take.PrecisionOption = "auto",
    max_memory: take.MemoryOption = None,
    offload: take.OffloadOption = False,
    compile: take.CompileOption = False,
) -> None:
    """Make many videos: from a folder, from photos and sounds, or from a table of jobs.

    Run again, it goes on where it was stopped.
    """
    with Report(quiet=quiet) as report:
        report.stage("starting")
        from emo_cli.animate import AnimateOptions
        from emo_cli.batch.jobs import shard as part_of
        from emo_cli.batch.runner import BatchOptions, run

        common = AnimateOptions(
            photo=Path(), sound=audio or Path(), overwrite=overwrite,
            motion=motion, expression=expression, lips=lips, speed=speed, region=region, pose=pose,
            framing=framing, size=size, fps=fps, face=face, start=start, duration=duration, vocals=vocals,
            separator=separator,
            model=model, download=download, seed=seed, quality=quality, steps=steps, guidance=guidance, dtype=dtype,
            max_memory=max_memory, offload=offload, compile=compile, sign=sign,
        )  # fmt: skip
        found = part_of(_jobs(source, sounds, audio, pair, common, output, report), shard)
        wishes = BatchOptions(
            folder=output, workers=workers, device=device, retry=retry, max_failures=max_failures, fresh=fresh,
            executor=executor, address=address, report="" if shard is None else f"-{shard.replace('/', '-of-')}",
        )  # fmt: skip
        done = run(found, wishes, BatchReport(report, len(found), json))
        _conclude(done, report, json)


def _jobs(
    source: str,
    sounds: str | None,
    audio: Path | None,
    pair: Pairing,
    common: AnimateOptions,
    folder: Path,
    report: Report,
) -> list[Job]:
    """What the words on the command line mean."""
    from emo_cli.batch import jobs, manifest
    from emo_cli.cli.rows import parse

    if sounds is not None and audio is not None:
        raise UsageError("SOUNDS and --audio both say what is heard; give one of them.")
    if manifest.is_manifest(source):
        if sounds is not None:
            raise UsageError(f"The table {source} names its sounds itself; leave {sounds} out.")
        return manifest.jobs(source, parse, common, folder)
    if audio is not None:
        return jobs.jobs(jobs.with_one_sound(source, audio), common, folder)
    if sounds is not None:
        pairs, doubts = jobs.paired(source, sounds, pair)
    else:
        pairs, doubts = jobs.in_one_folder(Path(source))
    for sentence in doubts:
        report.warn(sentence)
    return jobs.jobs(pairs, common, folder)


class BatchReport:
    """Tells how the batch goes: jobs, frames, time left; for programs a line per job."""

    def __init__(self, report: Report, total: int, as_json: bool) -> None:
        self._report, self._total, self._as_json = report, total, as_json
        self._ended = self._failed = self._skipped = 0
        self._under_way: dict[int, float] = {}

    def frame(self, job: Job, done: int, total: int) -> None:
        """One more frame of a job is finished."""
        self._under_way[job.number] = done / total
        self._tell(f"{job.output.name}, frame {done} of {total}")

    def warn(self, job: Job, sentence: str) -> None:
        """Something about a job looks doubtful."""
        self._report.warn(f"{job.output.name}: {sentence}")

    def ended(self, record: Record) -> None:
        """One more job has ended."""
        self._under_way.pop(record.number, None)
        self._ended += 1
        self._failed += not record.good
        self._skipped += record.status == "skipped"  # took no time, so it tells nothing about the rest
        if self._as_json:
            from emo_cli.batch.report import line

            print(line(record), flush=True)
        self._report.line(f"{self._ended} of {self._total}: {_told(record)}")
        self._tell("")

    def _tell(self, now: str) -> None:
        failed = f", {self._failed} failed" if self._failed else ""
        words = f"{self._ended} of {self._total} jobs{failed}" + (f"; {now}" if now else "")
        done = self._ended - self._skipped + sum(self._under_way.values())
        self._report.share(words, done, self._total - self._skipped)


def _told(record: Record) -> str:
    name = Path(record.output).name
    if record.status == "done":
        return f"{name}: {record.seconds:.2f} s of video made in {record.took:.1f} s"
    return f"{name} was done before" if record.good else f"{name} failed: {record.error}"


def _conclude(done: Batch, report: Report, as_json: bool) -> None:
    """The last sentence; BatchError, or just its code where programs listen, unless all videos are there."""
    good, all_of_them = done.count("done") + done.count("skipped"), len(done.records)
    if good == all_of_them:
        before = f", {done.count('skipped')} of them before" if done.count("skipped") else ""
        sentence = f"{good} videos are made{before}, in {done.seconds:.1f} s; see {done.report}"
        if as_json:
            report.line(sentence)
        else:
            report.result({}, sentence)
        return
    left = f", {done.count('left')} were not begun" if done.count("left") else ""
    sentence = (
        f"{done.count('failed')} of {all_of_them} jobs failed{left}; {done.report} tells why. "
        "Run the same command again to try them once more."
    )
    if as_json:
        report.line(sentence)
        raise Exit(BatchError.exit_code)
    raise BatchError(sentence)
