"""EchoMimic's own numbers beside ours: vectors that its published code made with small random weights.

Each function compares one file of the folder `echomimic`; the tests demand small differences, and
`benchmarks/parity.py` shows them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from emo_cli import clips, sampling
from emo_cli.checkpoints import echomimic
from emo_cli.checkpoints.sizes import Divisions
from emo_cli.face import Box
from emo_cli.networks.attention import SpatialBlock
from emo_cli.networks.codec import SCALE, Canvas, PictureCodec
from emo_cli.networks.conditions import FaceLocator
from emo_cli.networks.unet import Conditions, Reference, UNet
from emo_cli.pipeline import EmoPipeline
from emo_cli.regions import FaceCut, Rectangle, face_rectangle, linear_resize
from emo_cli.segments import blend
from emo_cli.segments.blend import official_noise
from emo_cli.segments.scene import Settings
from emo_cli.sound import whisper

FOLDER = Path(__file__).parent / "echomimic"

NETWORK = 2e-5  # largest difference allowed per network
STEP = 5e-5  # per step of the loop, where one number of 16 bits may be rounded the other way


@dataclass(frozen=True)
class Case:
    """One pair of tensors, and how far apart they may be."""

    file: str
    name: str
    ours: Tensor
    theirs: Tensor
    allowed: float

    @property
    def difference(self) -> float:
        """The largest of all numbers' differences; infinite where the shapes differ."""
        if self.ours.shape != self.theirs.shape:
            return float("inf")
        return float((self.ours.double() - self.theirs.double()).abs().max())


Cases = Iterator[Case]


@cache
def vectors(name: str) -> dict[str, Tensor]:
    return load_file(FOLDER / f"{name}.safetensors")


@cache
def facts(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def divisions() -> Divisions:
    config = facts("reduced_config")["denoising_unet"]
    return Divisions(config["attention_head_dim"], config["norm_num_groups"])


@cache
def backbone() -> UNet:
    spatial, temporal = vectors("reduced_denoising_unet"), vectors("reduced_motion_module")
    return echomimic.joined_backbone(spatial, temporal, divisions(), "the reduced Backbone")


@cache
def reference_net() -> UNet:
    return echomimic.reference_net(FOLDER / "reduced_reference_unet.safetensors", divisions())


@cache
def locator(kind: str = "") -> FaceLocator:
    return echomimic.face_locator(FOLDER / f"reduced_face_locator{kind}.safetensors", 3 if kind else 1)


@cache
def codec() -> PictureCodec:
    from diffusers import AutoencoderKL

    network = AutoencoderKL.from_config(facts("reduced_config")["vae"])
    network.load_state_dict(vectors("reduced_vae"))
    return PictureCodec(network.eval())


def bank() -> dict[str, Tensor]:
    """What the official ReferenceNet handed over, by the name of the block."""
    return {name.split(".", 2)[2]: value for name, value in vectors("io_reference_unet").items() if "bank" in name}


def blocks(network: UNet) -> list[str]:
    """Names of the spatial blocks in running order."""
    names = {module: name for name, module in network.named_modules() if isinstance(module, SpatialBlock)}
    return [names[block] for block in network.spatial_blocks()]


@torch.no_grad()
def reference_bank() -> Cases:
    seen = reference_net().look(vectors("io_reference_unet")["ref_latents"])
    theirs = bank()
    for name, hidden in zip(blocks(reference_net()), seen.hidden, strict=True):
        yield Case("io_reference_unet", name, hidden, theirs[name], NETWORK)


@torch.no_grad()
def face_locator() -> Cases:
    io = vectors("io_face_locator")
    yield Case("io_face_locator", "out", locator()(io["mask"][:, :, 0]), io["out"][:, :, 0], NETWORK)


@torch.no_grad()
def denoiser() -> Cases:
    io = vectors("io_denoising_unet")
    latents = io["latents"].transpose(1, 2)
    heard = backbone().listen(io["audio_tokens"])
    exact = Reference(tuple(bank()[name] for name in blocks(backbone())))
    for t in io["timesteps"].tolist():
        time = torch.tensor([float(t)])
        without = backbone()(latents, time, Conditions()).sample.transpose(1, 2)
        for kind, reference in (("bank16", exact.rounded()), ("bank32", exact)):
            remembered = backbone().remember(reference)
            conditions = Conditions(reference=remembered, audio=heard, face=io["face_fea"][:, :, 0])
            with_sound = backbone()(latents, time, conditions).sample.transpose(1, 2)
            both = torch.cat([without, with_sound])
            yield Case("io_denoising_unet", f"cfg {kind} t{t}", both, io[f"out.cfg.{kind}.t{t}"], NETWORK)
            yield Case("io_denoising_unet", f"nocfg {kind} t{t}", with_sound, io[f"out.nocfg.{kind}.t{t}"], NETWORK)


@torch.no_grad()
def motion_module() -> Cases:
    io = vectors("io_motion_module")
    module = backbone().get_submodule("down_blocks.1.motion_modules.0")
    frames = io["x"].shape[2]
    out = module(io["x"].transpose(1, 2).flatten(0, 1), frames, None, None)
    yield Case("io_motion_module", "out", out.unflatten(0, (-1, frames)).transpose(1, 2), io["out"], NETWORK)
    block = module.get_submodule("temporal_transformer.transformer_blocks.0")
    table = block.get_buffer("position_table")
    yield Case("io_motion_module", "pe", table[None, : io["pe"].shape[1]], io["pe"], NETWORK)
    tokens = io["attn0.x"].unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1)  # (batch * places, frames, width)
    attended = block.get_submodule("attention_blocks.0")(tokens + table[:frames])
    places = io["attn0.x"].shape[1]
    back = attended.unflatten(0, (-1, places)).transpose(1, 2).flatten(0, 1)
    yield Case("io_motion_module", "attn0", back, io["attn0.out"], NETWORK)


