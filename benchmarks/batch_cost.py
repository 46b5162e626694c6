"""What a job costs in a batch, against one `emo animate` for each: the model is loaded once.

    python benchmarks/batch_cost.py [--jobs 6] [--seconds 2] [--model mini]

Runs the same jobs both ways, one after another, and prints a JSON object: wall and processor seconds per job (ffmpeg
included), and the batch's share of the single runs'. Processor seconds are the better figure on a machine that has
other work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
EMO = [sys.executable, "-m", "emo_cli"]


def spent(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed with status {status}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, default=ROOT / "examples" / "portrait.jpg")
    parser.add_argument("--sound", type=Path, default=ROOT / "examples" / "song.wav")
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--model", default="mini")
    chosen = parser.parse_args()
    samples, rate = soundfile.read(chosen.sound, dtype="float32")
    length = int(chosen.seconds * rate)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        pairs = []
        for number in range(chosen.jobs):
            photo, sound = folder / "in" / f"{number}.jpg", folder / "in" / f"{number}.wav"
            shutil.copy(chosen.photo, photo)
            soundfile.write(sound, np.roll(samples, -number * length, axis=0)[:length], rate)
            pairs.append((photo, sound))
        shared = ["--model", chosen.model, "--quiet"]
        spent([*EMO, "doctor"])  # Python's caches are warm for both
        single = [
            spent([*EMO, "animate", str(photo), str(sound), "-o", str(photo.with_suffix(".mp4")), *shared])
            for photo, sound in pairs
        ]
        batch = spent([*EMO, "batch", str(folder / "in"), "-o", str(folder / "out"), *shared])
    wall, processor = (sum(column) / chosen.jobs for column in zip(*single, strict=True))
    result = {
        "jobs": chosen.jobs,
        "video_seconds_per_job": chosen.seconds,
        "single": {"wall": round(wall, 2), "processor": round(processor, 2)},
        "batch": {"wall": round(batch[0] / chosen.jobs, 2), "processor": round(batch[1] / chosen.jobs, 2)},
        "batch_share_wall": round(batch[0] / chosen.jobs / wall, 3),
        "batch_share_processor": round(batch[1] / chosen.jobs / processor, 3),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
