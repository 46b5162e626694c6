"""Tests of the teacher's face: reading and writing rigs, and reading ICT-FaceKit's OBJ files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from emo_cli.errors import InputError
from emo_cli.training.rig import HeadModel, Rig, sides
from rig_fixture import small_rig

SQUARE = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0.5]], dtype=np.float32)


def write_obj(path: Path, vertices: np.ndarray) -> None:
    """A square and one triangle of it, with the texture numbers that ICT-FaceKit's files carry."""
    lines = ["# ICT", *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices), "vt 0.5 0.5"]
    path.write_text("\n".join([*lines, "f 1/1 2/1 3/1 4/1", "f 1/1 3/1 4/1", ""]))


@pytest.fixture
def head_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    write_obj(folder / "generic_neutral_mesh.obj", SQUARE)
    write_obj(folder / "jawOpen.obj", SQUARE + np.array([0, -1, 0]))
    write_obj(folder / "browDown_L.obj", SQUARE + np.array([0, 0, 0.25]))
    write_obj(folder / "identity000.obj", SQUARE * 2)
    write_obj(folder / "identity001.obj", SQUARE + np.array([1, 0, 0]))
    return tmp_path


def test_a_saved_rig_reads_back_the_same(tmp_path: Path) -> None:
    rig = small_rig()
    rig.save(tmp_path / "rig.npz")
    back = Rig.load(tmp_path / "rig.npz")
    assert back.names == rig.names
    for name in ("mean", "expressions", "identities", "bias"):
        assert torch.equal(getattr(back, name), getattr(rig, name))


def test_an_expression_is_the_sum_of_its_halves() -> None:
    rig = small_rig()
    halves = [rig.expressions[rig.names.index(f"mouthSmile_{side}")] for side in "LR"]
    assert torch.equal(rig.expression("mouthSmile"), halves[0] + halves[1])


def test_a_whole_expression_is_taken_as_it_is() -> None:
    rig = small_rig()
    assert torch.equal(rig.expression("jawOpen"), rig.expressions[rig.names.index("jawOpen")])


def test_an_expression_that_begins_like_another_is_not_mixed_up_with_it() -> None:
    assert sides(("jaw", "jawOpen", "jaw_L_L"), "jaw") == [0]


def test_an_unknown_expression_is_named_in_the_error() -> None:
    with pytest.raises(InputError, match="earWiggle"):
        small_rig().expression("earWiggle")


def test_a_missing_rig_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rig"):
        Rig.load(tmp_path / "absent.npz")


def test_another_npz_file_is_no_rig(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", X=np.zeros(3))
    with pytest.raises(InputError, match="not a rig"):
        Rig.load(tmp_path / "other.npz")


def test_obj_files_become_offsets_from_the_neutral_head(head_folder: Path) -> None:
    head = HeadModel.load(head_folder / "FaceXModel")
    np.testing.assert_allclose(head.neutral, SQUARE)
    assert head.names == ("browDown_L", "jawOpen")
    np.testing.assert_allclose(head.expressions[1], np.tile([0, -1, 0], (4, 1)), atol=1e-6)
    np.testing.assert_allclose(head.identities[0], SQUARE, atol=1e-6)
    assert head.identities.shape == (2, 4, 3)


def test_polygons_are_cut_into_triangles_that_remember_their_polygon(head_folder: Path) -> None:
    head = HeadModel.load(head_folder / "FaceXModel")
    assert head.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 2, 3]]
    assert head.face_ids.tolist() == [0, 0, 1]


def test_the_repository_folder_will_do_as_well(head_folder: Path) -> None:
    assert HeadModel.load(head_folder).names == ("browDown_L", "jawOpen")


def test_obj_files_of_different_heads_are_refused(head_folder: Path) -> None:
    write_obj(head_folder / "FaceXModel" / "jawOpen.obj", SQUARE[:3])
    with pytest.raises(InputError, match="jawOpen"):
        HeadModel.load(head_folder)


def test_a_folder_without_a_head_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="FaceXModel"):
        HeadModel.load(tmp_path)
