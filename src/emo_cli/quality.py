"""How much work is put into a video: what `--quality draft|fast|best` means for each family of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from emo_cli.family import Family
from emo_cli.networks.reuse import Reuse

Quality = Literal["draft", "fast", "best"]


@dataclass(frozen=True)
class Shortcuts:
    """Work that is left out between the first and the last step; without values nothing is.

    silent: from which to which part of the steps (0..1) the network is also asked without the sound, to be led away
    from silence; the others follow the sound as it is. every, depth: see Reuse; families that
    blend overlapping windows keep nothing, since it would fill the memory.
    """

    silent: tuple[float, float] = (0.0, 1.0)
    every: int = 1
    depth: int = 0

    def asks_silence(self, step: int, steps: int) -> bool:
        """Whether step number `step` of `steps` asks for the prediction without sound."""
        first, last = self.silent
        return first <= step / steps < last

    def reuse(self) -> Reuse | None:
        """What a network that is about to run through all steps keeps; None when it shall keep nothing."""
        return Reuse(self.every, self.depth) if self.every > 1 else None


EVERYTHING = Shortcuts()


@dataclass(frozen=True)
class Preset:
    """A number of steps and a guidance, None as the model recommends, and what is left out."""

    steps: int | None = None
    guidance: float | None = None
    shortcuts: Shortcuts = EVERYTHING


BEST = Preset()
# Fewer steps alone: no other shortcut gave less error for the same work (benchmarks/quality.py).
SHARES: Mapping[str, Mapping[Quality, float]] = {
    "mini": {"draft": 0.5, "fast": 0.75},
    "echomimic": {"draft": 1 / 3, "fast": 2 / 3},
    "hallo": {"draft": 0.3, "fast": 0.5},
}
"""How many of a model's own steps are made; few-step weights of a family keep few of their few."""


def wanted(family: Family, quality: Quality, steps: int | None = None, guidance: float | None = None) -> Preset:
    """A preset with all its numbers; steps and guidance that a user asks for win over those of the word."""
    chosen = preset(family, quality)
    by_word = family.guidance if chosen.guidance is None else chosen.guidance
    return Preset(steps or chosen.steps or family.steps, by_word if guidance is None else guidance, chosen.shortcuts)


def preset(family: Family, quality: Quality) -> Preset:
    """What a word means for a family; a family without presets is always at its best."""
    share = SHARES.get(family.name, {}).get(quality)
    return BEST if share is None else Preset(max(1, round(share * family.steps)))
