"""Face recognition: how a face is laid before the network, and what is said when it is not there."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_cli import animate, identity
from emo_cli import portrait as portraits
from emo_cli.errors import WeightsError
from emo_cli.identity import PLACES, FaceRecogniser, aligned, five_points, similarity
from emo_cli.networks.conditions import IdentityProjection
from emo_cli.pipeline import EmoPipeline
from emo_cli.portrait import Portrait
from tiny_pipeline import tiny

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return portraits.read(PHOTO, size=256)


@pytest.fixture
def knowing() -> EmoPipeline:
    """A pipeline that wants to know who is seen."""
    torch.manual_seed(0)
    return replace(tiny("emo"), identity_projection=IdentityProjection(8, 2, 12).eval())


def test_points_that_are_turned_scaled_and_moved_are_brought_back() -> None:
    turn = 1.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    moved = PLACES @ turn.T + (30, -12)
    matrix = similarity(PLACES, moved)
    assert np.allclose(PLACES @ matrix[:, :2].T + matrix[:, 2], moved)


def test_the_face_is_laid_where_the_network_looks_for_it(portrait: Portrait) -> None:
    points = five_points(portrait.landmarks)
    matrix = similarity(PLACES, points)
    placed = np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T
    assert np.abs(placed - PLACES).max() < 8  # faces differ from ArcFace's mean face
    assert aligned(portrait.image, points).shape == (112, 112, 3)


def test_turning_the_photo_does_not_turn_the_face_that_is_shown() -> None:
    """A picture of five spots, and the same lying on its side, are laid the same way."""
    picture, spots = np.zeros((200, 200, 3), np.uint8), np.round(PLACES + 40).astype(int)
    for x, y in spots:
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    turned = np.ascontiguousarray(np.rot90(picture))
    lying = np.stack([spots[:, 1], 199 - spots[:, 0]], 1)
    upright, laid = (aligned(image, places + 0.5).astype(int) for image, places in ((picture, spots), (turned, lying)))
    assert upright.max() == 255
    assert np.abs(upright - laid).mean() < 1


def test_without_face_recognition_it_is_told_how_to_get_it(knowing: EmoPipeline, portrait: Portrait) -> None:
    (sentence,) = animate._strangers(knowing, portrait)
    assert "emo weights get hallo --with identity" in sentence
    assert "non-commercial" in sentence


def test_models_that_do_not_care_who_is_seen_say_nothing(portrait: Portrait) -> None:
    assert list(animate._strangers(tiny("emo"), portrait)) == []


def test_without_the_program_that_runs_it_the_extra_is_named(
    knowing: EmoPipeline, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    recogniser = FaceRecogniser(Path("model.onnx"))
    (sentence,) = animate._strangers(replace(knowing, recogniser=recogniser), portrait)
    assert "emo-cli[hallo]" in sentence
    with pytest.raises(WeightsError, match="hallo"):
        recogniser(portrait.image, portrait.landmarks)


def test_the_zero_embedding_stands_for_everybody_without_one(knowing: EmoPipeline) -> None:
    unknown, zero = knowing._identity(None), knowing._identity(torch.zeros(1, 8))
    known = knowing._identity(torch.ones(1, 8))
    assert unknown.person is unknown.nobody
    assert torch.equal(zero.person, unknown.nobody)
    assert not torch.equal(known.person, known.nobody)


def test_the_network_travels_with_a_model_folder(tmp_path: Path) -> None:
    (tmp_path / "published.onnx").write_bytes(b"network")
    FaceRecogniser(tmp_path / "published.onnx").save_pretrained(tmp_path / "recogniser")
    assert FaceRecogniser.from_pretrained(tmp_path / "recogniser").path.read_bytes() == b"network"
    (tmp_path / "recogniser" / identity.WEIGHTS).unlink()
    with pytest.raises(WeightsError, match="missing"):
        FaceRecogniser.from_pretrained(tmp_path / "recogniser")


@dataclass
class Session:
    """What onnxruntime gives, for one network that returns the mean of its picture."""

    def get_inputs(self) -> list[Session]:
        return [self]

    @property
    def name(self) -> str:
        return "data"

    def run(self, names: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert given["data"].shape == (1, 3, 112, 112) and given["data"].dtype == np.float32
        return [given["data"].mean((2, 3))]


def test_pixels_are_shown_between_minus_one_and_one_red_first(portrait: Portrait) -> None:
    recogniser = FaceRecogniser(Path("model.onnx"))
    recogniser.__dict__["_session"] = Session()
    red = np.zeros_like(portrait.image)
    red[..., 0] = 255
    told = recogniser(red, portrait.landmarks)
    assert told.dtype == np.float32
    assert np.allclose(told, [1, -1, -1], atol=0.05)