def random_whisper(seed: int = 1000) -> dict[str, Tensor]:
    """Weights of the size of Whisper tiny, from numpy's legacy generator, whose stream never changes.

    One stream per tensor in alphabetical order of the encoder's own names: matrices of about unit gain, norms near 1,
    small biases. The table of positions is Whisper's own, sines beside cosines.
    """
    width, layers, mels, positions = 384, 4, 80, 1500
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (width, mels, 3), "conv1.bias": (width,), "conv2.weight": (width, width, 3),
        "conv2.bias": (width,), "ln_post.weight": (width,), "ln_post.bias": (width,),
    }  # fmt: skip
    for layer in range(layers):
        for part, out, inner in (("attn.query", 1, 1), ("attn.key", 1, 1), ("attn.value", 1, 1), ("attn.out", 1, 1),
                                 ("mlp.0", 4, 1), ("mlp.2", 1, 4)):  # fmt: skip
            shapes[f"blocks.{layer}.{part}.weight"] = (out * width, inner * width)
            if part != "attn.key":
                shapes[f"blocks.{layer}.{part}.bias"] = (out * width,)
        for norm in ("attn_ln", "mlp_ln"):
            shapes[f"blocks.{layer}.{norm}.weight"] = shapes[f"blocks.{layer}.{norm}.bias"] = (width,)
    weights = {}
    for index, name in enumerate(sorted(shapes)):
        values = np.random.RandomState(seed + index).standard_normal(shapes[name])
        if len(shapes[name]) > 1:
            values = values * 0.8 / np.sqrt(np.prod(shapes[name][1:]))
        else:
            values = 1 + 0.15 * values if name.endswith("weight") else 0.1 * values
        weights[f"encoder.{name}"] = torch.from_numpy(values.astype(np.float32))
    half = width // 2
    rates = torch.exp(-np.log(10000) / (half - 1) * torch.arange(half))
    angles = torch.arange(positions)[:, None] * rates
    weights["encoder.positional_embedding"] = torch.cat([angles.sin(), angles.cos()], dim=1)
    return weights


def chirp(samples: int, seed: int) -> Tensor:
    """A rising tone that swells three times a second, with some noise, in steps of 16 bits."""
    time = np.arange(samples) / 16000.0
    tone = 0.4 * np.sin(2 * np.pi * (120 * time + 90 * time * time)) * (0.5 + 0.5 * np.sin(2 * np.pi * 3.1 * time))
    tone = tone + 0.02 * np.random.RandomState(seed).standard_normal(samples)
    return torch.from_numpy((np.round(np.clip(tone, -1, 1) * 32767) / 32768.0).astype(np.float32))


