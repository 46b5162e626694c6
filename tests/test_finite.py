"""Numbers that left the range of half precision: made again in a wider one, told, and never shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from emo_cli import device
from emo_cli.errors import ModelError
from emo_cli.networks.codec import Canvas, PictureCodec
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings
from test_pipeline import MASK, sound
from tiny_hallo import autoencoder
from tiny_pipeline import tiny

CPU = torch.device("cpu")


def heard(pipeline: EmoPipeline, frames: int) -> tuple[torch.Tensor, list[str]]:
    """Latents, and the warnings that came with them."""
    warnings: list[str] = []
    made = pipeline.motions(pipeline.codec.open(None), MASK, sound(frames), Settings(seed=3), warn=warnings.append)
    return torch.cat([motion.latents for motion in made]), warnings


def narrow_until_float32(pipeline: EmoPipeline, calls: int) -> None:
    """The Backbone's answers in half precision are not finite from call number `calls` on."""
    asked: list[int] = []

    def overflow(network: torch.nn.Module, given: object, said: object) -> object:
        asked.append(1)
        if len(asked) <= calls or network.dtype == torch.float32:
            return None
        return replace(said, sample=said.sample * float("inf"))  # type: ignore[attr-defined]

    pipeline.backbone.register_forward_hook(overflow)


@pytest.mark.parametrize("kind", ("mini", "emo", "echomimic"))
def test_a_segment_that_overflows_is_made_again_in_float32(kind: str) -> None:
    pipeline = tiny(kind).to("cpu", torch.bfloat16)
    narrow_until_float32(pipeline, calls=0)
    made, warnings = heard(pipeline, 20)
    assert torch.isfinite(made).all() and len(made) == 20
    assert warnings == ["In bfloat16 the model's numbers left its range or turned black; the rest is made in float32."]


def test_what_was_finished_before_the_overflow_stays() -> None:
    undisturbed, _ = heard(tiny("mini").to("cpu", torch.bfloat16), 32)
    pipeline = tiny("mini").to("cpu", torch.bfloat16)
    narrow_until_float32(pipeline, calls=4)  # two steps with guidance are the first segment
    made, warnings = heard(pipeline, 32)
    assert len(warnings) == 1
    assert torch.equal(made[:16], undisturbed[:16])
    assert not torch.equal(made[16:], undisturbed[16:])


@pytest.mark.parametrize(("lightness", "again"), [(0.0, True), (0.002, True), (0.2, False)])
def test_a_segment_that_turned_black_is_made_again_in_float32(lightness: float, again: bool) -> None:
    pipeline = tiny("emo").to("cpu", torch.bfloat16)
    codec = PictureCodec(autoencoder())
    object.__setattr__(pipeline, "codec", codec)
    canvas = Canvas(torch.linspace(-1, 1, 256).view(1, 4, 8, 8), torch.zeros(1, 3, 64, 64))

    def pixels(latents: torch.Tensor) -> torch.Tensor:
        shown = lightness if pipeline.backbone.dtype == torch.bfloat16 else 0.5
        return torch.full((len(latents), 3, 64, 64), shown)

    codec.pixels = pixels  # type: ignore[method-assign]
    warnings: list[str] = []
    motions = pipeline.motions(canvas, MASK, sound(20), Settings(seed=3), warn=warnings.append)
    assert sum(len(motion.latents) for motion in motions) == 20
    assert pipeline.backbone.dtype == (torch.float32 if again else torch.bfloat16)
    assert len(warnings) == again


def test_numbers_that_are_not_finite_in_float32_are_the_models_fault() -> None:
    pipeline = tiny("mini").to("cpu", torch.bfloat16)
    pipeline.backbone.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="weights verify") as failure:
        heard(pipeline, 4)
    assert failure.value.exit_code == 9


def test_precisions_widen_up_to_float32() -> None:
    assert device.wider(torch.float16, CPU) == torch.bfloat16
    assert device.wider(torch.bfloat16, CPU) == torch.float32
    assert device.wider(torch.float32, CPU) is None


def test_an_autoencoder_that_overflows_goes_over_to_float32() -> None:
    torch.manual_seed(0)
    network = autoencoder().eval().to(torch.float16)
    with torch.no_grad():
        network.decoder.conv_out.weight.fill_(6e4)
    pictures = PictureCodec(network).pixels(torch.randn(2, 4, 4, 4))
    assert torch.isfinite(pictures).all()
    assert network.dtype == torch.float32
