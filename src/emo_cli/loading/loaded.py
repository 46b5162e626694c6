"""A model from its folder onto its device: in which precision, how much of it at once, offloaded, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emo_cli import device
from emo_cli.checkpoints import open_model
from emo_cli.device import Placement
from emo_cli.errors import UsageError
from emo_cli.loading import compiling, memory, offload
from emo_cli.loading.memory import Need
from emo_cli.networks.codec import PictureCodec
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import ONE_WINDOW, AtOnce
from emo_cli.weights import fingerprint


@dataclass(frozen=True)
class Way:
    """How a model shall compute.

    max_memory: GB that it may fill, None for all of the device's; offload: let weights wait in main memory even where
    they would fit; compile: see compiling.py.
    """

    place: Placement
    max_memory: float | None = None
    offload: bool = False
    compile: bool = False


@dataclass(frozen=True)
class Ready:
    """A model on its device. at_once: what goes through it as one batch; notes: what the user may want to know."""

    pipeline: EmoPipeline
    at_once: AtOnce = ONE_WINDOW
    notes: tuple[str, ...] = ()


class Loaded:
    """Keeps the model of the last video in memory, for the next one. weights: its fingerprint."""

    def __init__(self) -> None:
        self.weights = ""
        self._asked: tuple[Path, str, Way, bool] | None = None
        self._pipeline: EmoPipeline | None = None

    def open(self, folder: Path, name: str, way: Way, size: int) -> Ready:
        """The model of a folder, for pictures of `size` pixels a side; another one that is loaded goes first.

        Its need of memory is computed before anything is on the device. Raises DeviceError when it does not fit.
        """
        check(way)
        known = self._pipeline if self._asked is not None and self._asked[:3] == (folder, name, way) else None
        if known is None:
            self._pipeline = self._asked = None
        pipeline = known or open_model(folder, name)
        plan = memory.planned(pipeline, way.place, size, way.max_memory, way.offload)
        asked = (folder, name, way, plan is not None and plan.offloaded)
        if known is not None and self._asked != asked:  # a larger picture: now it does not fit, or fits again
            self._pipeline = known = None
            pipeline = open_model(folder, name)
        if known is None:
            put(pipeline, way, offloaded=asked[3])
            self._pipeline, self._asked, self.weights = pipeline, asked, fingerprint(folder)
        if plan is not None and isinstance(pipeline.codec, PictureCodec):
            pipeline.codec.chunk = plan.pictures
        at_once = ONE_WINDOW if plan is None else AtOnce(plan.windows, plan.halves == 2)
        return Ready(pipeline, at_once, tuple(_notes(way, plan)))


def check(way: Way) -> None:
    """Raises UsageError or DeviceError for a way that cannot be gone here, before anything is loaded."""
    if way.offload and way.compile:
        raise UsageError("--offload and --compile do not go together: compiled layers keep their weights. Choose one.")
    if way.offload and device.budget(way.place.device) is None:
        raise UsageError("A processor's weights lie in main memory already. Leave --offload out.")
    if way.offload:
        offload.check()
    if way.compile:
        compiling.check(way.place.device)


def put(pipeline: EmoPipeline, way: Way, offloaded: bool = False) -> None:
    """Move a model to its device; its two large networks' layers stay in main memory if they are offloaded."""
    place, dtype = way.place.device, way.place.dtype
    large = (pipeline.reference_net, pipeline.backbone)
    pipeline.to(place, dtype, stay=large if offloaded else ())
    for network in large:
        if offloaded:
            offload.offload(network.to(dtype), place)
        if way.compile and not offloaded:
            compiling.compile_blocks(network)


def _notes(way: Way, plan: Need | None) -> list[str]:
    notes = []
    if plan is not None and plan.offloaded and not way.offload:
        notes.append(
            "The model does not fit into the device's memory as a whole, so its layers' weights wait in main memory. "
            "That is slower; a smaller --size or --dtype float16 may avoid it."
        )
    if way.compile and plan is not None and plan.offloaded:
        notes.append("An offloaded model is not compiled.")
    elif way.compile:
        notes.append(f"The first frames wait for the compiler; what it makes is kept in {compiling.kept_in()}.")
    return notes
