"""A video file back into frames, and what it really holds."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_cli import ffmpeg
from emo_cli.errors import InputError, UsageError

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Probe:
    """What a video file really holds: decoded frames and samples are counted, headers are not believed.

    sound_delay: seconds by which the first sample is heard after the first frame is seen; negative when before.
    """

    frames: int
    fps: float
    seconds: float
    width: int
    height: int
    sound_seconds: float | None
    sound_delay: float | None = None


def read(
    path: Path, fps: float | None = None, start: float = 0.0, count: int | None = None, from_zero: bool = False
) -> Iterator[Frame]:
    """Frames of a video, one at a time: uint8 (height, width, 3) RGB, upright.

    fps: repeat or drop frames to reach this rate; None gives each frame of the file once. start, count: only so many,
    from the first that is shown at `start` seconds or later; what lies before is not decoded further than needed.
    from_zero: repeat the first frame from the file's own time 0 on, where the pictures begin later than the sound.
    Raises InputError when the file cannot be read as a video.
    """
    colour = "scale=out_range=pc:flags=bicubic+accurate_rnd+full_chroma_int,format=rgb24"
    zero = ":start_time=0" if from_zero else ""
    steps = colour if fps is None else f"fps={exact_rate(fps)}{zero},{colour}"
    seek = ["-ss", f"{start:.6f}"] if start > 0 else []
    arguments = [*seek, *ffmpeg.input_file(path), "-map", "0:v:0", "-vf", steps, "-fps_mode", "passthrough"]
    arguments += [] if count is None else ["-frames:v", str(count)]
    # A PPM states its own size before the pixels, so nothing has to be guessed from ffmpeg's messages.
    arguments += ["-f", "image2pipe", "-c:v", "ppm", "pipe:1"]
    with ffmpeg.running(arguments, output=subprocess.PIPE) as decoder:
        while decoder.stdout.readline():
            width, height = (int(side) for side in decoder.stdout.readline().split())
            decoder.stdout.readline()
            pixels = decoder.stdout.read(width * height * 3)
            if len(pixels) == width * height * 3:
                yield np.frombuffer(bytearray(pixels), np.uint8).reshape(height, width, 3)
        _check(path, decoder)


def probe(path: Path) -> Probe:
    """Decodes a video once and counts. Raises InputError when it cannot be read or holds no pictures."""
    arguments = [*ffmpeg.input_file(path), "-map", "0:v:0", "-map", "0:a:0?", "-fps_mode", "passthrough"]
    size, bases = (0, 0), [Fraction(1), Fraction(1)]
    times: list[int] = []
    first_sound: int | None = None
    end = samples = 0
    with ffmpeg.running([*arguments, "-f", "framecrc", "pipe:1"], output=subprocess.PIPE) as decoder:
        for line in decoder.stdout:
            words = line.decode("ascii", "replace").replace(",", " ").split()
            if words[0] == "#tb":
                bases[int(words[1][:-1])] = Fraction(words[2])
            elif words[:2] == ["#dimensions", "0:"]:
                size = (int(words[2].split("x")[0]), int(words[2].split("x")[1]))
            elif words[0] == "0":
                times.append(int(words[2]))
                end = times[-1] + int(words[3])
            elif words[0] == "1":
                first_sound = int(words[2]) if first_sound is None else first_sound
                samples += int(words[3])
        _check(path, decoder)
    if not times:
        raise InputError(f"{path} holds no pictures; give a video file.")
    seconds = float((end - times[0]) * bases[0])
    fps = len(times) / seconds if seconds > 0 else float(1 / bases[0])
    heard = float(samples * bases[1]) if samples else None
    late = None if first_sound is None else float(first_sound * bases[1] - times[0] * bases[0])
    return Probe(len(times), round(fps, 6), seconds, *size, heard, late)


def tags(path: Path) -> dict[str, str]:
    """What a video says about itself; keys in lower case. Raises InputError when it cannot be read."""
    with ffmpeg.running([*ffmpeg.input_file(path), "-f", "ffmetadata", "pipe:1"], output=subprocess.PIPE) as reader:
        text = reader.stdout.read().decode("utf-8", "replace")
        _check(path, reader)
    found: dict[str, str] = {}
    position = text.find("\n") + 1
    line = re.compile(r"((?:\\.|[^\\\n=])+)=((?:\\.|[^\\\n])*)\n", re.DOTALL)
    while match := line.match(text, position):
        key, value = (re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in match.groups())
        found[key.lower()] = value
        position = match.end()
    for brand in ("major_brand", "minor_version", "compatible_brands"):
        found.pop(brand, None)
    return found


def exact_rate(fps: float) -> Fraction:
    """Frames per second as a fraction. Raises UsageError beyond 1 to 240."""
    if not 1 <= fps <= 240:
        raise UsageError(f"{fps:g} frames per second is not possible; choose 1 to 240.")
    # 1001 is the denominator of the television rates (30000/1001), which a float cannot hold exactly.
    return Fraction(fps).limit_denominator(1001)


def _check(path: Path, decoder: ffmpeg.Running) -> None:
    words = decoder.failure()
    if words is None:
        return
    if "matches no streams" in words or "does not contain any stream" in words:
        raise InputError(f"{path} holds no pictures; give a video file.")
    raise InputError(f"{path} cannot be read as a video ({words}); check that the file is whole.")