SOUNDS = {"short": (37937, 5), "long": (516123, 6)}


def log_mel() -> Cases:
    io = vectors("io_audio")
    yield Case("io_audio", "mel filters", whisper.mel_filters(80), io["mel_filters"], 1e-7)
    short, long = (whisper.log_mel(chirp(*SOUNDS[name])) for name in ("short", "long"))
    yield Case("io_audio", "log mel of 2 s", short, io["short.log_mel"], 2e-6)
    yield Case("io_audio", "log mel of 32 s", long[:, io["long.log_mel_cols"]], io["long.log_mel"], 2e-6)


def hearing() -> Cases:
    io = vectors("io_audio")
    encoder = echomimic.whisper_encoder(random_whisper(), "the random Whisper")
    for name, (samples, seed) in SOUNDS.items():
        rows = encoder.rows(chirp(samples, seed))
        assert list(rows.shape) == facts("audio_meta")[name]["feature_shape"]
        chosen = rows[io[f"{name}.features_rows"]]
        yield Case("io_audio", f"features, {name}", chosen, io[f"{name}.features"], NETWORK)
        if name == "short":
            frames = encoder.natural_frames(samples, 24)
            tokens = encoder(chirp(samples, seed), frames, 24)[io["short.chunks.fps24.frames"]]
            yield Case("io_audio", "tokens", tokens, io["short.chunks.fps24"], NETWORK)


def audio_windows() -> Cases:
    io = vectors("io_audio")
    for name in SOUNDS:
        rows = facts("audio_meta")[name]["feature_shape"][0]
        for fps in (24, 25, 30):
            theirs = io[f"{name}.window_rows.fps{fps}"]
            ours = whisper.window_rows(torch.arange(len(theirs)), fps, rows)
            yield Case("io_audio", f"rows at {fps}, {name}", ours, theirs, 0)


def crops() -> Cases:
    io = vectors("io_preprocess")
    photo = io["image_bgr"].numpy()
    height, width = photo.shape[:2]
    for index, case in enumerate(facts("preprocess_meta")["cases"]):
        left, top, right, bottom = case["box"]
        face = Box(left, top, right - left, bottom - top)
        around = Rectangle.around(face).dilated(case["crop_dilation"]).inside(width, height)
        sides = torch.tensor([around.left, around.top, around.right, around.bottom])
        yield Case("io_preprocess", f"rectangle {index}", sides, torch.tensor(case["crop_rect"]), 0)
        square = FaceCut().square(face, width, height)
        sides = torch.tensor([square.x, square.y, square.x + square.width, square.y + square.height])
        yield Case("io_preprocess", f"square {index}", sides, torch.tensor(case["square"]), 0)
        x, y, side = int(square.x), int(square.y), int(square.width)
        picture = linear_resize(photo[y : y + side, x : x + side], case["W"], case["H"])
        theirs = io[f"case{index}.face_bgr"]
        # OpenCV rounds a few pixels of an enlarged picture by other rules than those of a shrunken one.
        yield Case("io_preprocess", f"picture {index}", torch.from_numpy(picture), theirs, 1)
        if case["W"] == case["H"]:
            mask = torch.from_numpy(face_rectangle(face, square, case["W"], exact=True))
            yield Case("io_preprocess", f"mask {index}", (mask * 255).round(), io[f"case{index}.mask"], 0)


def scheduler() -> Cases:
    io, levels = vectors("io_scheduler"), sampling.noise_levels()
    yield Case("io_scheduler", "alpha-bar", levels, io["alphas_cumprod"], 1e-6)
    for name, theirs in io.items():
        if name.startswith("timesteps"):
            ours = torch.tensor(sampling.timesteps(int(name.split(".")[1])))
            yield Case("io_scheduler", name, ours, theirs, 0)
        if name.startswith("ddim"):
            steps, index = (int(number) for number in name.split(".")[1:])
            t, stride = sampling.timesteps(steps)[index], 1000 // steps
            there = levels[t - stride] if t >= stride else torch.tensor(1.0)
            yield Case("io_scheduler", name, sampling.ddim_step(io["x"], io["v"], levels[t], there), theirs, NETWORK)


