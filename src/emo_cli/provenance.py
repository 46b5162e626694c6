"""What is written into a video about how it was made, so that anyone can see that a model made it.

Plain MP4 tags that every player and ffprobe can read: a sentence for people, and one JSON record for programs
with the settings that make the same video again. No file names and nothing about the user.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from emo_cli import __version__

# The IPTC's word for media made wholly by a trained model, as content credentials use it.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@dataclass(frozen=True)
class Recipe:
    """All that decides what a video looks like, besides the photo and the sound."""

    model: str
    seed: int
    steps: int
    guidance: float
    motion: float
    expression: float
    lips: float
    speed: float
    fps: float
    framing: str
    region: float = 1.0


def tags(recipe: Recipe) -> dict[str, str]:
    """MP4 tags by their names in ffmpeg; only names that MP4 itself knows, since others are dropped."""
    generator = f"emo {__version__}"
    record = {"generator": generator, "digitalSourceType": SOURCE_TYPE, **asdict(recipe)}
    return {
        "description": f"Made by a generative model: {generator}, model {recipe.model}. Not a recording.",
        "comment": json.dumps(record, ensure_ascii=False, separators=(",", ":")),
    }
