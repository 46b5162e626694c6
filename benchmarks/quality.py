"""What `--quality draft` and `fast` cost in exactness, and what they save.

    python benchmarks/quality.py [--seconds 2] [--try "steps=4 silent=0.5-1 every=2 depth=1"]

For mini (the bundled weights) and for EchoMimic and Hallo (small random networks in the published layout, which tell
about the sampling, not about faces): the arithmetic of the Backbone against `best`, and the error of its latents: the
norm of the difference from `best` over the norm of best's own movement. For scale, the same of another seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from emo_cli import portrait, speech
from emo_cli.checkpoints import echomimic, open_model
from emo_cli.networks.codec import Canvas
from emo_cli.pipeline import EmoPipeline
from emo_cli.quality import SHARES, Preset, Shortcuts, wanted
from emo_cli.segments.scene import Settings
from emo_cli.weights import locate

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "parity")]


@dataclass(frozen=True)
class Case:
    """A model and how it makes latents (frames, channels, h, w)."""

    pipeline: EmoPipeline
    make: Callable[[Settings], Tensor]


def mini(seconds: float) -> Case:
    """The bundled model, the example's photo and song."""
    return _of_files(EmoPipeline.from_pretrained(locate("mini")), seconds, 512)


def hallo(seconds: float) -> Case:
    """Small random networks in Hallo's layout."""
    from tiny_hallo import official_folder

    with tempfile.TemporaryDirectory() as folder:
        return _of_files(open_model(official_folder(Path(folder))), seconds, 64)


def _of_files(pipeline: EmoPipeline, seconds: float, size: int) -> Case:
    seen = portrait.read(ROOT / "examples" / "portrait.jpg", size=size)
    sound = speech.read(ROOT / "examples" / "song.wav", duration=seconds)
    heard = speech.encode(sound, pipeline.sound_encoder, pipeline.family.fps)
    canvas = pipeline.codec.open(seen)

    def make(settings: Settings) -> Tensor:
        return torch.cat([motion.latents for motion in pipeline.denoised(seen, heard, settings, canvas)])

    return Case(pipeline, make)


def echomimic_reduced(seconds: float) -> Case:
    """The small networks whose numbers EchoMimic's own code made."""
    import echomimic_cases as cases

    vectors = cases.vectors("io_loop_short")
    pipeline = EmoPipeline(
        family=echomimic.VARIANTS["echomimic"].family,
        reference_net=cases.reference_net(),
        backbone=cases.backbone(),
        codec=cases.codec(),
        sound_encoder=cases.whisper.WhisperHearing(48, 1, 0, 80, 2),
        face_locator=cases.locator(),
    )
    canvas, mask = Canvas(vectors["ref_latents"], None), vectors["face_mask"][0, 0, 0].numpy()

    def make(settings: Settings) -> Tensor:
        motions = pipeline.motions(canvas, mask, vectors["audio_tokens"], settings)
        return torch.cat([motion.latents for motion in motions])

    return Case(pipeline, make)


CASES = {"mini": mini, "echomimic": echomimic_reduced, "hallo": hallo}


def made(case: Case, preset: Preset, seed: int = 1) -> tuple[Tensor, int]:
    """Latents and FLOPs."""
    settings = Settings(seed=seed, steps=preset.steps, guidance=preset.guidance, shortcuts=preset.shortcuts)
    with FlopCounterMode(display=False) as counter:
        latents = case.make(settings)
    return latents, counter.get_total_flops()


def error(latents: Tensor, best: Tensor) -> float:
    """How far latents are from the best ones, in units of the best one's own movement."""
    return float((latents - best).norm() / (best - best.mean(0)).norm())


def spelled(words: str) -> Preset:
    """A preset of `steps=4 guidance=2 silent=0.5-1 every=2 depth=1`, each optional."""
    given = dict(word.split("=") for word in words.split())
    first, last = (float(part) for part in given.get("silent", "0-1").split("-"))
    shortcuts = Shortcuts((first, last), int(given.get("every", 1)), int(given.get("depth", 0)))
    steps, guidance = given.get("steps"), given.get("guidance")
    return Preset(steps and int(steps), guidance and float(guidance), shortcuts)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--model", choices=list(CASES), action="append")
    parser.add_argument("--try", dest="tried", action="append", default=[], metavar="PRESET")
    chosen = parser.parse_args()
    print(f"{'model':<11} {'preset':<40} {'arithmetic':>10} {'error':>7}")
    for name in chosen.model or CASES:
        case = CASES[name](chosen.seconds)
        family = case.pipeline.family
        best, work = made(case, wanted(family, "best"))
        other = error(made(case, Preset(), 2)[0], best)
        print(f"{name:<11} {'best, another seed':<40} {1:10.2f} {other:7.3f}", flush=True)
        presets = {word: wanted(family, word) for word in ("draft", "fast") if word in SHARES.get(name, {})}
        for words, preset in {**presets, **{words: spelled(words) for words in chosen.tried}}.items():
            latents, less = made(case, preset)
            print(f"{name:<11} {words:<40} {less / work:10.2f} {error(latents, best):7.3f}", flush=True)


if __name__ == "__main__":
    main()
