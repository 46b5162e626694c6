"""`emo inspect`: try a photo, and a sound, before making a video of them; or ask a video how it was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from emo_cli.cli import options as take
from emo_cli.cli.report import Report

if TYPE_CHECKING:
    from emo_cli.credentials import Manifest
    from emo_cli.inspection import Effort, FaceSeen, Inspection, SoundHeard
    from emo_cli.provenance import Marks

EXAMPLES = """Examples:

[bold]emo inspect group.jpg[/bold]  every face with the number that --face takes

[bold]emo inspect group.jpg --face 2 --overlay faces.png[/bold]  the same as a picture, with crop and mask

[bold]emo inspect photo.jpg song.wav --json[/bold]  all of it for a program, with the frames and time it would take

[bold]emo inspect photo-song.mp4[/bold]  what a video says about how it was made

Exit codes are those of emo animate: 3 for a photo or sound that cannot be read, 4 where no face is found."""

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".m4v")
OVERLAY_HELP = "Draw faces, crop and mask on the photo, and save that picture."
OverlayOption = Annotated[
    Path | None, Option("--overlay", metavar="PICTURE", help=OVERLAY_HELP, show_default=False)
]
TRIAL_HELP = "Make a few frames, to tell how long all would take here."
TrialOption = Annotated[bool, Option("--trial/--no-trial", help=TRIAL_HELP)]


def inspect(
    photo: take.PhotoOrVideoArgument,
    sound: take.OptionalSoundArgument = None,
    overlay: OverlayOption = None,
    trial: TrialOption = True,
    overwrite: take.OverwriteOption = False,
    quiet: take.QuietOption = False,
    json: take.JsonOption = False,
    framing: take.FramingOption = "portrait",
    size: take.SizeOption = None,
    fps: take.FpsOption = None,
    face: take.FaceOption = "largest",
    start: take.StartOption = 0.0,
    duration: take.DurationOption = None,
    vocals: take.VocalsOption = "auto",
    model: take.ModelOption = "mini",
    steps: take.StepsOption = None,
    device: take.DeviceOption = "auto",
    dtype: take.PrecisionOption = "auto",
) -> None:
    """Show which faces PHOTO holds and what would be animated, what SOUND holds, and how long a video would take.

    In the place of a photo, a video tells how it was made.
    """
    with Report(quiet=quiet, as_json=json) as report:
        if photo.suffix.lower() in VIDEOS:
            _tell_of_video(photo, report)
            return
        report.stage("looking at the photo")
        from emo_cli.animate import AnimateOptions
        from emo_cli.inspection import look, save_overlay

        wishes = AnimateOptions(
            photo=photo, sound=sound or Path("none"), framing=framing, size=size, fps=fps, face=face, start=start,
            duration=duration, vocals=vocals, model=model, steps=steps, device=device, dtype=dtype,
        )  # fmt: skip
        seen = look(wishes, sound, trial)
        if overlay:
            save_overlay(seen, overlay, overwrite)
        if seen.found.note:
            report.warn(seen.found.note)
        report.result(seen.found, "\n".join(_lines(seen.found)))


def _tell_of_video(path: Path, report: Report) -> None:
    report.stage("reading what the video says about itself")
    from emo_cli import credentials, provenance

    marks, manifest = provenance.read(path), credentials.read(path)
    lines = [*_mark_lines(marks), *_manifest_lines(manifest)]
    report.result({**asdict(marks), "manifest": manifest and asdict(manifest)}, "\n".join(lines))


def _lines(found: Inspection) -> Iterator[str]:
    yield f"{found.photo}: {found.width}x{found.height} pixels, {len(found.faces)} face(s), largest first"
    yield from (_face_line(face) for face in found.faces)
    yield f"crop {_box(found.crop)} becomes {found.size}x{found.size}; what moves lies within {_box(found.mask)}"
    if found.sound:
        yield _sound_line(found.sound)
    if found.effort:
        yield _effort_line(found.effort)


def _face_line(face: FaceSeen) -> str:
    pose = face.pose
    held = f"yaw {pose.yaw:+.0f} pitch {pose.pitch:+.0f} roll {pose.roll:+.0f}"
    taken = "   taken" if face.chosen else ""
    return f"  --face {face.number}   box {_box(face.box)}   {held}   score {face.score:.2f}{taken}"


def _box(box: object) -> str:
    return ",".join(f"{getattr(box, side):.0f}" for side in ("x", "y", "width", "height"))


def _sound_line(sound: SoundHeard) -> str:
    level = "silent" if sound.loudness is None else f"{sound.loudness:.0f} dB, {sound.voice:.0%} like a voice"
    return f"sound: {sound.seconds:.2f} s, {level}"


def _effort_line(effort: Effort) -> str:
    time = "" if effort.work is None else f", about {effort.work:.0f} s of work on {effort.device}"
    return f"video: {effort.frames} frames at {effort.fps:g} per second with {effort.model}{time}"


def _mark_lines(marks: Marks) -> Iterator[str]:
    if marks.record is None:
        yield f"{marks.file}: it does not say how it was made"
    else:
        yield f"{marks.file}: {marks.description}"
        yield from (f"  {name}: {value}" for name, value in marks.record.items())


def _manifest_lines(manifest: Manifest | None) -> Iterator[str]:
    if manifest is None:
        return
    state = "unchanged since" if manifest.valid else "CHANGED SINCE, or wrongly signed"
    known = "a trusted authority vouches for the signer" if manifest.trusted else "nobody known vouches for the signer"
    yield f"content credentials: signed by {manifest.signer}, {state}; {known}"
    yield f"  digitalSourceType: {manifest.source_type}"
