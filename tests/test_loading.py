"""A model on its way to its device: offloaded layer by layer where it does not fit, compiled where that is asked."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from emo_cli import device
from emo_cli.errors import DeviceError, UsageError
from emo_cli.loading import compiling, memory, offload
from emo_cli.loading.loaded import Loaded, Way, check, put
from emo_cli.loading.memory import Need
from emo_cli.networks.attention import BlockContext, SpatialBlock
from emo_cli.networks.audio import RegionMasks
from emo_cli.networks.unet import Conditions, UNet
from emo_cli.segments.scene import Settings
from tiny_pipeline import BOTH, WIDTHS, tiny

GB = 10**9
CPU = torch.device("cpu")


def said(network: UNet, kind: str) -> Tensor:
    """What a network says with all that it can attend to, and without."""
    chance = torch.Generator().manual_seed(3)
    audio = network.listen(torch.randn(1, 3, 5, 12, generator=chance))
    masks = None
    if kind == "hallo":
        masks = RegionMasks(tuple(torch.rand(1, 3, (8 >> level) ** 2, 1, generator=chance) for level in range(2)))
    latents = torch.randn(1, 3, 4, 8, 8, generator=chance)
    answers = [network(latents, torch.tensor([500.0]), Conditions(audio=heard, masks=masks)) for heard in (audio, None)]
    return torch.cat([answer.sample for answer in answers])


def network(kind: str) -> UNet:
    if kind != "hallo":
        return tiny(kind).backbone
    torch.manual_seed(0)
    return UNet(audio_layers="hierarchical", audio_width=12, temporal=BOTH, **WIDTHS).eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", ("echomimic", "hallo"))
def test_an_offloaded_network_says_the_same_and_keeps_no_layer(kind: str) -> None:
    pytest.importorskip("accelerate")
    whole, layered = network(kind), network(kind)
    offload.offload(layered, CPU)
    assert torch.equal(said(whole, kind), said(layered, kind))
    waiting = [value for level in layered.levels() for value in level.parameters()]
    assert waiting and all(value.is_meta for value in waiting)
    assert layered.device == CPU


@torch.no_grad()
def test_an_offloaded_network_can_go_over_to_a_wider_precision() -> None:
    pytest.importorskip("accelerate")
    layered = network("echomimic").to(torch.bfloat16)
    offload.offload(layered, CPU)
    wide = network("echomimic").to(torch.bfloat16).float()
    assert torch.equal(said(layered.to(torch.float32), "echomimic"), said(wide, "echomimic"))


def test_an_offloaded_model_makes_the_same_motion() -> None:
    pytest.importorskip("accelerate")
    whole, layered = tiny("echomimic"), tiny("echomimic")
    for part in (layered.backbone, layered.reference_net):
        offload.offload(part, CPU)
    canvas, features = whole.codec.open(object()), torch.randn(7, 5, 12, generator=torch.Generator().manual_seed(1))
    settings, mask = Settings(seed=5), np.ones((64, 64), np.float32)
    one, other = (list(pipeline.motions(canvas, mask, features, settings)) for pipeline in (whole, layered))
    assert one and all(torch.equal(a.latents, b.latents) for a, b in zip(one, other, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("kind", ("mini", "emo", "echomimic"))
def test_a_processor_keeps_a_pixels_channels_together_and_says_the_same(kind: str) -> None:
    plain, placed = tiny(kind), tiny(kind)
    put(placed, Way(device.choose("cpu")))
    convolution = placed.backbone.down_blocks[0].resnets[0].conv1.weight
    assert convolution.is_contiguous(memory_format=torch.channels_last) and not convolution.is_contiguous()
    one, other = (said(pipeline.backbone, kind) for pipeline in (plain, placed))
    assert one.std() > 0.01
    assert torch.allclose(one, other, rtol=0, atol=1e-5)


def test_layers_wait_in_main_memory_only_where_all_do_not_fit() -> None:
    needed = Need(weights=10 * GB, call=GB, picture=GB, resident=GB)
    assert not memory.fitted(needed, 16 * GB, several=False, may_wait=True).offloaded
    waiting = memory.fitted(needed, 6 * GB, several=False, may_wait=True)
    assert waiting.offloaded and waiting.total < 6 * GB
    with pytest.raises(DeviceError, match="may be used"):
        memory.fitted(needed, 6 * GB, several=False, may_wait=False)
    with pytest.raises(DeviceError, match="may be used"):
        memory.fitted(needed, 2 * GB, several=False, may_wait=True)


def test_what_stays_on_the_device_is_far_less_than_all() -> None:
    needed = memory.need(tiny("echomimic"), 64, torch.float32)
    assert 0 < needed.resident < needed.weights / 2
    assert replace(needed, offloaded=True).total == needed.total - needed.weights + needed.resident


def test_a_processor_has_nothing_to_offload_to() -> None:
    with pytest.raises(UsageError, match="main memory already"):
        check(Way(device.choose("cpu"), offload=True))


def test_offloading_and_compiling_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="Choose one"):
        check(Way(device.choose("cpu"), offload=True, compile=True))


def test_a_missing_compiler_is_told_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "lacks_compiler", lambda place: "a C++ compiler")
    with pytest.raises(DeviceError, match="needs a C.. compiler here"):
        check(Way(device.choose("cpu"), compile=True))


def test_a_loaded_model_is_kept_until_another_way_is_asked(model: Path) -> None:
    here, loaded = device.choose("cpu"), Loaded()
    first = loaded.open(model, "tiny", Way(here), 64).pipeline
    assert loaded.open(model, "tiny", Way(here), 128).pipeline is first
    assert loaded.weights
    assert loaded.open(model, "tiny", Way(device.choose("cpu", "bfloat16")), 64).pipeline is not first


@torch.no_grad()
@pytest.mark.slow
def test_a_compiled_block_says_the_same() -> None:
    if device.lacks_compiler(CPU) is not None:
        pytest.skip("no C++ compiler is here")
    torch.manual_seed(0)
    plain = SpatialBlock(16, 2, "audio", 12, 3.0, 2).eval()
    compiled = copy.deepcopy(plain)
    compiling.compile_blocks(compiled)
    x, sound = torch.randn(3, 64, 16), torch.randn(3, 5, 12)
    one, other = (block(x, BlockContext(cross=block.attn2.keys_values(sound)))[0] for block in (plain, compiled))
    assert torch.allclose(one, other, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert Path(compiling.kept_in()).is_dir()
