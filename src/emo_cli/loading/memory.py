"""How much memory a model needs on its device: computed, before anything is moved there.

The networks run once on torch's meta device, which calculates shapes and no numbers, while the bytes that are alive are
counted. Attention counts as its result alone, as the fused kernels do it. What a device's own library takes beside that
(some hundred megabytes) is not in it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from emo_cli import device
from emo_cli.device import Placement
from emo_cli.errors import DeviceError
from emo_cli.loading import offload
from emo_cli.networks.audio import RegionMasks
from emo_cli.networks.codec import PictureCodec
from emo_cli.networks.unet import Conditions, Reference, UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import ONE_WINDOW

RESERVE = 0.1  # share of the memory that stays free: allocators leave gaps
MOST_WINDOWS, MOST_PICTURES = 8, 4
SIDES = (768, 512, 384, 256)  # of smaller pictures that are thought of
MOST_ADVICE = 2


@dataclass(frozen=True)
class Need:
    """Bytes. weights: of all networks; call: the Backbone's largest moment for one window, the portrait's keys and
    values included; picture: the same of drawing one picture; windows, pictures: how many are made at once; halves: how
    many of the two halves of guidance are in one batch, most: how many may be; resident:
    what of the weights is on the device at once where layers wait in main memory; offloaded: whether they do.
    """

    weights: int
    call: int
    picture: int
    windows: int = 1
    pictures: int = 1
    halves: int = 1
    most: int = 1
    resident: int = 0
    offloaded: bool = False

    @property
    def total(self) -> int:
        """The largest moment: drawing runs beside the next segment's denoising."""
        weights = self.resident if self.offloaded else self.weights
        return weights + self.windows * self.halves * self.call + self.pictures * self.picture


def need(pipeline: EmoPipeline, size: int, dtype: torch.dtype) -> Need:
    """What a model needs for pictures of `size` pixels a side with its large networks in a precision."""
    networks = [part.autoencoder if isinstance(part, PictureCodec) else part for part in pipeline.parts().values()]
    layered = (pipeline.backbone, pipeline.reference_net)
    large = (*layered, getattr(pipeline.codec, "autoencoder", None))
    weights = 0
    for network in networks:
        if isinstance(network, nn.Module):
            numbers = sum(value.numel() for value in network.state_dict().values())
            weights += numbers * (dtype if any(network is one for one in large) else torch.float32).itemsize
    codec = pipeline.codec
    picture = _picture(pipeline, codec, size, dtype) if isinstance(codec, PictureCodec) else size * size * 3 * 4
    waiting = sum(value.numel() for network in layered for value in network.state_dict().values()) * dtype.itemsize
    resident = weights - waiting + sum(offload.resident(network, dtype) for network in layered)
    most = 2 if ONE_WINDOW.within(pipeline.family).halves else 1
    return Need(weights, _call(pipeline, size, dtype), picture, most=most, resident=resident)


def planned(
    pipeline: EmoPipeline, place: Placement, size: int, allowed: float | None = None, offloaded: bool = False
) -> Need | None:
    """What is done at once where a device's memory, or the user with `allowed` GB, sets a limit; None without one.

    offloaded: let layers wait in main memory in any case; without it they do where all would not fit. Raises
    DeviceError when a model is too large.
    """
    limit = device.budget(place.device) if allowed is None else int(allowed * 1e9)
    if limit is None:
        return None
    needed = replace(need(pipeline, size, place.dtype), offloaded=offloaded)
    told = partial(advice, pipeline, place, size, limit)
    return fitted(needed, limit, device.likes_batches(place.device), may_wait(place), told)


def may_wait(place: Placement) -> bool:
    """Whether layers can wait in main memory: there must be another one, and accelerate."""
    return device.budget(place.device) is not None and offload.is_possible()


def advice(pipeline: EmoPipeline, place: Placement, size: int, limit: float | None = None) -> str:
    """What would fit into a limit in bytes, by default less than is needed now: the end of a sentence."""
    now = _least(pipeline, size, place.dtype, may_wait(place))
    room = min(now - 1, (1 - RESERVE) * (device.budget(place.device) or now if limit is None else limit))
    fitting = (
        f"{words} (about {least / 1e9:.1f} GB)"
        for words, side, dtype in _ways(place, size)
        if (least := _least(pipeline, side, dtype, may_wait(place))) <= room
    )
    told = list(islice(fitting, MOST_ADVICE))  # each is computed, which takes seconds with a large model
    if not told:
        return "take a smaller --model such as mini, or use --device cpu: no smaller --size or --dtype would fit."
    return f"take {' or '.join(told)}, which would fit, or use --device cpu."


