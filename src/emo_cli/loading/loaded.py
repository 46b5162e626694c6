"""A model from its folder onto its device: in which precision, how much of it at once, offloaded, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from emo_cli import device
from emo_cli.checkpoints import open_model
from emo_cli.device import Placement
from emo_cli.errors import UsageError
from emo_cli.loading import compiling, memory, offload
from emo_cli.loading.memory import Need
from emo_cli.networks.codec import PictureCodec
from emo_cli.networks.unet import UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.room import Room
from emo_cli.segments.scene import ONE_WINDOW, AtOnce
from emo_cli.weights import fingerprint

NARROW = 256  # channels


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
    """A model on its device. room: what goes through it as one batch, and what is tried where that is too much; notes:
    what the user may want to know."""

    pipeline: EmoPipeline
    room: Room
    notes: tuple[str, ...] = ()


class Loaded:
    """Keeps the model of the last video in memory, for the next one. weights: its fingerprint."""

    def __init__(self) -> None:
        self.weights = ""
        self._asked: tuple[Path, str, Way, bool] | None = None
        self._pipeline: EmoPipeline | None = None
        self._room: tuple[int, Room] | None = None

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
            self._pipeline, self._asked, self.weights, self._room = pipeline, asked, fingerprint(folder), None
        if plan is not None and isinstance(pipeline.codec, PictureCodec):
            pipeline.codec.chunk = plan.pictures
        return Ready(pipeline, self._roomy(pipeline, way, plan, size), tuple(_notes(way, plan)))

    def _roomy(self, pipeline: EmoPipeline, way: Way, plan: Need | None, size: int) -> Room:
        """What was tried before is remembered: the same room for pictures of the same size."""
        before = self._room and self._room[1]
        if self._room is None or self._room[0] != size:
            planned = ONE_WINDOW if plan is None else AtOnce(plan.windows, plan.halves == 2)
            at_once = planned.within(pipeline.family)
            waits = (plan is not None and plan.offloaded) or (before is not None and before.offloaded)
            can_wait = memory.may_wait(way.place) and not (waits or way.compile)
            wait = partial(let_wait, pipeline, way.place.device) if can_wait else None
            self._room = (size, Room(way.place.device, at_once, wait, waits))
        return self._room[1]

    def advice(self, way: Way, size: int) -> str:
        """What would fit where the memory ran out: the end of a sentence."""
        if self._pipeline is None:
            return "take a smaller --size, or use --device cpu."
        return memory.advice(self._pipeline, way.place, size)


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
        elif place.type == "cpu":
            _lay_channels_together(network)
        if way.compile and not offloaded:
            compiling.compile_blocks(network)


def _lay_channels_together(network: UNet) -> None:
    """A processor convolves narrow pictures faster where a pixel's channels lie together; they are tokens in place.

    The layout of the weights decides about that of the pictures. Wide networks gain nothing.
    """
    if max(network.config["widths"]) > NARROW:
        return
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def let_wait(pipeline: EmoPipeline, place: torch.device) -> None:
    """Take the layers of a model's large networks, which are on a device, to main memory."""
    for network in (pipeline.reference_net, pipeline.backbone):
        offload.offload(network, place)


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
