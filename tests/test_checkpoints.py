"""Published weights open, make a video, and become a folder of ours; whatever is wrong with them is said."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from emo_cli import footage, speech, video
from emo_cli.animate import AnimateOptions, animate, frame, perform
from emo_cli.checkpoints import describe, import_model, open_model
from emo_cli.checkpoints.keymap import Keymap, fill, merged, parts, read_weights
from emo_cli.errors import IncompatibleCheckpoint, OutputError, WeightsError
from emo_cli.networks.codec import Strength
from emo_cli.pipeline import EmoPipeline
from emo_cli.portrait import Portrait
from emo_cli.segments.scene import Settings
from made_sound import wav
from official_folder import echomimic_folder

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"
SIZE = 64


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two of EchoMimic's variants."""
    return echomimic_folder(tmp_path_factory.mktemp("published"), "_acc", "_pose_acc")


@pytest.fixture(scope="module")
def pipeline(published: Path) -> EmoPipeline:
    return open_model(published)


@pytest.fixture(scope="module")
def portrait(published: Path) -> Portrait:
    return frame(AnimateOptions(PHOTO, PHOTO, size=SIZE), describe(published))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three fifths of a second of a rising tone: 15 frames, which are more than one window."""
    tone = np.sin(np.cumsum(np.linspace(200, 900, 9600)) / 16_000 * 2 * np.pi) * 12_000
    return wav(tmp_path_factory.mktemp("sound") / "tone.wav", tone)


def made(pipeline: EmoPipeline, portrait: Portrait, sound: Path, **wishes: object) -> np.ndarray:
    """Frames (frames, H, W, 3)."""
    heard = speech.encode(speech.read(sound), pipeline.sound_encoder, 24.0, exact=pipeline.family.exact)
    return np.stack(list(pipeline.frames(portrait, heard, Settings(seed=1, steps=1, **wishes))))


@pytest.fixture(scope="module")
def plain(pipeline: EmoPipeline, portrait: Portrait, sound: Path) -> np.ndarray:
    """What the published weights make without a wish."""
    return made(pipeline, portrait, sound)


@pytest.fixture(scope="module")
def pose(published: Path) -> EmoPipeline:
    return open_model(published, "echomimic-pose-acc")


def test_published_files_become_a_video(published: Path, sound: Path, tmp_path: Path) -> None:
    options = AnimateOptions(PHOTO, sound, tmp_path / "out.mp4", model=str(published), size=SIZE, steps=2, seed=1)
    result = animate(options)
    probed = footage.probe(result.path)
    assert (result.model, result.frames, result.fps) == ("echomimic-acc", 15, 24.0)
    assert (probed.frames, probed.width, probed.height) == (15, SIZE, SIZE)
    assert result.warnings == ()


def test_a_folder_of_several_variants_gives_the_one_that_is_asked_for(published: Path) -> None:
    assert describe(published).name == "echomimic-acc"
    assert describe(published, "echomimic-pose-acc").face_input == "landmarks"
    with pytest.raises(WeightsError, match=r"lacks denoising_unet\.pth, motion_module\.pth"):
        open_model(published, "echomimic")


def test_an_imported_folder_makes_the_same_frames(
    published: Path, plain: np.ndarray, portrait: Portrait, sound: Path, tmp_path: Path
) -> None:
    import_model(published, tmp_path / "own")
    assert np.array_equal(made(open_model(tmp_path / "own"), portrait, sound), plain)
    assert not list(tmp_path.rglob("*.pth")) and [path.name for path in tmp_path.iterdir()] == ["own"]


def test_an_imported_folder_can_be_half_as_large(published: Path, tmp_path: Path) -> None:
    import_model(published, tmp_path / "half", torch.bfloat16)
    weights = load_file(tmp_path / "half" / "backbone" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}


def test_an_import_does_not_touch_a_folder_that_holds_something(published: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        import_model(published, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failed_import_leaves_nothing(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emo_cli.checkpoints.shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(WeightsError, match="free"):
        import_model(published, tmp_path / "own")
    assert not list(tmp_path.iterdir())


def test_every_control_that_is_promised_changes_the_frames(
    pipeline: EmoPipeline, plain: np.ndarray, portrait: Portrait, sound: Path
) -> None:
    assert not np.array_equal(plain, made(pipeline, portrait, sound, guidance=2.5))
    assert not np.array_equal(plain, made(pipeline, portrait, sound, region=0.3))
    assert not np.array_equal(plain, made(pipeline, portrait, sound, strength=Strength(lips=0.2)))
    assert set(pipeline.family.controls) == {"steps", "guidance", "lips", "region"}


def test_a_control_it_lacks_is_told(pipeline: EmoPipeline, portrait: Portrait, sound: Path, tmp_path: Path) -> None:
    options = AnimateOptions(PHOTO, sound, tmp_path / "out.mp4", steps=1, seed=1, motion=0.5, pose=PHOTO)
    result = perform(pipeline, portrait, speech.read(sound), options)
    assert [word for word in ("--motion", "--pose") if word in " ".join(result.warnings)] == ["--motion", "--pose"]


def test_the_exact_switch_makes_the_frames_beyond_the_sound_but_shows_only_the_sound(
    pipeline: EmoPipeline, portrait: Portrait, sound: Path, tmp_path: Path
) -> None:
    exact = EmoPipeline(**{**pipeline.parts(), "family": pipeline.family.with_changes(exact=True)})
    assert len(made(exact, portrait, sound)) == 16
    result = perform(exact, portrait, speech.read(sound), AnimateOptions(PHOTO, sound, tmp_path / "o.mp4", steps=1))
    assert result.frames == 15


def test_a_long_song_is_made_in_segments_that_begin_where_the_last_one_ended(
    pipeline: EmoPipeline, portrait: Portrait, sound: Path
) -> None:
    parts = {**pipeline.parts(), "family": pipeline.family.with_changes(longest=6, window=4, overlap=2)}
    heard = speech.encode(speech.read(sound), pipeline.sound_encoder, 24.0)
    features = heard.features
    canvas = pipeline.codec.open(portrait)
    settings = Settings(seed=1, steps=2)
    lengths, latents = [], []
    for motion in EmoPipeline(**parts).motions(canvas, portrait.mask, features, settings):
        lengths.append(len(motion.latents))
        latents.append(motion.latents)
    assert lengths == [6, 6, 3]
    changed = torch.cat([features[:6] + 3, features[6:]])
    other = [motion.latents for motion in EmoPipeline(**parts).motions(canvas, portrait.mask, changed, settings)]
    assert not torch.allclose(other[1], latents[1], atol=1e-5), "the second segment does not see the first"


def test_a_pose_model_follows_the_face_of_a_video(pose: EmoPipeline, portrait: Portrait, sound: Path) -> None:
    still = made(pose, portrait, sound)
    turning = portrait.landmarks[None, :, :2] + np.linspace(0, 12, 15)[:, None, None]
    held = made(pose, portrait, sound, driving=portrait.landmarks[None, :, :2])
    assert np.array_equal(still, held)
    assert not np.array_equal(still, made(pose, portrait, sound, driving=turning))


def test_the_face_of_a_driving_video_reaches_the_pose_model(
    pose: EmoPipeline, portrait: Portrait, sound: Path, tmp_path: Path
) -> None:
    photo = np.asarray(Image.open(PHOTO).convert("RGB").resize((256, 256)))
    moving = [np.roll(photo, 8 * index, axis=1) for index in range(3)]
    video.write(tmp_path / "driving.mp4", moving, 24.0, None)
    heard = speech.read(sound)
    results = []
    for wish in (None, tmp_path / "driving.mp4"):
        options = AnimateOptions(PHOTO, sound, tmp_path / f"{wish is None}.mp4", seed=1, steps=1, pose=wish)
        result = perform(pose, portrait, heard, options)
        assert result.warnings == ()
        results.append(np.stack([shown for shown in footage.read(result.path)]))
    assert not np.array_equal(*results)


# Files that are not what they should be: each is one sentence and exit code 5.


def refusal(folder: Path) -> str:
    with pytest.raises(WeightsError) as refused:
        open_model(folder)
    assert refused.value.exit_code == 5
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """The published folder by links, so that single files can be replaced."""
    for path in published.rglob("*"):
        if path.is_file() and "pose" not in path.name:
            link = tmp_path / path.relative_to(published)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return tmp_path


def replaced(path: Path, content: object) -> None:
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("conv_in.bias"), "misses 1 tensors (conv_in.bias)"),
        (lambda w: w.update({f"extra.{i}": torch.ones(1) for i in range(7)}), "has unknown 7 tensors (extra.0, "),
        (lambda w: w.update({"conv_in.bias": torch.ones(3)}), "has misshapen 1 tensors (conv_in.bias)"),
    ],
)
def test_keys_that_do_not_fit_are_named(folder: Path, change, words: str) -> None:
    path = folder / "reference_unet.pth"
    weights = torch.load(path)
    change(weights)
    replaced(path, weights)
    sentence = refusal(folder)
    assert words in sentence and "reference_unet.pth" in sentence
    assert "extra.5" not in sentence


def test_a_file_in_the_place_of_another_is_told(folder: Path) -> None:
    backbone = torch.load(folder / "denoising_unet_acc.pth")
    replaced(folder / "reference_unet.pth", backbone)
    assert "holds a Backbone, not a ReferenceNet" in refusal(folder)


def test_a_file_of_another_family_is_told(folder: Path) -> None:
    stranger = {"denoising_unet.conv_in.weight": torch.ones(1), "audioproj.norm.weight": torch.ones(1)}
    replaced(folder / "denoising_unet_acc.pth", stranger)
    assert "holds weights of Hallo, not of EchoMimic" in refusal(folder)


def test_the_face_locator_of_another_variant_is_told(folder: Path, published: Path) -> None:
    replaced(folder / "face_locator.pth", torch.load(published / "face_locator_pose.pth"))
    assert "it is the face locator of another variant" in refusal(folder)


class Hostile:
    """Would run a program if it were unpickled without care."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.mark),)


