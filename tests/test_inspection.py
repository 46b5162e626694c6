"""`emo inspect`: what it says of a photo, a sound and a video is true, and it fails as `emo animate` would."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from typer.testing import CliRunner, Result

from emo_cli import portrait, video
from emo_cli.animate import AnimateOptions, animate
from emo_cli.cli.app import app
from emo_cli.errors import FaceError, InputError, OutputError
from emo_cli.face.pose import STILL, pose
from emo_cli.family import Family
from emo_cli.inspection import Look, look, overlay, save_overlay
from emo_cli.weights import fingerprint

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"
SONG = PHOTO.with_name("song.wav")


@pytest.fixture(scope="module")
def couple(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller face on the left, a larger one on the right, 900 x 512."""
    person = Image.open(PHOTO)
    picture = Image.new("RGB", (900, 512), (60, 70, 80))
    picture.paste(person.resize((360, 360)), (10, 76))
    picture.paste(person, (388, 0))
    path = tmp_path_factory.mktemp("photos") / "couple.png"
    picture.save(path)
    return path


@pytest.fixture(scope="module")
def seen(couple: Path, model: Path) -> Look:
    return look(AnimateOptions(couple, SONG, model=str(model), face="left", size=256, framing="face"))


def emo(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_every_face_is_listed_and_the_taken_one_marked(seen: Look) -> None:
    assert [(face.number, face.chosen) for face in seen.found.faces] == [(1, False), (2, True)]
    right, left = (face.box for face in seen.found.faces)
    assert left.x + left.width < 388 < right.x
    assert left.width == pytest.approx(right.width * 360 / 512, rel=0.05)


def test_crop_and_mask_are_those_of_the_video(seen: Look, couple: Path) -> None:
    framed = portrait.read(couple, framing="face", face="left", size=256)
    assert (seen.found.crop, seen.found.size) == (framed.crop, 256)
    scale = framed.crop.width / 256
    rows, columns = np.nonzero(framed.mask > 0.5)
    mask = seen.found.mask
    assert mask.x == pytest.approx(framed.crop.x + columns.min() * scale, abs=0.1)
    assert mask.y + mask.height == pytest.approx(framed.crop.y + (rows.max() + 1) * scale, abs=0.1)


def test_turning_the_picture_turns_the_pose() -> None:
    face = portrait.read(PHOTO)
    straight = pose(face.landmarks)
    mirrored = face.landmarks * [-1, 1, 1]
    place = {(x, y): index for index, (x, y, _) in STILL.items()}
    mirrored[list(STILL)] = mirrored[[place[-x, y] for x, y, _ in STILL.values()]]
    assert pose(mirrored).yaw == pytest.approx(-straight.yaw, abs=0.1)
    angle = np.radians(20)
    x, y, z = face.landmarks.T
    rolled = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z], 1)
    assert pose(rolled).roll == pytest.approx(straight.roll + 20, abs=0.2)
    turned = np.stack([x * np.cos(angle) - z * np.sin(angle), y, z * np.cos(angle) + x * np.sin(angle)], 1)
    assert pose(turned).yaw == pytest.approx(straight.yaw + 20, abs=1)


def test_a_trial_tells_about_how_long_the_video_takes(model: Path, tmp_path: Path) -> None:
    wishes = AnimateOptions(PHOTO, SONG, tmp_path / "x.mp4", model=str(model), size=128, duration=4)
    effort = look(wishes, SONG).found.effort
    assert effort is not None and effort.work is not None
    assert (effort.frames, effort.fps, effort.model, effort.device) == (100, 25, "tiny", "cpu")
    took = animate(wishes).timings.total
    assert took / 8 < effort.work < took * 8
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]


