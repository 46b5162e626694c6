"""What preparing training clips costs, and what a step of mini on them costs.

    python benchmarks/dataset_cost.py VIDEOS... [--workers 2] [--steps 5]

Prints one JSON line: length of the videos, clips, wall clock and processor seconds of `emo dataset prepare`, clips per
minute by each, the largest memory of a process, and processor seconds per training step of 8 clips on one thread. On a
machine that has other work, processor seconds are the better figure.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import torch

from emo_cli import footage
from emo_cli.dataset.preparing import prepare
from emo_cli.dataset.sources import find_sources
from emo_cli.pipeline import EmoPipeline
from emo_cli.training.loop import Randomness
from emo_cli.training.personal import parts_of, personal_step
from emo_cli.training.tracked import load_takes
from emo_cli.weights import locate


def spent() -> float:
    """Processor seconds of this process and those it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def prepared(videos: list[Path], data: Path, workers: int) -> dict[str, float]:
    """The figures of the first command."""
    length = sum(footage.probe(source.path).seconds for source in find_sources(videos))
    began, before = time.perf_counter(), spent()
    found = prepare(videos, data, workers=workers)
    wall, cores = time.perf_counter() - began, spent() - before
    clips = len(found.clips)
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "video_seconds": round(length, 1),
        "clips": clips,
        "clip_seconds": round(sum(clip.seconds for clip in found.clips), 1),
        "wall_seconds": round(wall, 1),
        "processor_seconds": round(cores, 1),
        "clips_per_minute": round(60 * clips / wall, 2),
        "clips_per_processor_minute": round(60 * clips / cores, 2),
        "processor_seconds_per_second_of_video": round(cores / length, 2),
        "largest_process_mb": round(most / 1024),
    }


def stepped(data: Path, steps: int) -> dict[str, float]:
    """The figures of fine-tuning mini on the clips."""
    torch.set_flush_denormal(True)
    pipeline = EmoPipeline.from_pretrained(locate("mini"))
    codec, hearing, learner, objective = parts_of(pipeline, "mini")
    step = personal_step(objective, learner, load_takes(data, codec, hearing), pipeline, 8)
    randomness = Randomness.seeded(0)
    optimiser = torch.optim.AdamW(learner.parameters(), 1e-4)
    began, before = time.perf_counter(), spent()
    for _ in range(steps):
        optimiser.zero_grad()
        step(randomness)["total"].backward()
        optimiser.step()
    wall, cores = time.perf_counter() - began, spent() - before
    return {
        "steps_per_second": round(steps / wall, 3),
        "processor_seconds_per_step": round(cores / steps, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    choice = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = prepared(choice.videos, Path(folder), choice.workers)
        if figures["clips"] and choice.steps:
            figures |= stepped(Path(folder), choice.steps)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