def test_a_hostile_pickle_is_refused_and_runs_nothing(folder: Path) -> None:
    mark = folder / "was_here"
    replaced(folder / "denoising_unet_acc.pth", {"conv_in.weight": Hostile(mark)})
    assert "could run a program" in refusal(folder)
    replaced(folder / "denoising_unet_acc.pth", pickle.dumps({"conv_in.weight": Hostile(mark)}, protocol=2))
    assert "could run a program" in refusal(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>Not found</html>", "web page"),
        (b"", "is empty"),
        (b"something else", "not a file of weights"),
        ({"conv_in.weight": torch.ones(2), "step": 7}, "holds more than tensors (step)"),
    ],
)
def test_what_is_no_file_of_weights_is_called_by_its_name(folder: Path, content: object, words: str) -> None:
    replaced(folder / "motion_module_acc.pth", content)
    sentence = refusal(folder)
    assert words in sentence and "motion_module_acc.pth" in sentence


@pytest.mark.parametrize("kept", (100, 100_000))
def test_a_file_that_is_cut_off_is_told(folder: Path, kept: int) -> None:
    path = folder / "denoising_unet_acc.pth"
    replaced(path, path.read_bytes()[:kept])
    assert "cut off" in refusal(folder)


def test_a_safetensors_file_that_is_cut_off_is_told(folder: Path) -> None:
    path = folder / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors"
    replaced(path, path.read_bytes()[:50_000])
    assert "cut off or damaged" in refusal(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "audio_processor" / "whisper_tiny.pt").unlink()
    assert "lacks audio_processor/whisper_tiny.pt of echomimic-acc" in refusal(folder)


