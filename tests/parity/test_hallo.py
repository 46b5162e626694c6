"""Hallo's own numbers come out of our networks: vectors that its published code made with small random weights.

Those of single networks lie beside this file. Those that need whole UNets are read from the folder that the environment
variable EMO_PARITY_VECTORS names (with `hallo` in it), and these tests are skipped without it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from emo_cli import sampling
from emo_cli.checkpoints import hallo
from emo_cli.checkpoints.sizes import Divisions
from emo_cli.hallo_masks import find_regions
from emo_cli.networks.attention import KeysValues
from emo_cli.networks.audio import RegionMasks
from emo_cli.networks.codec import Canvas, PictureCodec, Strength
from emo_cli.networks.temporal import TemporalModule
from emo_cli.networks.unet import Conditions, Reference, UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.carry import pictures
from emo_cli.segments.scene import Settings
from emo_cli.sound.wav2vec import even

SMALL = Path(__file__).parent / "hallo"
LARGE = Path(os.environ.get("EMO_PARITY_VECTORS", "nowhere")) / "hallo"
large = pytest.mark.skipif(not LARGE.is_dir(), reason="EMO_PARITY_VECTORS names no folder with hallo's large vectors")

NETWORK = 2e-5  # largest difference allowed per network
STEP = 5e-5  # per step of the loop
ROUNDED = 1e-3  # where 16 bits can fall to either side, which differs from processor to processor; per clip of a chain
REDUCED = Divisions(heads=4, groups=32)
REGIONS = ("full", "face", "lip")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The vectors were made so; with several threads sums differ, and rounding to 16 bits can enlarge that."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def small(name: str) -> dict[str, Tensor]:
    return load_file(SMALL / f"{name}.safetensors")


@cache
def whole(name: str) -> dict[str, Tensor]:
    return load_file(LARGE / f"{name}.safetensors")


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


def near(file: str, ours: Tensor, theirs: Tensor, allowed: float) -> None:
    """Assert the largest difference; `pytest -rP` shows it."""
    largest = difference(ours, theirs)
    print(f"{file:<20} {largest:8.1e} of {allowed:.0e}")
    assert largest < allowed


@torch.no_grad()
def test_face_locator() -> None:
    locator = hallo.face_locator(small("reduced_face_locator"), "vectors")
    io = small("io_face_locator")
    near("io_face_locator", locator(io["mask"]), io["output_frame0"], NETWORK)
    frames, expected = (io[name].transpose(1, 2).flatten(0, 1) for name in ("video_in", "video_out"))
    near("io_face_locator", locator(frames), expected, NETWORK)


@torch.no_grad()
def test_identity_projection() -> None:
    projection, io = hallo.identity_projection(small("reduced_imageproj"), "vectors"), small("io_projections")
    near("io_projections", projection(io["face_emb"]), io["image_tokens"], NETWORK)
    near("io_projections", projection(torch.zeros_like(io["face_emb"])), io["image_tokens_of_zeros"], NETWORK)


@torch.no_grad()
def test_sound_projection_takes_windows_whole_or_as_tokens() -> None:
    projection, io = hallo.sound_projection(small("reduced_audioproj"), 3, "vectors"), small("io_projections")
    near("io_projections", projection(io["audio_window"]), io["audio_tokens"], NETWORK)
    near("io_projections", projection(io["audio_window"].flatten(2, 3)), io["audio_tokens"], NETWORK)


@pytest.mark.parametrize("name", ("down_blocks.2.motion_modules.0", "up_blocks.3.motion_modules.0"))
@torch.no_grad()
def test_motion_module(name: str) -> None:
    weights = {
        key.removeprefix(f"{name}."): value
        for key, value in small("reduced_motion_modules").items()
        if key.startswith(name) and not key.endswith(".pe")
    }
    io = small("io_motion_module")
    clip = io[f"{name}.input"].transpose(1, 2)  # (batch, frames, channels, h, w)
    module = TemporalModule(clip.shape[2], groups=32, heads=8, layers=2, feed_forward=4, speed_width=None)
    module.load_state_dict(weights)
    ours = module(clip.flatten(0, 1), clip.shape[1], None, None).unflatten(0, clip.shape[:2])
    near("io_motion_module", ours, io[f"{name}.output"].transpose(1, 2), NETWORK)


@pytest.mark.parametrize("case", ("a", "b"))
def test_hearing(case: str) -> None:
    encoder = hallo.hearing(small("reduced_wav2vec2"), "vectors", heads=4)
    io = {key.removeprefix(f"{case}."): value for key, value in small("io_wav2vec").items() if key.startswith(case)}
    frames = int(io["audio_length"])
    assert frames == math.ceil(len(io["waveform"]) / 16_000 * 25)
    near("io_wav2vec", even(io["waveform"]), io["normalised"], NETWORK)
    states = encoder.states(io["waveform"], frames, 25.0)
    assert len(states) == int(io["seq_len_padded"])
    near("io_wav2vec", states, io["hidden"], NETWORK)
    near("io_wav2vec", encoder(io["waveform"], frames, 25.0), io["windows"].flatten(1, 2), NETWORK)


@pytest.mark.parametrize(("case", "room"), (("a", 1.2), ("b", 1.5)))
@pytest.mark.parametrize("exact", (True, False))
def test_masks_and_face_region_are_equal_to_the_last_bit(case: str, room: float, exact: bool) -> None:
    io = {key.removeprefix(f"{case}."): value for key, value in small("io_masks").items() if key.startswith(case)}
    landmarks, picture = io["landmarks_xy"].numpy(), tuple(io["image_hwc_uint8"].shape[:2])
    masks = find_regions(landmarks, picture, 512, exact, room).masks
    for level, ours in enumerate(masks.levels):
        for index, region in enumerate(REGIONS):
            expected = io[f"{region}_mask.{level}"]
            assert np.array_equal((ours[:, index, :, 0] * 255).round(), (expected * 255).round())
            near("io_masks", ours[:, index, :, 0], expected, 1e-7)
    located = torch.from_numpy(find_regions(landmarks, picture, 64, exact, room).face)
    near("io_masks", located.expand(3, -1, -1), io["face_region_64"], 1e-7)


@cache
def networks() -> tuple[UNet, UNet]:
    """ReferenceNet and Backbone."""
    reference_net = hallo.reference_net(whole("reduced_reference_unet"), REDUCED, "vectors")
    return reference_net, hallo.backbone(whole("reduced_denoising_unet"), REDUCED, "vectors")


def region_masks(io: dict[str, Tensor], scales: list[float]) -> RegionMasks:
    levels = [torch.stack([io[f"{region}_mask.{level}"] for region in REGIONS], 1)[..., None] for level in range(4)]
    return RegionMasks(tuple(levels), tuple(scales))


def bank() -> Reference:
    """ReferenceNet's features of the vectors, rows: nobody's three images, then the person's."""
    return Reference(tuple(value for key, value in sorted(whole("io_reference_unet").items()) if key[:4] == "bank"))


