"""What `emo animate` costs: computing per second of video, and memory, for a short and a much longer sound.

    python benchmarks/animate_cost.py [--photo examples/portrait.jpg] [--seconds 10] [--times 10] [--model mini] ...

Runs the command as a process of its own, twice, and prints one JSON object with times, peak memory and their ratios.
Other options, such as `--size 128 --steps 1 --guidance 1`, are handed on to `emo animate`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]


def looped(source: Path, seconds: float, target: Path) -> None:
    """A sound of a chosen length: the source, repeated."""
    samples, rate = soundfile.read(source, dtype="float32")
    needed = int(seconds * rate)
    soundfile.write(target, np.resize(samples, (needed, *samples.shape[1:])), rate)


def cost(photo: Path, sound: Path, folder: Path, model: str, others: list[str]) -> dict[str, float]:
    """CPU seconds, wall seconds and peak memory in MB of one run, ffmpeg included in the CPU seconds."""
    command = [sys.executable, "-m", "emo_cli", "animate", str(photo), str(sound), "--model", model]
    command += ["-o", str(folder / "out.mp4"), "--overwrite", "--seed", "1", "--json", *others]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    made = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"emo animate failed with status {status}")
    return {
        "video_seconds": made["seconds"],
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_megabytes": usage.ru_maxrss / 1024,
        "wall_seconds": made["timings"]["preparing"] + made["timings"]["generating"],
        "generating": made["timings"]["generating"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, default=ROOT / "examples" / "portrait.jpg")
    parser.add_argument("--sound", type=Path, default=ROOT / "examples" / "song.wav")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--times", type=int, default=10, help="how much longer the longer sound is")
    parser.add_argument("--model", default="mini")
    chosen, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for factor in (1, chosen.times):
            sound = folder / f"sound-{factor}.wav"
            looped(chosen.sound, factor * chosen.seconds, sound)
            rows.append(cost(chosen.photo, sound, folder, chosen.model, others))
    short, long = rows
    extra = long["video_seconds"] - short["video_seconds"]
    result = {
        "short": {key: round(value, 2) for key, value in short.items()},
        "long": {key: round(value, 2) for key, value in long.items()},
        "cpu_seconds_per_video_second": round((long["cpu_seconds"] - short["cpu_seconds"]) / extra, 3),
        "generating_per_video_second": round((long["generating"] - short["generating"]) / extra, 3),
        "memory_ratio": round(long["peak_megabytes"] / short["peak_megabytes"], 3),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
