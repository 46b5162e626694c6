"""The story of one video with a stand-in for the model: what it is asked for, what becomes of its frames."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from emo_cli import clips, footage, speech
from emo_cli import portrait as portraits
from emo_cli.animate import AnimateOptions, Video, animate, paced, perform
from emo_cli.clips import ClipPlan
from emo_cli.errors import FaceError, InputError, ModelError, OutputError, WeightsError
from emo_cli.family import Family
from emo_cli.portrait import Portrait
from emo_cli.segments.scene import Settings
from emo_cli.tape import Waveform
from made_sound import wav

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"


class Ear:
    """Hears the same in every frame."""

    tokens, width = 2, 3

    def hear(self, waveform: Waveform, frames: int, fps: float) -> torch.Tensor:
        return torch.zeros(frames, self.tokens, self.width)


@dataclass
class Actor:
    """Takes the place of an EmoPipeline: shows the photo, a little greener with every frame."""

    family: Family = field(
        default_factory=lambda: Family(name="actor", steps=3, guidance=1.5, controls=("lips",))
    )
    sound_encoder: Ear = field(default_factory=Ear)
    identity_projection: None = None
    asked: list[Settings] = field(default_factory=list)
    spoil: Callable[[np.ndarray], np.ndarray] = lambda frame: frame

    def frames(
        self, portrait: Portrait, heard: speech.Speech, settings: Settings, callback: Any, *rest: Any
    ) -> Iterator[np.ndarray]:
        self.asked.append(settings)
        for index in range(heard.frames):
            callback(index, settings.steps - 1)
            frame = portrait.image.copy()
            frame[..., 1] = np.minimum(frame[..., 1].astype(int) + index, 255)
            yield self.spoil(frame)

    def plan(self, heard: speech.Speech) -> ClipPlan:
        return clips.plan(heard.frames, self.family)


@dataclass
class Notes:
    """A progress that remembers."""

    stages: list[str] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)
    counted: list[tuple[int, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def outlook(self, seconds: float) -> None: ...

    def frame(self, done: int, total: int) -> None:
        self.counted.append((done, total))

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return portraits.read(PHOTO, size=128)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A third of a second of a tone."""
    tone = np.sin(np.arange(5333) / 16_000 * 2 * np.pi * 220) * 12_000
    return wav(tmp_path / "a tone.wav", tone)


def _make(portrait: Portrait, sound: Path, actor: Actor, notes: Notes | None = None, **wishes: Any) -> Video:
    options = AnimateOptions(PHOTO, sound, sound.with_name("out.mp4"), **wishes)
    heard = speech.read(sound)
    return perform(actor, portrait, heard, options, notes)  # type: ignore[arg-type]


def test_the_video_is_as_long_as_the_sound_and_says_how_it_was_made(portrait: Portrait, sound: Path) -> None:
    made = _make(portrait, sound, Actor(), seed=5)
    probed = footage.probe(made.path)
    assert (made.frames, made.fps, made.model, made.seed) == (9, 25.0, "actor", 5)
    assert (probed.frames, probed.width, probed.height) == (9, 128, 128)
    assert abs(probed.seconds - 5333 / 16_000) < 1 / 25
    record = json.loads(footage.tags(made.path)["comment"])
    assert (record["seed"], record["steps"], record["guidance"]) == (5, 3, 1.5)


def test_wishes_reach_the_model_and_the_rest_is_the_family_s(portrait: Portrait, sound: Path) -> None:
    actor = Actor()
    _make(portrait, sound, actor, seed=5, steps=2, lips=1.5, speed=0.5)
    asked = actor.asked[0]
    assert (asked.seed, asked.steps, asked.guidance, asked.speed) == (5, 2, 1.5, 0.5)
    assert (asked.strength.lips, asked.strength.motion, asked.strength.expression) == (1.5, 1.0, 1.0)


def test_without_a_seed_one_is_drawn_and_told(portrait: Portrait, sound: Path) -> None:
    actor = Actor()
    seeds = {_make(portrait, sound, actor, overwrite=True).seed for _ in range(2)}
    assert len(seeds) == 2
    assert {asked.seed for asked in actor.asked} == seeds


def test_a_control_the_model_does_not_have_is_told_not_ignored(portrait: Portrait, sound: Path) -> None:
    notes = Notes()
    made = _make(portrait, sound, Actor(), notes, motion=0.5, lips=0.5, steps=2)
    assert made.warnings == tuple(notes.warnings)
    assert [word for word in ("--steps", "--motion", "--lips") if word in " ".join(notes.warnings)] == [
        "--steps",
        "--motion",
    ]


def test_a_quality_the_model_has_no_preset_for_is_told(portrait: Portrait, sound: Path) -> None:
    notes, actor = Notes(), Actor()
    _make(portrait, sound, actor, notes, quality="draft")
    assert any("no preset called draft" in sentence for sentence in notes.warnings)
    assert actor.asked[0].steps == actor.family.steps


def test_progress_hears_every_step_and_every_frame(portrait: Portrait, sound: Path) -> None:
    notes = Notes()
    _make(portrait, sound, Actor(), notes)
    assert notes.counted == [(done, 9) for done in range(1, 10)]
    assert notes.steps == [(3, 3)] * 9
    assert notes.stages[-1] == "making frames"
    assert notes.warnings == []