@large
@torch.no_grad()
def test_reference_bank() -> None:
    reference_net, io = networks()[0], whole("io_reference_unet")
    tokens = io["encoder_hidden_states"].repeat(3, 1, 1)  # nobody, person, nobody, ...
    seen = reference_net.look(io["ref_latents"].repeat(2, 1, 1, 1), reference_net.recognise(tokens))
    for ours, expected in zip(seen.hidden, bank().hidden, strict=True):
        near("io_reference_unet", ours, expected, NETWORK)


def denoised(scales: list[float], t: int, rounded: bool) -> Tensor:
    """Both halves (2, channels, frames, h, w), nobody's first."""
    backbone, io = networks()[1], whole("io_denoising_unet")
    hidden = tuple(value.half().float() if rounded else value for value in bank().hidden)
    frames = io["latents"].shape[2]
    turns = [(frames + frame) % 2 for frame in range(frames)]
    both = backbone.remember(Reference(tuple(value[::3] for value in hidden)))
    nobody, person = (backbone.recognise(tokens[None]) for tokens in io["encoder_hidden_states"])
    masks = region_masks(io, scales)
    silent = Conditions(motion=pictures(Reference(tuple(h[1:3] for h in hidden))), identity=nobody, masks=masks)
    full = Conditions(
        reference=tuple(KeysValues(pair.keys[turns], pair.values[turns]) for pair in both),
        audio=backbone.listen(io["audio_tokens_cond"]),
        motion=pictures(Reference(tuple(h[4:6] for h in hidden))),
        face=io["mask_cond_fea_cond"][:, :, 0],
        identity=person,
        masks=masks,
    )
    latents, times = io["latents"].transpose(1, 2), torch.tensor([float(t)])
    halves = [backbone(latents, times, conditions).sample for conditions in (silent, full)]
    return torch.cat(halves).transpose(1, 2)


