"""`emo inspect`: try a photo, and a sound, before making a video of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from emo_cli.cli import options as take
from emo_cli.cli.report import Report

EXAMPLES = """Examples:

[bold]emo inspect group.jpg[/bold]  every face with the number that --face takes

[bold]emo inspect photo.jpg song.wav --json[/bold]  all of it for a program"""


@dataclass(frozen=True)
class FaceFound:
    """A face by the number that --face takes: its box in pixels of the upright photo, and how sure it is."""

    number: int
    x: float
    y: float
    width: float
    height: float
    score: float


@dataclass(frozen=True)
class SoundHeard:
    """A sound: seconds, loudness in dB of full scale (None if silent), share that may be voice (0..1)."""

    seconds: float
    loudness: float | None
    voice: float


@dataclass(frozen=True)
class Inspection:
    """What was found; sizes in pixels of the upright photo."""

    photo: Path
    width: int
    height: int
    faces: tuple[FaceFound, ...]
    sound: SoundHeard | None


def inspect(
    photo: take.PhotoArgument,
    sound: take.OptionalSoundArgument = None,
    face: take.FaceOption = "largest",
    json: take.JsonOption = False,
) -> None:
    """Show which faces are found in PHOTO and how they are numbered, and what SOUND holds."""
    with Report(as_json=json) as report:
        report.stage("looking at the photo")
        from emo_cli import portrait

        picture = portrait.decode_photo(photo)
        faces = tuple(
            FaceFound(number, found.box.x, found.box.y, found.box.width, found.box.height, found.score)
            for number, found in enumerate(portrait.find_faces(picture), start=1)
        )
        # Choosing a face tells, as `emo animate` would, when there is none or not the asked one.
        portrait.read(photo, face=face)
        heard = _listen(sound) if sound else None
        height, width = picture.shape[:2]
        found = Inspection(photo, width, height, faces, heard)
        report.result(found, "\n".join(_lines(found)))


def _listen(path: Path) -> SoundHeard:
    from emo_cli import speech

    sound = speech.read(path)
    loudness = speech.loudness(sound.waveform)
    voice = speech.voice_share(sound.waveform)
    return SoundHeard(sound.seconds, round(loudness, 1) if math.isfinite(loudness) else None, voice)


def _lines(found: Inspection) -> list[str]:
    lines = [f"{found.photo}: {found.width}x{found.height} pixels, {len(found.faces)} face(s), largest first"]
    lines += [
        f"  --face {face.number}   box {face.x:.0f},{face.y:.0f},{face.width:.0f},{face.height:.0f}"
        f"   score {face.score:.2f}"
        for face in found.faces
    ]
    if found.sound:
        loudness, voice = found.sound.loudness, found.sound.voice
        level = "silent" if loudness is None else f"{loudness:.0f} dB, {voice:.0%} like a voice"
        lines.append(f"sound: {found.sound.seconds:.2f} s, {level}")
    return lines
