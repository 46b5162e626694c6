"""Hallo from its published files to a video, with small random networks in the published layout."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_cli import footage, speech
from emo_cli import portrait as portraits
from emo_cli.animate import AnimateOptions, animate
from emo_cli.checkpoints import hallo, import_model, open_model
from emo_cli.errors import IncompatibleCheckpoint, WeightsError
from emo_cli.networks.codec import Strength
from emo_cli.networks.unet import Conditions, UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.portrait import Portrait
from emo_cli.segments.scene import Settings
from emo_cli.speech import Speech
from made_sound import wav
from tiny_hallo import official_folder

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"
SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official_folder(tmp_path_factory.mktemp("hallo"))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> EmoPipeline:
    return open_model(folder)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return portraits.read(PHOTO, size=SIZE)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of a voice-like buzz that comes and goes."""
    t = np.arange(48_000) / 16_000
    buzz = np.sign(np.sin(2 * np.pi * 140 * t)) * (1 + np.sin(2 * np.pi * 3 * t)) * 8000
    return wav(tmp_path_factory.mktemp("sound") / "buzz.wav", buzz)


@pytest.fixture(scope="module")
def heard(sound: Path, pipeline: EmoPipeline) -> Speech:
    """Twenty frames, which are two clips."""
    return speech.encode(speech.read(sound, duration=0.8), pipeline.sound_encoder, 25.0)


def asked(pipeline: EmoPipeline, portrait: Portrait, heard: Speech, **wishes: object) -> list[Conditions]:
    """The conditions of every call of the Backbone."""
    noted: list[Conditions] = []
    handle = pipeline.backbone.register_forward_pre_hook(lambda _, given: noted.append(given[2]))
    list(pipeline.frames(portrait, heard, Settings(steps=1, **wishes)))
    handle.remove()
    return noted


def shown(pipeline: EmoPipeline, portrait: Portrait, heard: Speech, **wishes: object) -> np.ndarray:
    return np.stack(list(pipeline.frames(portrait, heard, Settings(steps=1, **wishes)))).astype(int)


def test_a_three_second_video_is_made_of_the_published_files(folder: Path, sound: Path, tmp_path: Path) -> None:
    made = animate(AnimateOptions(PHOTO, sound, tmp_path / "out.mp4", model=str(folder), steps=1, size=SIZE))
    probed = footage.probe(made.path)
    assert (made.model, made.frames, probed.frames, probed.width) == ("hallo", 75, 75, SIZE)
    assert any("emo weights get hallo --with identity" in sentence for sentence in made.warnings)


def test_sizes_are_read_off_the_weights(pipeline: EmoPipeline) -> None:
    backbone = pipeline.backbone.config
    assert tuple(backbone["widths"]) == (32, 32, 64, 64)
    assert tuple(backbone["temporal"]) == (True, True, True, False)
    assert (backbone["cross_width"], backbone["audio_width"]) == (24, 20)
    assert pipeline.reference_net.config["out_channels"] is None
    assert (pipeline.sound_encoder.tokens, pipeline.sound_encoder.width) == (10, 16)


def test_a_folder_of_our_own_gives_the_same_video(
    folder: Path, pipeline: EmoPipeline, portrait: Portrait, heard: Speech, tmp_path: Path
) -> None:
    family = import_model(folder, tmp_path / "own")
    own = EmoPipeline.from_pretrained(tmp_path / "own")
    assert own.family == family == hallo.FAMILY
    assert np.array_equal(shown(own, portrait, heard), shown(pipeline, portrait, heard))


def test_the_sound_of_one_clip_is_heard_beyond_its_end(heard: Speech) -> None:
    assert (heard.frames, len(heard.features)) == (20, 32)


def test_wishes_scale_the_three_regions_of_the_sound(
    pipeline: EmoPipeline, portrait: Portrait, heard: Speech
) -> None:
    wish = Strength(motion=0.5, expression=0.75, lips=1.25)
    assert {c.masks.scales for c in asked(pipeline, portrait, heard, strength=wish)} == {(0.5, 0.75, 1.25)}
    assert set(hallo.FAMILY.controls) >= {"motion", "expression", "lips", "steps", "guidance"}


def test_the_region_widens_the_masks(pipeline: EmoPipeline, portrait: Portrait, heard: Speech) -> None:
    usual, wide = (asked(pipeline, portrait, heard, region=region)[0].masks for region in (1.0, 1.4))
    assert wide.levels[0][:, 0].sum() < usual.levels[0][:, 0].sum()  # less is left beside the face


