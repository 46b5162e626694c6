"""`emo evaluate` as a user meets it: figures, truth, comparison, and what is said when something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner, Result

from emo_cli import speech, video
from emo_cli.animate import Silence
from emo_cli.cli.app import app
from emo_cli.errors import EmoError, FaceError, InputError, UsageError, WeightsError
from emo_cli.evaluation.examination import Subject, Tools, examine
from emo_cli.evaluation.frechet import distance
from emo_cli.evaluation.judges import Features, Networks
from emo_cli.evaluation.measures import ROWS, Measures, difference, mean
from emo_cli.face import FaceFinder
from emo_cli.sound.encoders import MiniHearing

EXAMPLES = Path(__file__).parents[1] / "examples"
FPS, FRAMES = 10.0, 18


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """made/one.mp4 and real/one.mp4: the still example portrait with a sound, the real one a little brighter."""
    place = tmp_path_factory.mktemp("videos")
    picture = Image.open(EXAMPLES / "portrait.jpg").convert("RGB").resize((256, 256))
    waveform, rate = soundfile.read(EXAMPLES / "song.wav", frames=int(1.8 * 44100), dtype="float32")
    soundfile.write(place / "sound.wav", waveform[: int(1.8 * rate)], rate)
    sound = speech.read(place / "sound.wav")
    for name, light in (("made", 0), ("real", 4)):
        (place / name).mkdir()
        frame = (np.asarray(picture).astype(int) + light).clip(0, 255).astype(np.uint8)
        video.write(place / name / "one.mp4", [frame] * FRAMES, FPS, sound)
    return place


def emo(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *(str(word) for word in words)])


def failure(*words: str | Path) -> EmoError:
    error = emo(*words).exception
    assert isinstance(error, EmoError)
    return error


@pytest.fixture(scope="module")
def beside_truth(folder: Path) -> dict:
    done = emo(folder / "made", "--truth", folder / "real", "--json")
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_a_still_portrait_is_found_in_every_frame_and_its_mouth_agrees_with_nothing(beside_truth: dict) -> None:
    (made,) = beside_truth["sets"]
    (one,) = made["videos"]
    figures = one["measures"]
    assert (one["frames"], one["fps"], figures["face_share"]) == (FRAMES, FPS, 1.0)
    assert figures["lip_peak"] == figures["lip_agreement"] == 0
    assert figures["offset_frames"] is None
    assert figures["blink_rate"] == 0
    assert figures["head_speed"] < 5 and figures["flicker"] < 0.2
    assert made["mean"] == figures


def test_the_truth_is_measured_too_and_each_frame_compared_with_it(beside_truth: dict) -> None:
    figures = beside_truth["sets"][0]["mean"]
    assert 30 < figures["psnr"] < 40  # four levels are 36 dB, but for compression
    assert 0.95 < figures["ssim"] < 1
    assert beside_truth["truth"]["videos"][0]["file"].endswith("real/one.mp4")
    assert beside_truth["truth"]["mean"]["psnr"] is None


def test_the_columns_of_the_paper_stand_in_its_order_and_are_empty_without_weights(beside_truth: dict) -> None:
    paper = beside_truth["sets"][0]["paper"]
    assert list(paper) == ["fid", "syncnet", "f_sim", "fvd", "e_fid"]
    assert set(paper.values()) == {None}


def test_two_sets_are_shown_side_by_side_with_their_difference(folder: Path) -> None:
    done = emo("--compare", folder / "made" / "one.mp4", folder / "real" / "one.mp4")
    assert done.exit_code == 0, done.exception
    lines = done.stdout.splitlines()
    heading = next(line for line in lines if "difference" in line)
    assert heading.index("made") < heading.index("real") < heading.index("difference")
    row = next(line for line in lines if line.startswith("head turns"))
    first, second, apart = (float(word) for word in row.split()[2:5])
    assert apart == pytest.approx(second - first, abs=0.011)
    table = lines[next(index for index, line in enumerate(lines) if "Table 1" in line) + 1 :]
    assert table[0].split() == ["FID", "SyncNet", "F-SIM", "FVD", "E-FID"]
    assert table[1].split()[1:] == ["-"] * 5


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        ((), UsageError, "one video or folder, or two after --compare"),
        (("made", "--compare", "made", "real"), UsageError, "two after --compare"),
        (("made", "--truth", "real/one.mp4"), UsageError, "must be one too"),
        (("made", "--truth", "empty"), InputError, "nothing of the name one"),
        (("empty",), InputError, "holds no videos"),
        (("sound.wav",), InputError, "no pictures"),
        (("made", "--fid", "sound.wav"), WeightsError, "not a file of weights"),
        (("noise.mp4",), FaceError, "shows a face"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    folder: Path, words: tuple[str, ...], kind: type[EmoError], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    if not (folder / "noise.mp4").exists():
        video.write(folder / "noise.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 2, FPS)
    monkeypatch.chdir(folder)
    error = failure(*words)
    assert type(error) is kind
    assert sentence in str(error)


class Told(nn.Module):
    """Four numbers of any picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :4].repeat(1, 36)


def test_published_networks_look_on_and_equal_sets_have_no_distance(folder: Path) -> None:
    def recogniser(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return landmarks[:256, :2].ravel()

    networks = Networks(torch.device("cpu"), Told(), Told(), Told(), recogniser)  # type: ignore[arg-type]
    tools = Tools(FaceFinder(), MiniHearing(), networks)
    one, other = Features(), Features()
    subject = Subject(folder / "made" / "one.mp4", photo=EXAMPLES / "portrait.jpg")
    figures = examine(subject, tools, one, Silence()).measures
    examine(subject, tools, other, Silence())
    assert (one.fid.count, one.fvd.count, one.efid.count) == (FRAMES, 1, FRAMES)
    assert distance(one.fid, other.fid) == pytest.approx(0, abs=1e-9)
    assert figures.face_similarity > 99 and figures.face_similarity_adjacent > 99.9


def test_every_figure_has_its_row() -> None:
    assert [row.field for row in ROWS] == list(Measures.__dataclass_fields__)


def test_means_and_differences_leave_out_what_is_not_there() -> None:
    one, other = Measures(flicker=1.0, psnr=30.0), Measures(flicker=2.0)
    assert mean([one, other]) == Measures(flicker=1.5, psnr=30.0)
    assert difference(one, other) == Measures(flicker=1.0)