def noise() -> Cases:
    io = vectors("io_noise")
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        name = str(kind).removeprefix("torch.")
        drawn = official_noise(13, torch.Size((4, 64, 64)), 420, kind).transpose(1, 2).flatten()
        yield Case("io_noise", f"{name}, head", drawn[:64], io[f"{name}.head"].flatten(), 0)
        yield Case("io_noise", f"{name}, tail", drawn[-64:], io[f"{name}.tail"].flatten(), 0)


def window_table() -> Cases:
    for frames, theirs in facts("context_windows")["windows"].items():
        ours = list(clips.windows(int(frames), 12, 3, closed=True))
        yield Case("context_windows", frames, torch.tensor(ours), torch.tensor(theirs), 0)


@dataclass
class Recorder:
    """Stands in for sampling.ddim: runs it, and keeps what goes through each step."""

    said: list[Tensor] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)

    def __call__(self, latents: Tensor, predict: sampling.Predict, *rest: Any) -> Tensor:
        def listening(noisy: Tensor, step: sampling.Step) -> Tensor:
            self.latents.append(noisy)
            self.said.append(predict(noisy, step))
            return self.said[-1]

        self.latents.append(sampling_ddim(latents, listening, *rest))
        return self.latents[-1]


sampling_ddim = sampling.ddim
LOOPS = {
    "standard": echomimic.VARIANTS["echomimic"],
    "acc": echomimic.VARIANTS["echomimic-acc"],
    "short": echomimic.VARIANTS["echomimic"],
    "pose": echomimic.VARIANTS["echomimic-pose"],
}


def loop(name: str, replace: Callable[[Any, str, Any], None]) -> Cases:
    """A whole video, step by step; `replace` puts a recorder in a function's place, as pytest's monkeypatch does."""
    io, file = vectors(f"io_loop_{name}"), f"io_loop_{name}"
    recorder = Recorder()
    replace(blend.sampling, "ddim", recorder)
    variant = LOOPS[name]
    pipeline = EmoPipeline(
        family=variant.family.with_changes(exact=True),
        reference_net=reference_net(),
        backbone=backbone(),
        codec=codec(),
        sound_encoder=whisper.WhisperHearing(48, 1, 0, 80, 2),
        face_locator=locator("_pose" if name == "pose" else ""),
    )
    frames, steps = io["initial_noise_raw"].shape[2], int(io["steps"])
    settings = Settings(seed=int(io["seed"]), steps=steps, guidance=float(io["cfg"]))
    shown, drawings = np.zeros((128, 128), np.float32), None
    if name == "pose":
        pictures = io["face_mask_low"][0].transpose(0, 1).float()  # (frames, 3, h, w), each 0 or 1
        pictures = pictures.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
        drawings = lambda places: pictures[list(places)].numpy()  # noqa: E731
    else:
        shown = io["face_mask"][0, 0, 0].numpy()
    canvas = Canvas(io["ref_latents"], None)
    motions = pipeline.motions(canvas, shown, io["audio_tokens"], settings, frames=frames, drawings=drawings)
    (motion,) = motions
    yield Case(file, "noise", recorder.latents[0].transpose(1, 2), io["step0.latents_in"], 0)
    for step in range(steps):
        yield Case(file, f"v {step}", recorder.said[step].transpose(1, 2), io[f"step{step}.noise_pred"], STEP)
        after = recorder.latents[step + 1].transpose(1, 2)
        yield Case(file, f"latents {step}", after, io[f"step{step}.latents_out"], STEP)
    if name == "standard":
        pixels = codec().pixels(motion.latents[[0, -1]])
        yield Case(file, "frames", pixels.transpose(0, 1)[None], io["frames.sel"], STEP)


def picture() -> Cases:
    """The photo on its way to ReferenceNet."""
    io = vectors("io_loop_standard")
    photo = Image.fromarray(io["ref_image_u8"].numpy()).resize((128, 128), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 127.5 - 1
    yield Case("io_loop_standard", "photo", pixels, io["ref_image_tensor"], NETWORK)
    yield Case("io_loop_standard", "photo's latents", codec().encode(pixels), io["ref_latents"], NETWORK)
    assert facts("reduced_config")["vae_scale"] == SCALE


SINGLE = (
    reference_bank, face_locator, denoiser, motion_module, log_mel, hearing, audio_windows, crops, scheduler, noise,
    window_table, picture,
)  # fmt: skip
