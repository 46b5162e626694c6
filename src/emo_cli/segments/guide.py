"""Guidance over the steps of one clip: the network is asked with the sound, and without it where that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from emo_cli import sampling
from emo_cli.networks.reuse import Reuse
from emo_cli.segments.scene import Scene

Said = tuple[Tensor, ...]
Ask = Callable[[Reuse | None], Said]
"""Asks the network for all it has to say; it may take over what it kept in an earlier step."""


class Guide:
    """One clip's guidance; each half keeps what its shortcuts let it keep."""

    def __init__(self, scene: Scene, scales: Sequence[float]) -> None:
        """scales: how far each of the things that the network says is led away from silence."""
        self.scene, self.scales = scene, scales
        shortcuts = scene.settings.shortcuts
        self.heard, self.silent = shortcuts.reuse(), shortcuts.reuse()

    def __call__(self, step: int, with_sound: Ask, without: Ask) -> Said:
        """What the network says in step `step`, guided."""
        heard = with_sound(_begun(self.heard, step))
        if not self.scene.asks_silence(step):
            return heard
        silent = without(_begun(self.silent, step))
        return tuple(sampling.guided(*three) for three in zip(heard, silent, self.scales, strict=True))


def _begun(reuse: Reuse | None, step: int) -> Reuse | None:
    if reuse is not None:
        reuse.begin(step)
    return reuse
