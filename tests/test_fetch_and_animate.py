"""From nothing to a video with published weights: fetched from a Hub on this machine, opened, animated, converted."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from emo_cli import footage
from emo_process import Said
from hub_bench import Bench, bench

ROOT = Path(__file__).parents[1]
VECTORS = Path(__file__).parent / "parity" / "echomimic"
PHOTO, SONG = ROOT / "examples" / "portrait.jpg", ROOT / "examples" / "song.wav"
# The reduced networks have other numbers of heads than Stable Diffusion; the file that says so comes with them.
BASE = "sd-image-variations-diffusers/unet/config.json"
QUICK = ("--size", "128", "--steps", "2", "--duration", "0.4", "--seed", "7")


def _table() -> str:
    """The shipped table, with the hashes and commits of the reduced networks' repositories still unknown."""
    text = (ROOT / "weights.toml").read_text()
    text = re.sub(r'^sha256 = .*\n', "", text, flags=re.MULTILINE)
    text = re.sub(r'revision = "[0-9a-f]{40}"', 'revision = "main"', text)
    text = text.replace('files = ["echomimic-backbone", ', 'files = ["base", "echomimic-backbone", ')
    row = f'[files.base]\nrepository = "BadToBest/EchoMimic"\npath = "{BASE}"\nrole = "Backbone"\nmegabytes = 0.001\n\n'
    return text.replace("[models.mini]", row + "[models.mini]")


def _pickled(content: Mapping[str, object]) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _network(name: str) -> bytes:
    return _pickled(load_file(VECTORS / f"reduced_{name}.safetensors"))


def _whisper(width: int = 48, layers: int = 4) -> bytes:
    """A sound encoder in OpenAI's layout, of the width that the reduced Backbone listens to."""
    draw = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (1500, width),
        "conv1.weight": (width, 80, 3), "conv1.bias": (width,),
        "conv2.weight": (width, width, 3), "conv2.bias": (width,),
        "ln_post.weight": (width,), "ln_post.bias": (width,),
    }  # fmt: skip
    for layer in range(layers):
        for part, out, inner in (("attn.query", 1, 1), ("attn.key", 1, 1), ("attn.value", 1, 1), ("attn.out", 1, 1),
                                 ("mlp.0", 4, 1), ("mlp.2", 1, 4)):  # fmt: skip
            shapes[f"blocks.{layer}.{part}.weight"] = (out * width, inner * width)
            if part != "attn.key":
                shapes[f"blocks.{layer}.{part}.bias"] = (out * width,)
        for norm in ("attn_ln", "mlp_ln"):
            shapes[f"blocks.{layer}.{norm}.weight"] = shapes[f"blocks.{layer}.{norm}.bias"] = (width,)
    weights = {f"encoder.{name}": 0.1 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    return _pickled({"dims": {"n_audio_state": width}, "model_state_dict": weights})


def _stock() -> dict[str, dict[str, bytes]]:
    """EchoMimic's repository and its autoencoder's, laid out as published, with the reduced networks."""
    facts = json.loads((VECTORS / "reduced_config.json").read_text())
    return {
        "BadToBest/EchoMimic": {
            "denoising_unet.pth": _network("denoising_unet"),
            "motion_module.pth": _network("motion_module"),
            "reference_unet.pth": _network("reference_unet"),
            "face_locator.pth": _network("face_locator"),
            "audio_processor/whisper_tiny.pt": _whisper(),
            BASE: json.dumps(facts["denoising_unet"]).encode(),
        },
        "stabilityai/sd-vae-ft-mse": {
            "config.json": json.dumps(facts["vae"]).encode(),
            "diffusion_pytorch_model.safetensors": (VECTORS / "reduced_vae.safetensors").read_bytes(),
        },
    }


@dataclass(frozen=True)
class Fetched:
    """A Hub, what `animate` said before it was asked to fetch the weights from there, and when it was."""

    hub: Bench
    without: Said
    asked: Said


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetched]:
    """Weights that were fetched by a video, which then failed for want of its photo."""
    folder = tmp_path_factory.mktemp("hub")
    wish = ("animate", folder / "no photo.jpg", SONG, "--model", "echomimic", "-o", folder / "x.mp4")
    with bench(folder, _table(), _stock()) as running:
        yield Fetched(running, running.emo(*wish), running.emo(*wish, "--download"))


@pytest.fixture
def hub(fetched: Fetched) -> Bench:
    """The Hub that they came from, without a memory of that."""
    assert fetched.hub.emo("weights", "path", "echomimic").code == 0
    fetched.hub.hub.requests.clear()
    return fetched.hub


def test_published_weights_make_a_video_without_another_question_to_the_hub(hub: Bench, tmp_path: Path) -> None:
    output = tmp_path / "sung.mp4"
    made = hub.emo("animate", PHOTO, SONG, "--model", "echomimic", *QUICK, "-o", output, "--json")
    assert made.code == 0, made.err
    assert hub.hub.requests == []
    told = json.loads(made.out)
    assert (told["model"], told["frames"], told["fps"]) == ("echomimic", 10, 24.0)
    assert (footage.probe(output).frames, footage.probe(output).width) == (10, 128)


def test_animate_fetches_when_asked_and_else_names_the_command(fetched: Fetched) -> None:
    assert fetched.without.code == 5
    assert "Fetch them with `emo weights get echomimic`, or add --download." in fetched.without.sentence
    assert fetched.asked.code == 3 and "no photo.jpg" in fetched.asked.sentence
    assert "fetching the weights of echomimic, about 8.9 GB" in fetched.asked.err


def test_what_a_video_has_fetched_is_what_the_command_fetches(hub: Bench) -> None:
    said = hub.emo("weights", "get", "echomimic")
    assert said.code == 0 and "0 bytes received" in said.out


def test_a_fetched_model_is_converted_to_half_its_size(hub: Bench, tmp_path: Path) -> None:
    target = tmp_path / "small"
    said = hub.emo("weights", "import", "echomimic", "--to", target, "--dtype", "bf16")
    assert said.code == 0, said.err
    assert said.out == f"{target}: try it with `emo animate PHOTO SOUND --model {target}`\n"
    weights = target / "reference_net" / "model.safetensors"
    assert weights.stat().st_size < 0.6 * (VECTORS / "reduced_reference_unet.safetensors").stat().st_size
    assert (target / "family.json").is_file()
