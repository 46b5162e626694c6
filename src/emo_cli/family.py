"""What a model expects of its input and how it is sampled: the family.json beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from emo_cli.errors import WeightsError

FILE = "family.json"
SPEED_UNIT = 0.3
"""Degrees per frame that are a head speed of 1."""

Chaining = Literal["carry", "blend"]
Motion = Literal["inline", "reference", "none"]
Schedule = Literal["flow", "ddim"]
Carried = Literal["latents", "pictures"]
Control = Literal["steps", "guidance", "motion", "expression", "lips", "speed", "region", "pose"]
FaceInput = Literal["oval", "rectangle", "landmarks"]
Crop = Literal["framing", "face"]


@dataclass(frozen=True)
class Family:
    """The facts about a model that are not in its weights.

    fps: video frames per second it was trained on; size: side of its pictures, pixels; window: new frames per clip;
    motion_frames: earlier frames a clip sees; motion: how ("inline" as clean frames of the window, "reference" through
    ReferenceNet, EMO section 3.2); chaining: long videos "carry" motion frames from clip to clip or "blend" `overlap`
    frames of windows inside each step; carried: what a carrying family hands on: its "latents", beginning with zeros
    (EMO), or its "pictures", decoded and encoded again, beginning with the portrait (Hallo);
    schedule: "flow" predicts the clean picture on a straight path, "ddim" predicts v on Stable Diffusion's noise;
    window_shift: frames by which overlapping windows move from step to step; longest: frames that are denoised together
    at most; face_input: what the face locator sees, the soft "oval" of the face, a "rectangle" around it, or its
    "landmarks" drawn as lines; crop: the picture by the user's "framing" or by the "face" alone, as EchoMimic does;
    exact: make what the authors' own code makes, faults included (docs/models.md lists them);
    head_guidance: guidance of pose and blinks; noise_correlation: of neighbouring frames' noise; speed: the usual head
    speed per axis, in SPEED_UNIT; threads: how many of a processor's it is worth, if few; controls: the options it
    honours.
    """

    name: str
    fps: float = 25.0
    size: int = 512
    window: int = 16
    overlap: int = 0
    motion_frames: int = 4
    motion: Motion = "inline"
    chaining: Chaining = "carry"
    carried: Carried = "latents"
    schedule: Schedule = "flow"
    steps: int = 6
    guidance: float = 2.0
    head_guidance: float = 1.0
    noise_correlation: float = 0.0
    noise_limit: float | None = None
    window_shift: int = 0
    longest: int | None = None
    face_input: FaceInput = "oval"
    crop: Crop = "framing"
    exact: bool = False
    latent_scale: float = 1.0
    latent_size: int = 8
    latent_channels: int = 49
    speed: tuple[float, float, float] = (0.5, 0.315, 0.225)
    threads: int | None = None
    controls: tuple[Control, ...] = ("steps", "guidance")

    def __post_init__(self) -> None:
        if self.window < 1 or not 0 <= self.overlap < self.window or self.motion_frames < 0:
            raise WeightsError(f"The family {self.name} has an impossible window. Fetch the model again.")

    def with_changes(self, **changes: Any) -> Self:
        """The same family with some fields changed."""
        return replace(self, **changes)

    def save(self, folder: Path) -> None:
        """Write family.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read family.json; WeightsError when it is missing or not one of ours."""
        try:
            facts: Mapping[str, Any] = json.loads((folder / FILE).read_text())
            known = {field.name for field in fields(cls)}
            unknown = sorted(facts.keys() - known)
            if unknown:
                raise ValueError(f"unknown fields {', '.join(unknown)}")
            listed: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()}
            return cls(**listed)
        except (OSError, ValueError, TypeError, AttributeError) as problem:
            raise WeightsError(f"{folder} is not a model folder ({problem}). Give a folder made by emo.") from problem
