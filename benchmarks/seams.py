"""How visible the border is where an animated head is pasted back into its photo (`--framing full`).

    python benchmarks/seams.py PHOTO... [--sound examples/song.wav] [--seconds 2] [--model mini]

For every photo, and for the same photo in a corner of a picture twice as large, frames are made and pasted back. Told
are, of 255 levels: `seam`, the mean colour step that the pasting adds between neighbouring pixels on either side of the
border; `band`, the largest mean step that it adds along any line of equal opacity in the faded band beside the border;
`untouched`, the largest change of any pixel outside. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from emo_cli import portrait, speech
from emo_cli.pipeline import EmoPipeline
from emo_cli.portrait import Portrait
from emo_cli.segments.scene import Settings
from emo_cli.weights import locate

ROOT = Path(__file__).parents[1]
LINES = 10  # lines of equal opacity in the faded band


@dataclass(frozen=True)
class Steps:
    """What pasting a frame adds to the steps between neighbouring pixels, levels of 255."""

    seam: float
    band: float
    untouched: float


def opacity(framed: Portrait) -> np.ndarray:
    """How far each pixel of the photo is covered (H, W), 0..1, found by pasting black and white."""
    black, white = (framed.compose(np.full_like(framed.image, level)).astype(float) for level in (0, 255))
    return np.clip((white - black).mean(2) / 255, 0, 1)


def steps(framed: Portrait, frame: np.ndarray, covered: np.ndarray) -> Steps:
    """Measure one frame of the model, pasted back; covered: `opacity` of the portrait."""
    change = framed.compose(frame).astype(np.float32) - framed.photo
    untouched = float(np.abs(change[covered == 0]).max(initial=0))
    # Nothing changes beyond what is covered.
    near = tuple(slice(max(0, where.min() - 1), where.max() + 2) for where in np.nonzero(covered))
    change, covered = change[near], covered[near]
    added = [np.abs(np.diff(change, axis=axis)).mean(2) for axis in (0, 1)]
    lines = [_across(added, covered, level) for level in np.arange(LINES) / LINES]
    return Steps(lines[0], max(lines), untouched)


def _across(added: list[np.ndarray], covered: np.ndarray, level: float) -> float:
    """Mean added step between neighbours of which one is covered by more than `level` and the other is not.

    added: steps between neighbours down and across, (H - 1, W) and (H, W - 1).
    """
    inside = covered > level
    values = np.concatenate([step[np.diff(inside, axis=axis)] for axis, step in enumerate(added)])
    return float(values.mean()) if len(values) else 0.0


def pictures(path: Path) -> Iterator[tuple[str, bytes]]:
    """The photo, and a larger picture with it in the lower right corner, its border continued as a mirror."""
    photo = np.asarray(Image.open(path).convert("RGB"))
    yield path.stem, path.read_bytes()
    height, width = photo.shape[:2]
    larger = Image.fromarray(np.pad(photo, ((height, 0), (width, 0), (0, 0)), mode="symmetric"))
    larger.paste(larger.resize((8, 8)).resize((width, height)), (0, 0))  # no second face in the mirror
    content = io.BytesIO()
    larger.save(content, "PNG")
    yield f"{path.stem} in a larger picture", content.getvalue()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--sound", type=Path, default=ROOT / "examples" / "song.wav")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--model", default="mini")
    chosen = parser.parse_args()
    pipeline = EmoPipeline.from_pretrained(locate(chosen.model))
    sound = speech.read(chosen.sound, duration=chosen.seconds)
    heard = speech.encode(sound, pipeline.sound_encoder, pipeline.family.fps)
    result = {}
    for name, content in (pair for photo in chosen.photos for pair in pictures(photo)):
        framed = portrait.read(content, framing="full", face="right", size=pipeline.family.size)
        covered = opacity(framed)
        found = [steps(framed, frame, covered) for frame in pipeline.frames(framed, heard, Settings(seed=1))]
        result[name] = {
            "seam_mean": round(float(np.mean([one.seam for one in found])), 3),
            "seam_worst_frame": round(max(one.seam for one in found), 3),
            "band_mean": round(float(np.mean([one.band for one in found])), 3),
            "band_worst_frame": round(max(one.band for one in found), 3),
            "untouched": max(one.untouched for one in found),
            "frames": len(found),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