@large
@pytest.mark.parametrize("t", (999, 332))
@torch.no_grad()
def test_denoiser_with_and_without_rounded_features(t: int) -> None:
    io = whole("io_denoising_unet")
    scales = io["motion_scale"].tolist()
    near("io_denoising_unet", denoised(scales, t, rounded=False), io[f"out_t{t}_fp32bank"], NETWORK)
    near("io_denoising_unet", denoised(scales, t, rounded=True), io[f"out_t{t}"], ROUNDED)


@large
@torch.no_grad()
def test_denoiser_with_all_scales_at_one() -> None:
    io = whole("io_denoising_unet")
    near("io_denoising_unet", denoised([1.0, 1.0, 1.0], 999, rounded=False), io["out_t999_motion_scale_none"], NETWORK)


@large
@torch.no_grad()
def test_other_scales_would_be_seen() -> None:
    """The vectors tell permuted branches apart: by 0.6, says their maker."""
    io = whole("io_denoising_unet")
    permuted = denoised(io["motion_scale"].flip(0).tolist(), 999, rounded=True)
    assert difference(permuted, io["out_t999"]) > 0.1


@cache
def pipeline() -> EmoPipeline:
    from diffusers import AutoencoderKL

    widths = (8, 8, 16, 16)
    model = AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
    )
    model.load_state_dict(whole("reduced_vae"))
    reference_net, backbone = networks()
    return EmoPipeline(
        family=hallo.FAMILY.with_changes(exact=True, latent_size=16, steps=3),
        reference_net=reference_net,
        backbone=backbone,
        codec=PictureCodec(model.eval()),
        sound_encoder=hallo.hearing(small("reduced_wav2vec2"), "vectors", heads=4),
        sound_projection=hallo.sound_projection(small("reduced_audioproj"), 3, "vectors"),
        face_locator=hallo.face_locator(small("reduced_face_locator"), "vectors"),
        identity_projection=hallo.identity_projection(small("reduced_imageproj"), "vectors"),
    )


def sampled() -> list[list[Tensor]]:
    """Two chained clips, each its latents (channels, frames, h, w) before the first step and after every step."""
    made, io = pipeline(), whole("io_sampling")
    pixels = io["source_pixels"]
    seen: list[Tensor] = []
    handle = made.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0][0].transpose(0, 1)))
    canvas = Canvas(made.codec.encode(pixels), pixels)
    motions = made.motions(
        canvas,
        io["face_region_1ch"][0, 0].numpy(),
        io["audio_windows"].flatten(1, 2),
        Settings(seed=42, strength=Strength(motion=1.0, expression=1.2, lips=0.7)),
        masks=region_masks(io, [1.0, 1.0, 1.0]),
        embedding=io["face_emb"],
    )
    clips = []
    for motion in motions:
        clips.append([*seen[::2], motion.latents.transpose(0, 1)])  # guidance asks twice per step
        seen.clear()
    handle.remove()
    return clips


@large
def test_two_chained_clips_step_by_step() -> None:
    io = whole("io_sampling")
    assert sampling.timesteps(3) == io["timesteps"].tolist()
    for clip, steps in enumerate(sampled()):
        assert torch.equal(steps[0], io[f"clip{clip}.noise"][0])
        for step in range(3):
            near("io_sampling", steps[step + 1], io[f"clip{clip}.latents_step{step}"][0], ROUNDED * (clip + 1))
        last = pipeline().codec.pixels(steps[-1].transpose(0, 1)[-2:])
        near("io_sampling", last, io[f"clip{clip}.frames_last2"][0].transpose(0, 1), ROUNDED * (clip + 1))


@large
def test_two_chained_clips_where_nothing_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reference, "rounded", lambda features: features)
    for clip, steps in enumerate(sampled()):
        expected = whole("io_sampling")[f"clip{clip}.latents_step2_fp32bank"][0]
        near("io_sampling", steps[-1], expected, STEP * 3 * (clip + 1))
