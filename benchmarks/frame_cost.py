"""What one frame of mini costs one thread of a processor: diffusion and drawing, each in milliseconds of CPU time.

    python benchmarks/frame_cost.py [--photo examples/portrait.jpg] [--sound examples/song.wav] [--seconds 10]

Every clip is timed by itself, diffusion and drawing in turns. Other work on a machine stretches CPU time too, since
cores share their caches and often their arithmetic; so the fastest clip is told beside the median, and what a large
matrix product reached in the same minute beside both.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch

from emo_cli import animate, device, speech
from emo_cli.animate import AnimateOptions
from emo_cli.checkpoints import describe
from emo_cli.loading.loaded import Loaded, Way
from emo_cli.segments.scene import Settings
from emo_cli.weights import locate

EXAMPLES = Path(__file__).parents[1] / "examples"
MATRIX = 1024


def gigaflops() -> float:
    """GFLOP per CPU second of a product of large matrices."""
    matrix = torch.randn(MATRIX, MATRIX)
    began = time.process_time()
    matrix @ matrix
    return 2 * MATRIX**3 / (time.process_time() - began) / 1e9


def costs(options: AnimateOptions) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds per frame of diffusion and of drawing, and GFLOP per second, clip after clip."""
    folder = locate(options.model)
    family = describe(folder, options.model)
    portrait, sound = animate.frame(options, family), animate.hear(options, family)
    pipeline = Loaded().open(folder, options.model, Way(device.choose("cpu")), options.size or family.size).pipeline
    heard = speech.encode(sound, pipeline.sound_encoder, family.fps)
    canvas, settings = pipeline.codec.open(portrait), Settings(seed=1)
    motions = iter(pipeline.denoised(portrait, heard, settings, canvas))
    diffusion, drawing, speed = [], [], []
    while True:
        began = time.process_time()
        motion = next(motions, None)
        denoised = time.process_time()
        if motion is None:
            return diffusion, drawing, speed
        frames = sum(1 for _ in pipeline.codec.decode(canvas, motion, settings.strength))
        if frames == family.window:  # the last clip is denoised whole and drawn in part
            diffusion.append((denoised - began) / frames * 1000)
            drawing.append((time.process_time() - denoised) / frames * 1000)
            speed.append(gigaflops())


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, default=EXAMPLES / "portrait.jpg")
    parser.add_argument("--sound", type=Path, default=EXAMPLES / "song.wav")
    parser.add_argument("--seconds", type=float, default=7.0)
    parser.add_argument("--size", type=int, default=512)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    options = AnimateOptions(chosen.photo, chosen.sound, duration=chosen.seconds, size=chosen.size)
    diffusion, drawing, speed = costs(options)
    together = [sum(pair) for pair in zip(diffusion, drawing, strict=True)]
    rows = {"diffusion": diffusion, "drawing": drawing, "together": together}
    result = {name: {"fastest": round(min(row), 1), "median": round(median(row), 1)} for name, row in rows.items()}
    print(json.dumps({"milliseconds_per_frame": result, "gigaflops": round(max(speed), 1)}, indent=2))


if __name__ == "__main__":
    main()