def test_a_folder_without_a_model_says_what_was_looked_for(tmp_path: Path) -> None:
    sentence = refusal(tmp_path)
    assert all(word in sentence for word in ("family.json", "denoising_unet.pth", "hallo/net.pth"))
    assert "is not a folder" in refusal(tmp_path / "nothing")


def test_a_whisper_of_another_size_is_told(folder: Path) -> None:
    from official_folder import small_whisper

    replaced(folder / "audio_processor" / "whisper_tiny.pt", {"model_state_dict": small_whisper(width=32)})
    assert "listens to 48 numbers per token" in refusal(folder)


def test_an_autoencoder_with_the_old_names_of_attention_opens(folder: Path, pipeline: EmoPipeline) -> None:
    path = folder / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    renamed = {}
    for name, value in weights.items():
        for new, former in old.items():
            name = name.replace(f".{new}.", f".{former}.")
        renamed[name] = value
    assert renamed.keys() != weights.keys()
    path.unlink()
    save_file(renamed, path)
    ours, theirs = open_model(folder).codec.autoencoder.state_dict(), pipeline.codec.autoencoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_stored_tables_of_positions_may_have_any_length(folder: Path) -> None:
    weights = torch.load(folder / "motion_module_acc.pth")
    for name in weights:
        if name.endswith("pos_encoder.pe"):
            weights[name] = torch.zeros(1, 24, 8)
    replaced(folder / "motion_module_acc.pth", weights)
    assert open_model(folder).family.name == "echomimic-acc"


# The rules themselves.


def test_a_keymap_renames_and_drops_and_refuses_doubles() -> None:
    weights = {"a.one": torch.ones(1), "a.two": torch.zeros(1), "pe": torch.ones(1)}
    assert Keymap(((r"^a\.", "b."),), ("pe",)).apply(weights, "x").keys() == {"b.one", "b.two"}
    with pytest.raises(IncompatibleCheckpoint, match="twice"):
        Keymap(((r"one|two", "same"),)).apply(weights, "x")


def test_files_of_several_networks_are_split_without_a_rest() -> None:
    weights = {"a.x": torch.ones(1), "b.x": torch.zeros(1)}
    assert parts(weights, ("a", "b"), "file")["b"] == {"x": weights["b.x"]}
    with pytest.raises(IncompatibleCheckpoint, match=r"b\.x"):
        parts(weights, ("a",), "file")


def test_two_files_may_not_hold_the_same_key() -> None:
    with pytest.raises(IncompatibleCheckpoint, match="repeats x"):
        merged({"x": torch.ones(1)}, {"x": torch.ones(1)}, "file")


def test_half_precision_is_widened_and_a_network_without_memory_takes_the_tensors() -> None:
    with torch.device("meta"):
        network = torch.nn.Linear(2, 3)
    weights = {"weight": torch.ones(3, 2, dtype=torch.float16), "bias": torch.zeros(3)}
    filled = fill(network, weights, "file")
    assert filled.weight.dtype == torch.float32
    assert filled(torch.ones(1, 2)).tolist() == [[2.0, 2.0, 2.0]]


def test_a_file_in_pytorchs_old_format_opens(tmp_path: Path) -> None:
    torch.save({"x": torch.arange(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_weights(tmp_path / "old.pth")["x"].tolist() == [0, 1, 2]