def test_the_prediction_without_sound_sees_earlier_frames_but_no_portrait(
    pipeline: EmoPipeline, portrait: Portrait, heard: Speech
) -> None:
    calls = asked(pipeline, portrait, heard)
    assert len(calls) == 4  # two clips, one step, with and without sound
    for full, silent in zip(calls[::2], calls[1::2], strict=True):
        assert full.reference is not None and full.audio is not None and full.face is not None
        assert silent.reference is None and silent.audio is None and silent.face is None
        assert silent.identity is not None and silent.masks is not None
        assert len(silent.motion) == len(pipeline.backbone.spatial_blocks())


def test_guidance_of_one_asks_once_per_step(pipeline: EmoPipeline, portrait: Portrait, heard: Speech) -> None:
    assert len(asked(pipeline, portrait, heard, guidance=1.0)) == 2


def test_the_first_clip_continues_the_portrait_and_the_second_the_first(
    pipeline: EmoPipeline, portrait: Portrait, heard: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[torch.Tensor] = []
    look = UNet.look
    monkeypatch.setattr(UNet, "look", lambda net, latents, *rest: looked.append(latents) or look(net, latents, *rest))
    frames = shown(pipeline, portrait, heard)
    photo, first, second = looked
    assert torch.equal(first, photo.expand(2, -1, -1, -1))
    assert not torch.allclose(second, first)
    last = torch.from_numpy(frames[14:16]).permute(0, 3, 1, 2) / 127.5 - 1
    assert torch.allclose(second, pipeline.codec.encode(last), atol=0.02)  # frames are whole numbers, motion is not


def test_a_known_person_is_told_apart_from_nobody(pipeline: EmoPipeline, portrait: Portrait, heard: Speech) -> None:
    someone = replace(portrait, identity=np.linspace(-2, 2, 10, dtype=np.float32))
    nobody = replace(portrait, identity=np.zeros(10, np.float32))
    unknown = shown(pipeline, portrait, heard)
    assert np.array_equal(shown(pipeline, nobody, heard), unknown)
    assert not np.array_equal(shown(pipeline, someone, heard), unknown)


def test_exact_is_another_video_of_the_same_length(
    pipeline: EmoPipeline, portrait: Portrait, heard: Speech
) -> None:
    exact = replace(pipeline, family=pipeline.family.with_changes(exact=True))
    ours, theirs = shown(pipeline, portrait, heard), shown(exact, portrait, heard)
    assert ours.shape == theirs.shape
    assert not np.array_equal(ours, theirs)


def changed(folder: Path, target: Path, change: dict[str, torch.Tensor | None]) -> Path:
    """A copy of the folder whose net.pth has other tensors; None takes one away."""
    shutil.copytree(folder, target)
    weights = torch.load(target / hallo.NETWORKS, weights_only=True) | change
    torch.save({name: value for name, value in weights.items() if value is not None}, target / hallo.NETWORKS)
    return target


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"denoising_unet.conv_in.stranger": torch.zeros(2)}, "conv_in.stranger"),
        ({"denoising_unet.conv_in.bias": None}, "conv_in.bias"),
        ({"reference_unet.conv_in.bias": torch.zeros(3)}, "conv_in.bias"),
        ({"stranger.weight": torch.zeros(2)}, "stranger.weight"),
    ],
)
def test_tensors_that_are_not_hallo_s_are_named(
    folder: Path, tmp_path: Path, change: dict[str, torch.Tensor | None], named: str
) -> None:
    with pytest.raises(IncompatibleCheckpoint, match=named):
        open_model(changed(folder, tmp_path / "changed", change))


@pytest.mark.parametrize("missing", [hallo.HEARING, hallo.AUTOENCODER])
def test_missing_files_are_named(folder: Path, tmp_path: Path, missing: str) -> None:
    shutil.copytree(folder, tmp_path / "partly")
    path = tmp_path / "partly" / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(WeightsError, match=missing):
        open_model(tmp_path / "partly")


def test_it_runs_in_half_precision(folder: Path, pipeline: EmoPipeline, portrait: Portrait, heard: Speech) -> None:
    rough = shown(open_model(folder).to("cpu", torch.bfloat16), portrait, heard)
    assert np.abs(rough - shown(pipeline, portrait, heard)).mean() < 20  # of 255, with untrained networks
