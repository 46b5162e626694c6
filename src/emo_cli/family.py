"""What a model expects of its input and how it is sampled: the family.json beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from emo_cli.errors import WeightsError

FILE = "family.json"

Chaining = Literal["carry", "blend"]
Motion = Literal["inline", "reference", "none"]
Schedule = Literal["flow", "ddim"]
Control = Literal["steps", "guidance", "motion", "expression", "lips", "speed", "region"]


@dataclass(frozen=True)
class Family:
    """The facts about a model that are not in its weights.

    fps: video frames per second it was trained on; size: side of its pictures, pixels; window: new frames per clip;
    motion_frames: earlier frames a clip sees; motion: how ("inline" as clean frames of the window, "reference" through
    ReferenceNet, EMO section 3.2); chaining: long videos "carry" motion frames from clip to clip or "blend" `overlap`
    frames of windows inside each step; shown: earlier frames that count as shown in the first clip;
    schedule: "flow" predicts the clean picture on a straight path, "ddim" predicts v on Stable Diffusion's noise;
    head_guidance: guidance of pose and blinks; noise_correlation: of neighbouring frames' noise; speed: the usual head
    speed per axis, in units of 0.3 degrees per frame; controls: the options it honours.
    """

    name: str
    fps: float = 25.0
    size: int = 512
    window: int = 16
    overlap: int = 0
    motion_frames: int = 4
    motion: Motion = "inline"
    chaining: Chaining = "carry"
    schedule: Schedule = "flow"
    steps: int = 6
    guidance: float = 2.0
    head_guidance: float = 1.0
    noise_correlation: float = 0.0
    noise_limit: float | None = None
    latent_scale: float = 1.0
    latent_size: int = 8
    latent_channels: int = 49
    speed: tuple[float, float, float] = (0.5, 0.315, 0.225)
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
