"""The `emo` command as people and scripts meet it: words, exit codes, what lands on stdout and stderr."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emo_cli import __version__
from emo_cli.cli.app import main
from emo_cli.dataset.manifest import MANIFEST
from emo_cli.family import Family
from emo_process import Said, emo, fresh
from made_sound import wav

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"
SONG = PHOTO.with_name("song.wav")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[object]:
    """The same command inside this process, where torch is loaded only once for all tests."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def calling(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["emo", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr()
        return Said(left.value.code, told.out, told.err)  # type: ignore[arg-type]

    yield calling
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder without networks: enough for what must fail before they are opened."""
    Family(name="empty").save(tmp_path / "model")
    return tmp_path / "model"


def test_version_is_one_line() -> None:
    assert fresh("--version") == Said(0, f"emo {__version__}\n", "")


def test_help_comes_at_once() -> None:
    fresh("--help")  # compiled and cached now
    before = os.times()
    said = fresh("--help")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 1.5  # processor seconds: 0.3 s; torch alone would cost more
    assert said.code == 0
    assert all(command in said.out for command in ("animate", "batch", "inspect", "doctor", "train", "weights"))


def test_animate_help_names_every_option_and_the_default_output() -> None:
    said = emo("animate", "--help")
    words = """-o --output --model --seed --steps --guidance --motion --expression --lips --speed --fps --size
        --framing --face --start --duration --device --dtype --download --overwrite --quiet --json"""
    options = words.split()
    assert [name for name in options if not re.search(rf"(?<![\w-]){name}(?![\w-])", said.out)] == []
    assert "PHOTO-SOUND.mp4" in said.out
    assert "emo animate photo.jpg song.wav" in said.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["animate"],
        ["animate", "photo.jpg"],
        ["animate", "photo.jpg", "song.wav", "--steps", "none"],
        ["animate", "photo.jpg", "song.wav", "--motion", "-1"],
        ["animate", "photo.jpg", "song.wav", "--framing", "legs"],
        ["animate", "photo.jpg", "song.wav", "--quick"],
        ["dance"],
    ],
    ids=" ".join,
)
def test_a_command_that_makes_no_sense_is_a_usage_error(call, arguments: list[str]) -> None:
    said = call(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "Usage: emo" in said.err


def test_a_missing_photo_is_one_sentence_and_code_3(tmp_path: Path, model: Path) -> None:
    said = emo("animate", tmp_path / "no one.jpg", SONG, "--model", model, "--quiet", folder=tmp_path)
    assert (said.code, said.out) == (3, "")
    assert re.fullmatch(r"emo: .*no one\.jpg.*\n", said.err)
    assert list(tmp_path.glob("*.mp4")) == []


def _broken_photo(folder: Path) -> Path:
    path = folder / "broken.jpg"
    path.write_bytes(PHOTO.read_bytes()[:400])
    return path


def _meadow(folder: Path) -> Path:
    Image.new("RGB", (300, 300), (90, 120, 60)).save(folder / "meadow.png")
    return folder / "meadow.png"


def _empty(folder: Path) -> Path:
    (folder / "empty.wav").touch()
    return folder / "empty.wav"


def _no_sound(folder: Path) -> Path:
    (folder / "text.mp3").write_text("these are only words, not a song\n" * 20)
    return folder / "text.mp3"


def _nothing_heard(folder: Path) -> Path:
    return wav(folder / "none.wav", np.zeros(0))


@pytest.mark.parametrize("make", [_broken_photo, _empty, _no_sound], ids=["cut off", "empty", "text"])
def test_a_broken_photo_is_code_3(call, tmp_path: Path, model: Path, make) -> None:
    said = call("animate", make(tmp_path), SONG, "-o", tmp_path / "x.mp4", "--model", model, "-q")
    assert (said.code, said.out) == (3, "")
    assert said.err.count("\n") == 1 and said.err.startswith("emo: ")


@pytest.mark.parametrize("make", [_empty, _no_sound, _nothing_heard], ids=["empty", "text", "no samples"])
def test_a_broken_sound_is_code_3(call, tmp_path: Path, model: Path, make) -> None:
    said = call("animate", PHOTO, make(tmp_path), "-o", tmp_path / "x.mp4", "--model", model, "-q")
    assert (said.code, said.out) == (3, "")
    assert said.err.count("\n") == 1 and said.err.startswith("emo: ")


def test_a_photo_without_a_face_is_code_4(call, tmp_path: Path, model: Path) -> None:
    said = call("animate", _meadow(tmp_path), SONG, "-o", tmp_path / "x.mp4", "--model", model, "-q")
    assert said.code == 4
    assert "No face found" in said.err


def test_a_face_that_is_not_there_is_code_4(call, tmp_path: Path, model: Path) -> None:
    said = call("animate", PHOTO, SONG, "-o", tmp_path / "x.mp4", "--model", model, "--face", "3", "-q")
    assert said.code == 4
    assert "no face 3" in said.err


def test_an_unknown_model_is_code_5(call, tmp_path: Path) -> None:
    said = call("animate", PHOTO, SONG, "-o", tmp_path / "x.mp4", "--model", "huge", "-q")
    assert said.code == 5
    assert "huge" in said.err and "mini" in said.err


def test_a_device_that_is_not_here_is_code_6(call, tmp_path: Path, model: Path) -> None:
    said = call("animate", PHOTO, SONG, "-o", tmp_path / "x.mp4", "--model", model, "--device", "cpu:9", "-q")
    assert said.code == 6


@pytest.mark.parametrize("place", ["taken.mp4", "no folder/x.mp4", "taken.mp4/x.mp4", "x.txt", "."])
def test_an_output_that_cannot_be_is_code_7(call, tmp_path: Path, model: Path, place: str) -> None:
    (tmp_path / "taken.mp4").write_bytes(b"mine")
    said = call("animate", PHOTO, SONG, "-o", tmp_path / place, "--model", model, "-q")
    assert said.code == 7
    assert said.err.count("\n") == 1
    assert (tmp_path / "taken.mp4").read_bytes() == b"mine"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_is_code_7(call, tmp_path: Path, model: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    said = call("animate", PHOTO, SONG, "-o", tmp_path / "locked" / "x.mp4", "--model", model, "-q")
    assert said.code == 7


def test_with_json_a_failure_is_one_object_on_stdout(call, tmp_path: Path) -> None:
    said = call("animate", PHOTO, SONG, "-o", tmp_path / "x.mp4", "--model", "huge", "--json")
    assert json.loads(said.out)["exit_code"] == said.code == 5


def test_inspect_numbers_the_faces_and_hears_the_sound(call) -> None:
    said = call("inspect", PHOTO, SONG)
    assert said.code == 0
    assert re.search(r"--face 1 +box \d+,\d+,\d+,\d+", said.out)
    assert "sound: 7.29 s" in said.out


def test_inspect_as_json_is_one_object(call) -> None:
    found = json.loads(call("inspect", PHOTO, SONG, "--json").out)
    assert (found["width"], found["height"], len(found["faces"])) == (512, 512, 1)
    assert abs(found["sound"]["seconds"] - 7.29) < 0.01


def test_inspect_of_a_photo_without_a_face_is_code_4(call, tmp_path: Path) -> None:
    assert call("inspect", _meadow(tmp_path)).code == 4


def test_weights_help_shows_every_command_and_examples() -> None:
    said = emo("weights", "--help")
    assert [name for name in ("list", "get", "verify", "path", "remove", "import") if name not in said.out] == []
    assert "emo weights get echomimic-acc" in said.out and "HF_HOME" in said.out


def test_weights_list_names_every_model_with_its_licence(call) -> None:
    said = call("weights", "list")
    assert said.code == 0
    assert re.search(r"^mini +in the package, [\d.]+ MB\n.*\n +licence: Apache-2\.0$", said.out, re.MULTILINE)
    assert re.search(r"^hallo .*(\n .*)+extras \(--with\): identity$", said.out, re.MULTILINE)


def test_doctor_as_json_is_one_object(call) -> None:
    said = call("doctor", "--json")
    names = [finding["name"] for finding in json.loads(said.out)["findings"]]
    assert {"emo", "torch", "ffmpeg", "model mini"} <= set(names)


def test_train_does_not_mix_with_what_a_folder_holds(call, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    said = call("train", "--rig", tmp_path / "rig.npz", "--out", tmp_path)
    assert said.code == 7
    assert "--resume" in said.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--base sd15 --rig rig.npz", "--base has no say where mini learns from speech."),
        ("--rig rig.npz --no-recompute", "--recompute has no say where mini learns from speech."),
        ("--preset emo-tiny --rig rig.npz", "--rig has no say where a model of EMO's kind learns from clips."),
        ("--from mini --data CLIPS --stage video", "--stage has no say where mini learns from clips of people."),
        ("", "Give --rig"),
        ("--data CLIPS", "Add --from mini"),
        ("--preset emo-tiny", "Give the clips to learn from with --data"),
    ],
)
def test_train_refuses_what_has_no_say_and_misses_what_it_needs(
    call, tmp_path: Path, words: str, sentence: str
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / MANIFEST).touch()
    said = call("train", "--out", tmp_path / "run", *words.replace("CLIPS", str(clips)).split())
    assert said.code == 2
    assert sentence in said.sentence
