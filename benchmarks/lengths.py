"""How well sound and pictures end together: random lengths, sample rates, channels, formats and frame rates.

    python benchmarks/lengths.py [--count 100] [--longest 20] [--seed 0]

Every sound is read and put beside grey pictures as `emo animate` does, and the finished video is decoded and counted.
Told are the largest differences, in frames of each video: of its length from that of the sound, and of its sound track
from its pictures. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from emo_cli import ffmpeg, footage, speech, video

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000)
CHANNELS = (1, 2, 6, 8)
FORMATS = {
    "wav": (),
    "flac": ("-c:a", "flac"),
    "mp3": ("-c:a", "libmp3lame", "-ac", "2"),
    "m4a": ("-c:a", "aac", "-ac", "2"),
    "ogg": ("-c:a", "libvorbis", "-ac", "2"),
    "mov": ("-c:a", "pcm_s16le"),
}
FRAME_RATES = (12.0, 24.0, 25.0, 29.97, 30.0, 60.0)
SHORTEST = 0.04
PICTURE = np.full((16, 16, 3), 128, np.uint8)


@dataclass(frozen=True)
class Difference:
    """One video, differences in frames of its rate."""

    format: str
    rate: int
    channels: int
    seconds: float
    fps: float
    video_from_sound: float
    track_from_pictures: float


def sound(folder: Path, random: np.random.Generator, longest: float) -> Path:
    """A file of noise, its length spread evenly over powers of ten."""
    seconds = float(np.exp(random.uniform(np.log(SHORTEST), np.log(longest))))
    rate, channels = int(random.choice(RATES)), int(random.choice(CHANNELS))
    samples = 0.1 * random.standard_normal((max(1, round(seconds * rate)), channels))
    plain = folder / "plain.wav"
    soundfile.write(plain, samples, rate, "PCM_16")
    kind = str(random.choice(list(FORMATS)))
    # Lossy formats know no rate above 48 kHz.
    options = [*FORMATS[kind], *(["-ar", "48000"] if kind in ("mp3", "m4a", "ogg") and rate > 48_000 else [])]
    made = folder / f"sound.{kind}"
    command = [ffmpeg.program(), "-v", "error", "-y", "-i", str(plain), *options, str(made)]
    subprocess.run(command, check=True, timeout=300)
    return made


def difference(path: Path, folder: Path, fps: float) -> Difference:
    """Make the video of a sound, and count what it holds."""
    heard = speech.read(path)
    frames = (PICTURE for _ in range(video.frame_count(heard.seconds, fps)))
    written = video.write(folder / "video.mp4", frames, fps, heard, overwrite=True)
    found = footage.probe(written.path)
    known = soundfile.info(folder / "plain.wav")
    return Difference(
        path.suffix[1:], known.samplerate, known.channels, round(heard.seconds, 4), fps,
        abs(found.seconds - heard.seconds) * fps, abs((found.sound_seconds or 0.0) - found.seconds) * fps,
    )  # fmt: skip


def measured(count: int, longest: float, seed: int) -> Iterator[Difference]:
    """One difference after another."""
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(count):
            yield difference(sound(folder, random, longest), folder, float(random.choice(FRAME_RATES)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--longest", type=float, default=20.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    found = list(measured(chosen.count, chosen.longest, chosen.seed))
    lengths = sorted(one.seconds for one in found)
    worst = max(found, key=lambda one: one.track_from_pictures)
    result = {
        "videos": len(found),
        "seconds": [lengths[0], lengths[-1]],
        "video_from_sound_frames_worst": round(max(one.video_from_sound for one in found), 3),
        "track_from_pictures_frames_worst": round(worst.track_from_pictures, 3),
        "track_from_pictures_frames_median": round(float(np.median([one.track_from_pictures for one in found])), 3),
        "off_by_more_than_a_frame": sum(max(one.video_from_sound, one.track_from_pictures) > 1 for one in found),
        "worst": worst.__dict__,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
