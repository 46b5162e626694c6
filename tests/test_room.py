"""A device whose memory runs out in the middle: less at once, layers in main memory, in the end a clear sentence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batch_bench import small_photo, tone
from emo_cli import device
from emo_cli.animate import AnimateOptions, animate
from emo_cli.errors import DeviceError
from emo_cli.loading import memory
from emo_cli.loading.loaded import Loaded, Way, let_wait
from emo_cli.loading.memory import Need
from emo_cli.networks.codec import Canvas, Motion, PictureCodec, Strength
from emo_cli.networks.unet import UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.room import LAYERS, Room, patient_frames
from emo_cli.segments.scene import AtOnce, Settings
from test_pipeline import MASK, sound
from tiny_hallo import autoencoder
from tiny_pipeline import tiny

CPU = torch.device("cpu")
GB = 10**9


def full() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def made(pipeline: EmoPipeline, room: Room | None = None, frames: int = 20) -> tuple[torch.Tensor, list[str]]:
    """Latents, and the warnings that came with them."""
    told: list[str] = []
    canvas = pipeline.codec.open(None)
    motions = pipeline.motions(canvas, MASK, sound(frames), Settings(seed=3), warn=told.append, room=room)
    return torch.cat([motion.latents for motion in motions]), told


def holds(pipeline: EmoPipeline, most: int) -> None:
    """Let the Backbone's memory suffice for a batch of `most`."""

    def refuse(network: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if len(given[0]) > most:
            raise full()

    pipeline.backbone.register_forward_pre_hook(refuse)


def holds_offloaded(pipeline: EmoPipeline, after: int = 0) -> None:
    """From call `after` on, let the Backbone's memory suffice only when its layers wait in main memory."""
    calls: list[int] = []

    def refuse(network: torch.nn.Module, given: object) -> None:
        calls.append(1)
        if len(calls) > after and not any(value.is_meta for value in network.parameters()):
            raise full()

    pipeline.backbone.register_forward_pre_hook(refuse)


def test_where_the_memory_runs_out_less_goes_through_at_once_to_the_same_frames() -> None:
    undisturbed, _ = made(tiny("echomimic"))
    pipeline = tiny("echomimic")
    holds(pipeline, 1)
    latents, told = made(pipeline, Room(CPU, AtOnce(windows=4, halves=True)))
    assert torch.allclose(latents, undisturbed, atol=1e-5)
    assert [sentence.partition("again with ")[2] for sentence in told] == [
        "2 window(s) at once.", "1 window(s) at once.", "the halves of guidance one after another.",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ("mini", "emo", "echomimic"))
def test_then_layers_wait_in_main_memory_and_the_frames_are_the_same(kind: str) -> None:
    pytest.importorskip("accelerate")
    undisturbed, _ = made(tiny(kind))
    pipeline = tiny(kind)
    holds_offloaded(pipeline)
    room = Room(CPU, AtOnce(halves=False), partial(let_wait, pipeline, CPU))
    latents, told = made(pipeline, room)
    assert torch.allclose(latents, undisturbed, atol=1e-5)
    assert told == [LAYERS] and room.offloaded


def test_segments_that_were_finished_before_are_not_made_again() -> None:
    pytest.importorskip("accelerate")
    undisturbed, _ = made(tiny("mini"), frames=32)
    pipeline, seen = tiny("mini"), []
    pipeline.backbone.register_forward_pre_hook(lambda network, given: seen.append(1))
    holds_offloaded(pipeline, after=4)  # two steps with guidance are the first segment
    room = Room(CPU, AtOnce(halves=False), partial(let_wait, pipeline, CPU))
    latents, told = made(pipeline, room, frames=32)
    assert torch.equal(latents, undisturbed)
    assert told == [LAYERS] and len(seen) == 4 + 1 + 4


def test_when_nothing_is_left_to_try_the_device_s_own_error_comes_out() -> None:
    pipeline = tiny("mini")
    holds(pipeline, 0)
    with pytest.raises(torch.OutOfMemoryError):
        made(pipeline, Room(CPU, AtOnce(halves=False)))


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    pipeline = tiny("echomimic")
    pipeline.backbone.register_forward_pre_hook(lambda network, given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made(pipeline, Room(CPU, AtOnce(windows=4)))


@pytest.mark.parametrize(
    ("error", "lack"),
    [(full(), True), (MemoryError(), True), (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
     (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
     (RuntimeError("shapes do not match"), False), (ValueError("out of memory"), False)],
)  # fmt: skip
def test_a_lack_of_memory_is_known_by_its_kind_or_its_words(error: BaseException, lack: bool) -> None:
    assert device.ran_out(error) is lack


def test_pictures_are_drawn_one_by_one_where_several_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    codec, motion = PictureCodec(autoencoder().eval(), chunk=4), Motion(torch.randn(6, 4, 4, 4))
    canvas = Canvas(torch.zeros(1), None)
    whole = list(codec.decode(canvas, motion, Strength()))
    drawn, asked = codec.autoencoder.decode, []

    def refuse(latents: torch.Tensor) -> object:
        asked.append(len(latents))
        if len(latents) > 1:
            raise full()
        return drawn(latents)

    monkeypatch.setattr(codec.autoencoder, "decode", refuse)
    again = list(codec.decode(canvas, motion, Strength()))
    assert len(again) == 6 and all(np.allclose(one, other, atol=1) for one, other in zip(again, whole, strict=True))
    assert asked[:4] == [4, 2, 1, 1] and codec.chunk == 1


def test_a_picture_that_does_not_fit_waits_for_layers_to_go_and_none_is_shown_twice() -> None:
    pytest.importorskip("accelerate")
    pipeline, told = tiny("mini"), []
    room = Room(CPU, AtOnce(halves=False), partial(let_wait, pipeline, CPU))

    def draw(motion: Motion) -> Iterator[np.ndarray]:
        for frame in motion.latents:
            if frame[0] > 2 and not room.offloaded:
                raise full()
            yield frame.numpy()

    shown = patient_frames(draw, Motion(torch.arange(6.0)[:, None]), room, told.append)
    assert [int(frame[0]) for frame in shown] == [0, 1, 2, 3, 4, 5]
    assert told == [LAYERS]


def test_in_the_end_one_sentence_tells_what_would_fit_and_nothing_is_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = UNet.forward

    def refuse(network: UNet, latents: torch.Tensor, *given: Any) -> Any:
        if not latents.is_meta:
            raise full()
        return plain(network, latents, *given)

    monkeypatch.setattr(UNet, "forward", refuse)
    output = tmp_path / "out.mp4"
    photo, tune = small_photo(tmp_path), tone(tmp_path / "a.wav", 0.2)
    options = AnimateOptions(photo, tune, output, model=str(model), size=512, dtype="bfloat16", device="cpu")
    told = "ran out of memory.*take --size 384 .* which would fit, or use --device cpu"
    with pytest.raises(DeviceError, match=told) as failure:
        animate(options)
    assert failure.value.exit_code == 6 and "\n" not in str(failure.value)
    assert not output.exists()


def test_what_would_fit_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def need(pipeline: EmoPipeline, size: int, dtype: torch.dtype) -> Need:
        return Need(weights=dtype.itemsize * GB, call=dtype.itemsize * size * GB // 1000, picture=0)

    monkeypatch.setattr(memory, "need", need)
    pipeline, here = tiny("mini"), device.choose("cpu")
    sizes = {limit: memory.advice(pipeline, here, 768, limit * GB) for limit in (6, 3.2, 1)}
    assert sizes[6].startswith("take --dtype bfloat16 (about 3.5 GB) or --size 512 --dtype bfloat16 (about 3.0 GB),")
    assert sizes[3.2].startswith("take --size 384 --dtype bfloat16 (about 2.8 GB) or --size 256 --dtype bfloat16")
    assert "no smaller" in sizes[1]


def test_the_next_video_begins_with_what_sufficed_for_the_last(model: Path) -> None:
    here, loaded = Way(device.choose("cpu")), Loaded()
    first = loaded.open(model, "tiny", here, 64).room
    first.offloaded = True
    assert loaded.open(model, "tiny", here, 64).room is first
    larger = loaded.open(model, "tiny", here, 128).room
    assert larger is not first and larger.offloaded
