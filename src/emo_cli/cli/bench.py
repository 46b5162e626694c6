"""`emo bench`: how fast a model is on this machine, stage by stage, alone or against another setting."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from emo_cli.cli import options as take
from emo_cli.cli.report import Report

if TYPE_CHECKING:
    from emo_cli.bench import Bench, Comparison

EXAMPLES = """Examples:

[bold]emo bench photo.jpg song.wav[/bold]  four seconds of the song with mini

[bold]emo bench photo.jpg song.wav --against steps=8[/bold]  and how much faster that is than with 8 steps

[bold]emo bench photo.jpg song.wav --model echomimic --dtype bfloat16 --json[/bold]  all figures, for a program"""

SECONDS_HELP = "How much of the sound to take."
SecondsOption = Annotated[float, Option(min=0.1, metavar="SECONDS", help=SECONDS_HELP)]
AGAINST_HELP = "A second setting, measured in turns with the first: name=value,name=value, as in model=echomimic."
AgainstOption = Annotated[str | None, Option(metavar="SETTING", help=AGAINST_HELP, show_default=False)]
RoundsOption = Annotated[int, Option(min=1, metavar="NUMBER", help="How often the whole is made; the median counts.")]


def bench(
    photo: take.PhotoArgument,
    sound: take.SoundArgument,
    seconds: SecondsOption = 4.0,
    against: AgainstOption = None,
    rounds: RoundsOption = 3,
    model: take.ModelOption = "mini",
    size: take.SizeOption = None,
    quality: take.QualityOption = "best",
    steps: take.StepsOption = None,
    guidance: take.GuidanceOption = None,
    device: take.DeviceOption = "auto",
    dtype: take.PrecisionOption = "auto",
    max_memory: take.MemoryOption = None,
    offload: take.OffloadOption = False,
    compile: take.CompileOption = False,
    json: take.JsonOption = False,
) -> None:
    """Time every stage of a video of PHOTO and SOUND on this machine; no file is left behind."""
    with Report(as_json=json) as report:
        report.stage("measuring")
        from emo_cli.animate import AnimateOptions
        from emo_cli.bench import bench as measure

        wishes = AnimateOptions(
            photo=Path(photo), sound=Path(sound), duration=seconds, model=model, seed=1, size=size, quality=quality,
            steps=steps, guidance=guidance, device=device, dtype=dtype, max_memory=max_memory, offload=offload,
            compile=compile,
        )  # fmt: skip
        found = measure(wishes, against, rounds)
        report.result(found, "\n".join(_lines(found)))


def _lines(found: Comparison) -> list[str]:
    lines = _table(found.first)
    if found.against is not None:
        lines += ["", f"against {found.against.setting}:", *_table(found.against), ""]
        lines.append(f"the first takes 1/{found.faster:.2f} of the time of the second")
    return lines


def _table(bench: Bench) -> list[str]:
    """The figures of one setting, a line each."""
    memory = "" if bench.memory is None else f", peak memory {bench.memory:.2f} GB"
    video = "" if bench.video_memory is None else f", on the device {bench.video_memory:.2f} GB"
    lines = [
        f"{bench.model}, {bench.size} pixels, {bench.steps} steps, guidance {bench.guidance:g}, {bench.dtype}, "
        f"{bench.device}",
        f"  {bench.per_second:.2f} s per second of video; first frame after {bench.first_frame:.2f} s, "
        f"loading {bench.loading:.2f} s{memory}{video}",
        f"  {bench.teraflop_per_frame:.4f} TFLOP per frame at {bench.share_of_peak:.0%} of this machine's "
        f"{bench.teraflops_at_peak:.3f} TFLOP/s",
    ]
    for stage in fields(bench.stages):
        seconds, share = getattr(bench.stages, stage.name), getattr(bench.shares, stage.name)
        work = f"   {getattr(bench.teraflops, stage.name):8.4f} TFLOP, {share:.0%} of peak" if share else ""
        pace = f"{seconds / bench.seconds:6.3f} s per second of video"
        lines.append(f"  {stage.name:<10} {seconds:7.2f} s   {pace}{work}")
    return lines