def _ways(place: Placement, size: int) -> Iterator[tuple[str, int, torch.dtype]]:
    """Ways to need less: the options, the size and the precision that they choose."""
    half = torch.bfloat16 if place.device.type == "cpu" else torch.float16
    narrow = f"--dtype {str(half).removeprefix('torch.')}" if place.dtype.itemsize > half.itemsize else ""
    if narrow:
        yield narrow, size, half
    for smaller in (side for side in SIDES if side < size):
        yield f"--size {smaller}", smaller, place.dtype
        if narrow:
            yield f"--size {smaller} {narrow}", smaller, half


def _least(pipeline: EmoPipeline, size: int, dtype: torch.dtype, waiting: bool) -> int:
    """Bytes with as little at once as possible."""
    needed = need(pipeline, size, dtype)
    return min(needed.total, replace(needed, offloaded=True).total) if waiting else needed.total


def fitted(
    needed: Need,
    limit: int,
    several: bool,
    may_wait: bool = False,
    told: Callable[[], str] = lambda: "take a smaller --size, a smaller --model, or use --device cpu.",
) -> Need:
    """As many windows and pictures at once as a limit in bytes allows.

    several: whether batches of windows pay at all; may_wait: whether layers may be offloaded where all do not fit;
    told: what would fit. Raises DeviceError, which tells it, if one is too much.
    """
    room = limit * (1 - RESERVE)
    if needed.total > room and may_wait:
        needed = replace(needed, offloaded=True)
    if needed.total > room:
        raise DeviceError(
            f"The model needs about {needed.total / 1e9:.1f} GB here (computed: {needed.weights / 1e9:.1f} GB of "
            f"weights, the rest while it works), and {limit / 1e9:.1f} GB may be used; {told()}"
        )
    chosen = needed
    numbers = [(1, 1, needed.most), (1, MOST_PICTURES, needed.most)]
    numbers += [(windows, MOST_PICTURES, needed.most) for windows in range(2, MOST_WINDOWS + 1) if several]
    for windows, pictures, halves in numbers:
        wider = replace(chosen, windows=windows, pictures=pictures, halves=halves)
        chosen = wider if wider.total <= room else chosen
    return chosen


def _call(pipeline: EmoPipeline, size: int, dtype: torch.dtype) -> int:
    family = pipeline.family
    network = _shapes_only(pipeline.backbone, dtype)
    side = size // 8 if isinstance(pipeline.codec, PictureCodec) else family.latent_size
    frames = family.window + (family.motion_frames if family.motion == "inline" else 0)
    latents = torch.empty(1, frames, network.config["in_channels"], side, side, dtype=dtype, device="meta")
    time, reference_net = torch.empty(1, device="meta"), _shapes_only(pipeline.reference_net, dtype)

    def work() -> Any:
        conditions = _conditions(reference_net, network, latents)
        return network(latents, time, conditions), conditions

    return peak(work)


def _conditions(reference_net: UNet, network: UNet, latents: Tensor) -> Conditions:
    """A portrait of the latents' size, and the regions, as far as this Backbone wants them."""
    picture = latents.new_empty(1, reference_net.config["in_channels"], *latents.shape[-2:])
    features = reference_net.look(picture)
    masks = None
    if network.config["audio_layers"] == "hierarchical":
        sides = [latents.shape[-1] >> level for level in range(len(network.config["widths"]))]
        masks = RegionMasks(tuple(latents.new_empty(1, 3, side * side, 1) for side in sides))
    return Conditions(reference=network.remember(Reference(features.hidden)), masks=masks)


def _picture(pipeline: EmoPipeline, codec: PictureCodec, size: int, dtype: torch.dtype) -> int:
    with torch.device("meta"):
        network = type(codec.autoencoder).from_config(codec.autoencoder.config)
    nn.Module.to(network, dtype)
    latents = torch.empty(1, pipeline.family.latent_channels, size // 8, size // 8, dtype=dtype, device="meta")
    return peak(lambda: network.decode(latents).sample.float())


def _shapes_only(network: UNet, dtype: torch.dtype) -> UNet:
    with torch.device("meta"):
        empty = UNet(**network.config)
    return empty.to("meta", dtype)  # tables of positions lie on the processor


def peak(work: Callable[[], Any]) -> int:
    """Bytes of the largest moment of some work on the meta device, beside what was there before."""
    with torch.no_grad(), _FusedAttention(), AliveBytes() as counted:
        work()
    return counted.peak


class AliveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.device.type == "meta":
                self._hold(tensor.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        name = storage._cdata
        if name in self._known:
            return
        self._known.add(name)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._release, name, storage.nbytes())

    def _release(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.alive -= size


class _FusedAttention(TorchFunctionMode):
    """Attention whose table of weights is never held as a whole."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is nn.functional.scaled_dot_product_attention:
            queries, _, values = args[:3]
            return queries.new_empty(*queries.shape[:-1], values.shape[-1])
        return function(*args, **(kwargs or {}))