def test_another_frame_rate_keeps_the_length_and_is_told(portrait: Portrait, sound: Path) -> None:
    notes = Notes()
    made = _make(portrait, sound, Actor(), notes, fps=50.0)
    assert (made.frames, made.fps) == (17, 50.0)
    assert "shown twice" in notes.warnings[0]
    assert json.loads(footage.tags(made.path)["comment"])["fps"] == 50.0


def test_framing_full_gives_the_whole_photo_back(sound: Path, tmp_path: Path) -> None:
    photo = Image.new("RGB", (700, 620), (40, 60, 80))
    photo.paste(Image.open(PHOTO).resize((300, 300)), (350, 200))
    photo.save(tmp_path / "wide.png")
    portrait = portraits.read(tmp_path / "wide.png", framing="full", size=128)
    made = _make(portrait, sound, Actor(), framing="full")
    probed = footage.probe(made.path)
    assert (probed.width, probed.height) == (700, 620)


def test_a_black_frame_stops_the_work_and_leaves_no_file(portrait: Portrait, sound: Path) -> None:
    with pytest.raises(ModelError, match="black frame"):
        _make(portrait, sound, Actor(spoil=lambda frame: frame * 0))
    assert not sound.with_name("out.mp4").exists()
    assert [path.name for path in sound.parent.iterdir()] == [sound.name]


def test_an_interruption_leaves_no_file(portrait: Portrait, sound: Path) -> None:
    def stop(frame: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _make(portrait, sound, Actor(spoil=stop))
    assert [path.name for path in sound.parent.iterdir()] == [sound.name]


def test_a_silent_sound_is_told(portrait: Portrait, tmp_path: Path) -> None:
    path = wav(tmp_path / "silence.wav", np.zeros(1600))
    notes = Notes()
    _make(portrait, path, Actor(), notes)
    assert notes.warnings == ["The sound is silent, so the mouth stays closed."]


def test_without_a_name_the_video_is_named_after_both(tmp_path: Path) -> None:
    options = AnimateOptions(Path("/photos/Anna B.jpg"), tmp_path / "lied.2.mp3")
    assert options.path == Path("Anna B-lied.2.mp4")


@pytest.mark.parametrize(
    ("made", "asked", "expected"),
    [
        (25, 25, [0, 1, 2, 3]),
        (25, 50, [0, 0, 1, 1, 2, 2, 3, 3]),
        (25, 12.5, [0, 2]),
        (25, 30, [0, 0, 1, 2, 3]),
    ],
)
def test_each_moment_shows_the_newest_frame(made: float, asked: float, expected: list[int]) -> None:
    frames = (np.full((1, 1, 3), index, np.uint8) for index in range(4))
    shown = [int(frame[0, 0, 0]) for frame in paced(frames, made, asked, len(expected))]
    assert shown == expected


def test_the_last_frame_stays_when_there_are_too_few() -> None:
    frames = [np.zeros((1, 1, 3), np.uint8), np.ones((1, 1, 3), np.uint8)]
    assert [int(frame.max()) for frame in paced(frames, 25, 25, 4)] == [0, 1, 1, 1]


@pytest.mark.parametrize("asked", [25, 12.5, 30, 50, 24, 23.976])
@pytest.mark.parametrize("begin", [0, 1, 7, 250])
def test_frames_paced_from_the_middle_are_those_of_the_whole(asked: float, begin: int) -> None:
    def frames(start: int) -> Iterator[np.ndarray]:
        return (np.full((1, 1, 3), index, np.uint16) for index in range(start, 300))

    count = math.ceil(300 * asked / 25)
    whole = [int(frame[0, 0, 0]) for frame in paced(frames(0), 25, asked, count)]
    rest = [int(frame[0, 0, 0]) for frame in paced(frames(begin), 25, asked, count, begin)]
    assert rest == [index for index in whole if index >= begin]


def test_no_frames_at_all_is_a_fault_of_the_model() -> None:
    with pytest.raises(ModelError, match="no frames"):
        list(paced([], 25, 25, 3))


def test_an_existing_output_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    taken = tmp_path / "taken.mp4"
    taken.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        animate(AnimateOptions(tmp_path / "no.jpg", tmp_path / "no.wav", taken))
    assert taken.read_bytes() == b"mine"


def test_an_unknown_model_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="huge"):
        animate(AnimateOptions(tmp_path / "no.jpg", tmp_path / "no.wav", tmp_path / "x.mp4", model="huge"))


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model folder without networks: enough for what must fail before they are opened."""
    Family(name="empty").save(tmp_path / "model")
    return str(tmp_path / "model")


def test_a_photo_without_a_face_fails_before_the_model_opens(
    tmp_path: Path, sound: Path, model: str
) -> None:
    Image.new("RGB", (200, 200), (90, 120, 60)).save(tmp_path / "meadow.png")
    with pytest.raises(FaceError, match="No face found"):
        animate(AnimateOptions(tmp_path / "meadow.png", sound, tmp_path / "x.mp4", model=model))


def test_a_broken_sound_fails_before_the_model_is_opened(tmp_path: Path, model: str) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing more")
    with pytest.raises(InputError):
        animate(AnimateOptions(PHOTO, tmp_path / "broken.wav", tmp_path / "x.mp4", model=model))


def test_a_model_folder_without_networks_is_told(tmp_path: Path, sound: Path, model: str) -> None:
    with pytest.raises(WeightsError, match="lacks parts"):
        animate(AnimateOptions(PHOTO, sound, tmp_path / "x.mp4", model=model))
