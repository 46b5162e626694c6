"""Content credentials: a signed manifest goes into a video, is read back, and tells when the video was changed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from emo_cli import credentials, footage, provenance, video
from emo_cli.animate import AnimateOptions, animate
from emo_cli.cli.app import app
from emo_cli.credentials import Identity
from emo_cli.errors import DeviceError, InputError, OutputError, UsageError
from emo_cli.provenance import Recipe

EXAMPLES = Path(__file__).parents[1] / "examples"
PHOTO, SONG = EXAMPLES / "portrait.jpg", EXAMPLES / "song.wav"
RECIPE = Recipe("tiny", 7, 2, 1.0, 1.0, 1.0, 1.0, 1.0, 25.0, "portrait")

with_library = pytest.mark.usefixtures("library")


@pytest.fixture(scope="module")
def library() -> None:
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory, library: None) -> Identity:
    return credentials.self_made(tmp_path_factory.mktemp("identities") / "signing")


def filmed(path: Path) -> Path:
    return video.write(path, (np.full((32, 32, 3), level, np.uint8) for level in range(0, 250, 10)), 25).path


@with_library
@pytest.mark.parametrize("name", ["x.mp4", "x.mov"])
def test_a_signed_video_tells_who_made_it_how(tmp_path: Path, signer: Identity, name: str) -> None:
    path = filmed(tmp_path / name)
    frames = [frame.tobytes() for frame in footage.read(path)]
    credentials.sign(path, signer, RECIPE)
    told = credentials.read(path)
    assert told is not None
    assert (told.signer, told.valid, told.trusted) == ("emo on this machine", True, False)
    assert told.source_type == provenance.SOURCE_TYPE
    assert told.record == provenance.record(RECIPE)
    assert [frame.tobytes() for frame in footage.read(path)] == frames
    assert [file.name for file in tmp_path.iterdir()] == [name]


@with_library
def test_a_change_after_signing_is_seen(
    model: Path, tmp_path: Path, signer: Identity
) -> None:
    path = filmed(tmp_path / "x.mp4")
    credentials.sign(path, signer, RECIPE)
    content = bytearray(path.read_bytes())
    content[-100] ^= 255
    path.write_bytes(content)
    told = credentials.read(path)
    assert told is not None and not told.valid


@with_library
def test_a_video_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert credentials.read(filmed(tmp_path / "x.mp4")) is None
    assert credentials.read(filmed(tmp_path / "x.mkv")) is None


@with_library
def test_an_identity_is_made_once_and_only_its_owner_can_read_its_key(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "signing"
    first = credentials.self_made(folder)
    key = first.key.read_bytes()
    assert credentials.self_made(folder) == first and first.key.read_bytes() == key
    assert sorted(path.name for path in folder.iterdir()) == ["certificate.pem", "key.pem"]
    if os.name == "posix":
        assert first.key.stat().st_mode & 0o077 == 0


@with_library
def test_the_command_signs_and_inspect_prints_tags_and_manifest(
    model: Path, tmp_path: Path, signer: Identity
) -> None:
    path = tmp_path / "x.mp4"
    words = ["animate", PHOTO, SONG, "-o", path, "--model", model, "--duration", "0.2", "--size", "128", "-q"]
    words += ["--sign", f"{signer.certificate},{signer.key}", "--seed", "9"]
    made = CliRunner().invoke(app, [str(word) for word in words])
    assert made.exit_code == 0, made.output
    told = json.loads(CliRunner().invoke(app, ["inspect", str(path), "--json", "-q"]).stdout)
    assert told["record"] == told["manifest"]["record"] and told["record"]["seed"] == 9
    assert told["manifest"]["valid"]
    spoken = CliRunner().invoke(app, ["inspect", str(path), "-q"]).stdout
    shown = CliRunner().invoke(app, ["inspect", str(path)]).stdout
    assert spoken == "" and "signed by emo on this machine, unchanged since" in shown


@with_library
def test_what_would_make_signing_impossible_is_said_before_the_work(tmp_path: Path, signer: Identity) -> None:
    wishes = AnimateOptions(tmp_path / "no.jpg", SONG, tmp_path / "x.mp4")
    (tmp_path / "words.pem").write_text("no certificate")
    for wrong in (replace(signer, key=tmp_path / "none.pem"), replace(signer, key=tmp_path / "words.pem"),
                  replace(signer, certificate=tmp_path / "words.pem")):  # fmt: skip
        with pytest.raises(InputError, match="certificate|key|sign"):
            animate(replace(wishes, sign=f"{wrong.certificate},{wrong.key}"))
    for output in (tmp_path / "x.webm", Path("-")):
        with pytest.raises(OutputError, match="cannot be signed"):
            credentials.check(signer, output)


@with_library
def test_videos_of_a_batch_are_signed_too_also_one_row_alone(model: Path, tmp_path: Path, signer: Identity) -> None:
    wish = f"{signer.certificate},{signer.key}"
    (tmp_path / "jobs.csv").write_text(
        f'photo,sound,output,sign\n{PHOTO},{SONG},signed.mp4,"{wish}"\n{PHOTO},{SONG},plain.mp4,\n'
    )
    words = ["batch", tmp_path / "jobs.csv", "-o", tmp_path / "out", "--model", model, "--duration", "0.2"]
    made = CliRunner().invoke(app, [str(word) for word in (*words, "--size", "128", "-q")])
    assert made.exit_code == 0, made.output
    told = credentials.read(tmp_path / "out" / "signed.mp4")
    assert told is not None and told.valid and told.signer == "emo on this machine"
    assert credentials.read(tmp_path / "out" / "plain.mp4") is None
    again = CliRunner().invoke(app, [str(word) for word in (*words, "--size", "128", "-q", "--sign", wish, "--json")])
    ends = [json.loads(line)["kind"] for line in again.stdout.splitlines()]
    assert ends == [None, "OutputError"], "the plain one was made with other settings"


@with_library
def test_a_video_that_cannot_be_signed_gets_no_name(tmp_path: Path, signer: Identity) -> None:
    def finish(path: Path) -> None:
        path.write_bytes(b"no video any more")
        credentials.sign(path, signer, RECIPE)

    with pytest.raises(OutputError, match="cannot be signed"):
        video.write(tmp_path / "x.mp4", [np.zeros((16, 16, 3), np.uint8)], 25, finish=finish)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wish", ["me", "one.pem", ",key.pem", "one.pem,"])
def test_words_that_name_no_signer_are_a_usage_error(tmp_path: Path, wish: str) -> None:
    with pytest.raises(UsageError, match="CERTIFICATE,KEY"):
        credentials.identity(wish, tmp_path)


def test_without_the_extra_the_next_step_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    with pytest.raises(DeviceError, match="pip install 'emo-cli\\[c2pa\\]'"):
        credentials.check(Identity(tmp_path / "a", tmp_path / "b"), tmp_path / "x.mp4")
    assert credentials.read(filmed(tmp_path / "x.mp4")) is None
