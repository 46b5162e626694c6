"""The memory that a model needs, computed: what is counted, what is chosen, and what is said when it does not fit."""

from __future__ import annotations

import pytest
import torch

from emo_cli import device
from emo_cli.errors import DeviceError
from emo_cli.loading import memory
from emo_cli.loading.memory import Need
from emo_cli.networks.codec import PictureCodec
from tiny_hallo import autoencoder
from tiny_pipeline import tiny

GB = 10**9


def test_the_largest_moment_counts_and_not_the_sum() -> None:
    def work() -> None:
        for _ in range(5):
            (torch.empty(1000, device="meta") + 1).sum()

    assert memory.peak(work) in (8000, 8004)


def test_attention_counts_as_its_result() -> None:
    tokens = torch.empty(1, 1, 4096, 8, device="meta")
    grown = memory.peak(lambda: torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens))
    assert grown == 4096 * 8 * 4


@pytest.mark.parametrize("kind", ("mini", "emo", "echomimic"))
def test_half_precision_halves_the_weights_of_the_large_networks(kind: str) -> None:
    pipeline = tiny(kind)
    wide, narrow = (memory.need(pipeline, 64, dtype) for dtype in (torch.float32, torch.float16))
    large = sum(value.numel() for part in (pipeline.backbone, pipeline.reference_net) for value in part.parameters())
    assert wide.weights - narrow.weights == pytest.approx(2 * large, rel=0.01)
    assert narrow.call < wide.call


def test_larger_pictures_need_more() -> None:
    pipeline = tiny("echomimic")
    object.__setattr__(pipeline, "codec", PictureCodec(autoencoder()))
    small, large = (memory.need(pipeline, size, torch.float32) for size in (64, 128))
    assert large.weights == small.weights
    assert large.picture > 3 * small.picture
    assert large.call > 2 * small.call


def test_what_is_computed_is_near_what_is_used() -> None:
    """The processor's own count of what a call allocates, beside the computed one."""
    network = tiny("mini").backbone
    latents = torch.zeros(1, 16, 4, 8, 8)
    with torch.profiler.profile(profile_memory=True) as profile, torch.no_grad():
        network(latents, torch.zeros(1), memory.Conditions(speed=torch.zeros(1, 3)))
    alive = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            most = max(most, alive)
    empty = memory._shapes_only(network, torch.float32)
    computed = memory.peak(
        lambda: empty(
            latents.to("meta"), torch.zeros(1, device="meta"), memory.Conditions(speed=torch.zeros(1, 3, device="meta"))
        )
    )
    assert 0.5 * most < computed < 1.5 * most


def test_what_fits_is_done_at_once() -> None:
    needed = Need(weights=4 * GB, call=GB, picture=GB // 2)
    assert memory.fitted(needed, 6 * GB + 200_000_000, several=True) == needed
    roomy = memory.fitted(needed, 12 * GB, several=True)
    assert (roomy.windows, roomy.pictures) == (4, 4)
    assert roomy.total <= 12 * GB
    assert memory.fitted(needed, 80 * GB, several=False).windows == 1


def test_what_does_not_fit_is_told_with_its_size() -> None:
    with pytest.raises(DeviceError, match=r"about 5\.5 GB .* 4\.0 GB may be used.*--size") as failure:
        memory.fitted(Need(4 * GB, GB, GB // 2), 4 * GB, several=True)
    assert failure.value.exit_code == 6


def test_the_processor_sets_no_limit_of_its_own() -> None:
    here = device.choose("cpu")
    assert memory.planned(tiny("mini"), here, 64) is None
    with pytest.raises(DeviceError):
        memory.planned(tiny("mini"), here, 64, allowed=1e-6)