def test_a_longer_sound_adds_time_but_no_second_preparation(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def performed(pipeline, portrait, sound, options, watch, backing) -> None:
        watch.steps, watch.frames = [watch.began + 1000, watch.began + 1001], [2.0, 2.25, 2.5]

    monkeypatch.setattr("emo_cli.inspection.animate.perform", performed)
    short, long = (
        look(AnimateOptions(PHOTO, SONG, model=str(model), size=128, duration=seconds, steps=4), SONG).found.effort
        for seconds in (1.28, 2.56)
    )
    assert short is not None and long is not None and short.work is not None and long.work is not None
    assert short.work == pytest.approx(999 + 2 * 4 + 32 * 0.25, abs=5)
    assert long.work - short.work == pytest.approx(2 * 4 + 32 * 0.25, abs=2)


def test_a_long_trial_is_cut_short_and_the_rest_reckoned(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emo_cli.inspection.PATIENCE", 0.0)
    effort = look(AnimateOptions(PHOTO, SONG, model=str(model), size=128), SONG).found.effort
    assert effort is not None and effort.work is not None and effort.work > 0


def test_without_a_trial_frames_are_told_and_no_time(model: Path) -> None:
    effort = look(AnimateOptions(PHOTO, SONG, model=str(model), fps=50), SONG, trial=False).found.effort
    assert effort is not None
    assert (effort.frames, effort.fps, effort.work) == (365, 50, None)


def test_a_silent_sound_has_no_loudness_and_no_voice(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    heard = look(AnimateOptions(PHOTO, SONG, model=str(model)), tmp_path / "silent.wav", trial=False).found.sound
    assert heard is not None
    assert (heard.seconds, heard.loudness, heard.voice) == (1.0, None, 0.0)


def test_a_model_that_is_not_here_is_told_and_the_photo_is_looked_at_all_the_same() -> None:
    found = look(AnimateOptions(PHOTO, SONG, model="echomimic"), SONG).found
    assert len(found.faces) == 1 and found.effort is None
    assert found.note is not None and "echomimic" in found.note


def test_photos_and_sounds_fail_as_they_do_in_a_video(couple: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("words")
    with pytest.raises(FaceError, match="no face 3"):
        look(AnimateOptions(couple, SONG, model=str(model), face="3"))
    with pytest.raises(InputError, match="text.wav"):
        look(AnimateOptions(couple, SONG, model=str(model)), tmp_path / "text.wav")
    with pytest.raises(InputError, match="none.jpg"):
        look(AnimateOptions(tmp_path / "none.jpg", SONG, model=str(model)))


def test_the_overlay_shows_boxes_on_the_upright_photo_and_tints_what_moves(seen: Look) -> None:
    drawn, photo = np.asarray(overlay(seen)).astype(int), seen.portrait.photo.astype(int)
    assert drawn.shape == photo.shape
    box = seen.found.faces[0].box
    assert tuple(drawn[round(box.y), round(box.x + box.width / 2)]) == (40, 120, 255)
    middle = seen.found.faces[1].box.centre
    change = (drawn - photo)[round(middle[1]) + 5, round(middle[0]) + 5]
    assert change[1] - change[0] > 20
    assert np.array_equal(drawn[-3:, -3:], photo[-3:, -3:])


def test_an_overlay_replaces_nothing_and_leaves_nothing_half_done(seen: Look, tmp_path: Path) -> None:
    path = tmp_path / "faces.png"
    save_overlay(seen, path)
    assert Image.open(path).size == (900, 512)
    with pytest.raises(OutputError, match="exists already"):
        save_overlay(seen, path)
    save_overlay(seen, path, overwrite=True)
    with pytest.raises(OutputError, match="such as faces.png"):
        save_overlay(seen, tmp_path / "faces.song")
    assert [path.name for path in tmp_path.iterdir()] == ["faces.png"]


def test_the_command_prints_all_of_it_for_people_and_for_programs(couple: Path, model: Path, tmp_path: Path) -> None:
    words = ("inspect", couple, SONG, "--model", model, "--no-trial", "--overlay", tmp_path / "faces.jpg")
    told = emo(*words)
    assert told.exit_code == 0, told.stderr
    assert re.search(r"--face 2   box [\d,]+   yaw [+-]\d+ pitch [+-]\d+ roll [+-]\d+   score \d", told.stdout)
    assert "sound: 7.29 s" in told.stdout and "183 frames at 25 per second" in told.stdout
    found = json.loads(emo(*words, "--overwrite", "--json", "-q").stdout)
    assert found["faces"][0]["pose"].keys() == {"yaw", "pitch", "roll"}
    assert (found["effort"]["frames"], found["crop"]["height"]) == (183, 512)


def test_a_video_tells_how_it_was_made_and_from_what(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    animate(AnimateOptions(PHOTO, SONG, path, model=str(model), size=128, seed=3, duration=0.2, lips=0.5))
    told = json.loads(emo("inspect", path, "--json", "-q").stdout)["record"]
    assert told["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert (told["model"], told["seed"], told["lips"], told["duration"], told["size"]) == ("tiny", 3, 0.5, 0.2, 128)
    assert told["photo"] == hashlib.sha256(PHOTO.read_bytes()).hexdigest()
    assert told["sound"] == hashlib.sha256(SONG.read_bytes()).hexdigest()
    assert told["weights"] == fingerprint(model)
    assert "Not a recording" in emo("inspect", path).stdout


def test_a_foreign_video_is_said_to_tell_nothing(tmp_path: Path) -> None:
    written = video.write(tmp_path / "x.mp4", [np.zeros((8, 8, 3), np.uint8)], 25, tags={"comment": '{"a": 1}'})
    told = emo("inspect", written.path)
    assert told.exit_code == 0
    assert "does not say how it was made" in told.stdout


def test_what_is_no_video_is_code_3(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("words")
    assert isinstance(emo("inspect", tmp_path / "x.mp4").exception, InputError)


def test_another_bit_in_a_model_is_another_fingerprint(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    assert fingerprint(copy) == fingerprint(model)
    family = Family.load(copy)
    replace(family, steps=family.steps + 1).save(copy)
    assert fingerprint(copy) != fingerprint(model)
