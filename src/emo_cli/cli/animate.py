"""`emo animate`: make one video from a photo and a sound."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_cli.cli import options as take
from emo_cli.cli.report import Report

if TYPE_CHECKING:
    from emo_cli.animate import Video

EXAMPLES = """Examples:

[bold]emo animate photo.jpg song.wav[/bold]  makes photo-song.mp4

[bold]emo animate photo.jpg song.wav -o out.mp4 --start 30 --duration 10[/bold]  ten seconds, from 0:30

[bold]emo animate photo.jpg song.wav --framing full --motion 0.5 --seed 7[/bold]  the whole photo, a calm head

[bold]emo animate group.jpg speech.mp3 --face left --quiet --json[/bold]  one JSON object, for a script

[bold]espeak-ng --stdout hello | emo animate photo.jpg - -o - | ffplay -[/bold]  sound from a pipe, video into one

[bold]EMO_MODEL=my-model EMO_FRAMING=full emo animate photo.jpg song.wav[/bold]  defaults from the environment

An existing file is not replaced without --overwrite, and an interrupted run leaves no file."""


def animate(
    photo: take.PhotoArgument,
    sound: take.SoundArgument,
    output: take.OutputOption = None,
    overwrite: take.OverwriteOption = False,
    sign: take.SignOption = None,
    quiet: take.QuietOption = False,
    json: take.JsonOption = False,
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
    """Make the person in PHOTO say or sing SOUND; without -o the video is PHOTO-SOUND.mp4 in this folder."""
    with Report(quiet=quiet, as_json=json, stdout_taken=output == Path("-")) as report:
        report.stage("starting")
        from emo_cli.animate import AnimateOptions
        from emo_cli.animate import animate as make

        wishes = AnimateOptions(
            photo=photo, sound=sound, output=output, overwrite=overwrite,
            motion=motion, expression=expression, lips=lips, speed=speed, region=region, pose=pose,
            framing=framing, size=size, fps=fps, face=face, start=start, duration=duration, vocals=vocals,
            separator=separator,
            model=model, download=download, seed=seed, quality=quality, steps=steps, guidance=guidance,
            device=device, dtype=dtype, max_memory=max_memory, offload=offload, compile=compile, sign=sign,
        )  # fmt: skip
        video = make(wishes, report)
        report.result(_record(video), _sentence(video))


def _record(video: Video) -> dict[str, Any]:
    """What --json prints."""
    facts = asdict(video)
    return {"file": facts.pop("path"), **facts}


def _sentence(video: Video) -> str:
    name = "standard output" if video.path == Path("-") else video.path
    return (
        f"{name}: {video.seconds:.2f} s of video ({video.frames} frames) "
        f"made in {video.timings.total:.1f} s, model {video.model}, seed {video.seed}"
    )
