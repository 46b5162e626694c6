"""A song without its music by Demucs: the authors' network, small and untrained, heard as a stream."""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from emo_cli import speech
from emo_cli.cli.app import app
from emo_cli.errors import DeviceError, EmoError, IncompatibleCheckpoint, UsageError, WeightsError
from emo_cli.sound.separation import Separator

EXAMPLES = Path(__file__).parents[1] / "examples"
SETTINGS = {
    "sources": ["drums", "vocals"], "channels": 8, "depth": 4, "t_layers": 1, "t_heads": 2, "nfft": 1024,
    "samplerate": 8000, "segment": {"_type": "fraction", "numerator": 3, "denominator": 4},
}  # fmt: skip
TOLD = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(SETTINGS)}

with_library = pytest.mark.usefixtures("library")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def library() -> Any:
    return pytest.importorskip("demucs.htdemucs", reason="the extra separate is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, library: Any) -> Path:
    torch.manual_seed(0)
    network = library.HTDemucs(**{**SETTINGS, "segment": Fraction(3, 4)})
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path, TOLD)
    return path


def song(seconds: float, rate: int) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return np.stack([np.sin(times * 1500), np.sin(times * 2500) * np.sin(times * 9)], 1).astype("f4") * 0.3


@with_library
@pytest.mark.parametrize("seconds", [0.2, 0.75, 2.9])
def test_a_stream_gives_what_the_authors_own_way_gives(weights: Path, seconds: float) -> None:
    from demucs.apply import apply_model

    separator = Separator.open(weights)
    samples = song(seconds, separator.rate)
    whole = apply_model(separator.network, torch.from_numpy(samples.T.copy())[None], shifts=0, overlap=0.25)
    voice = separator.voice(separator.rate)
    parts = [voice.push(samples[start : start + 1000]) for start in range(0, len(samples), 1000)]
    heard = np.concatenate([*parts, voice.finish()])
    assert len(heard) == len(samples)
    assert np.abs(heard - whole[0, 1].mean(0).numpy()).max() < 1e-5
    assert np.abs(heard).max() > 1e-4


@with_library
def test_another_rate_and_mono_are_heard_at_the_same_length(weights: Path, tmp_path: Path) -> None:
    separator = Separator.open(weights)
    soundfile.write(tmp_path / "mono.wav", song(1.3, 44_100)[:, 0], 44_100)
    heard = speech.read(tmp_path / "mono.wav", vocals="demucs", separator=separator)
    assert (heard.seconds, heard.separator) == (1.3, separator.sha256)
    assert len(heard.samples) == pytest.approx(math.ceil(1.3 * 16_000), abs=2)


@with_library
def test_the_command_takes_the_weights_and_the_video_names_them(weights: Path, model: Path, tmp_path: Path) -> None:
    words = ["animate", EXAMPLES / "portrait.jpg", EXAMPLES / "song.wav", "-o", tmp_path / "x.mp4", "--duration", "0.4"]
    words += ["--model", model, "--size", "128", "-q", "--vocals", "demucs"]
    made = CliRunner().invoke(app, [str(word) for word in (*words, "--separator", weights)])
    assert made.exit_code == 0, made.output
    record = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path / "x.mp4"), "--json", "-q"]).stdout)["record"]
    assert (record["vocals"], record["separator"]) == ("demucs", Separator.open(weights).sha256)


def test_without_weights_or_without_the_extra_the_next_step_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--separator"):
        Separator.open(None)
    monkeypatch.setitem(sys.modules, "demucs.htdemucs", None)
    with pytest.raises(DeviceError, match=r"pip install 'emo-cli\[separate\]'"):
        Separator.open(tmp_path / "x.safetensors")


@with_library
@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"klass": "os.system"}, WeightsError, "no plain HTDemucs"),
        ({"kwargs": "{"}, WeightsError, "damaged"),
        ({"kwargs": json.dumps(SETTINGS | {"channels": 16})}, IncompatibleCheckpoint, "does not fit"),
        ({"kwargs": json.dumps(SETTINGS | {"sources": ["drums", "bass"]})}, IncompatibleCheckpoint, "does not fit"),
    ],
    ids=["another class", "no JSON", "another width", "no voice"],
)
def test_a_file_that_is_not_the_network_is_refused(
    weights: Path, tmp_path: Path, change: dict[str, str], kind: type[EmoError], sentence: str
) -> None:
    from safetensors.torch import load_file

    save_file(load_file(weights), tmp_path / "x.safetensors", TOLD | change)
    with pytest.raises(kind, match=sentence):
        Separator.open(tmp_path / "x.safetensors")


@with_library
@pytest.mark.parametrize(("name", "sentence"), [("gone.safetensors", "not a file"), ("x.th", "might run a program"),
                                                ("bad.safetensors", "damaged")])  # fmt: skip
def test_what_is_no_safetensors_file_is_never_opened(tmp_path: Path, name: str, sentence: str) -> None:
    if not name.startswith("gone"):
        (tmp_path / name).write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(WeightsError, match=sentence):
        Separator.open(tmp_path / name)
