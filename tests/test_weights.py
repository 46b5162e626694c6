"""From a model's name to its folder, what the shipped table says, and the sentences for names that lead nowhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from emo_cli import catalogue, weights
from emo_cli.errors import WeightsError
from emo_cli.family import FILE

TABLE = Path(__file__).parents[1] / "weights.toml"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4850000000\n"


def test_the_table_knows_every_family_and_variant() -> None:
    models = {model.name: model for model in catalogue.known_models()}
    fetched = ["echomimic", "echomimic-acc", "echomimic-pose", "echomimic-pose-acc", "hallo"]
    assert list(models) == ["mini", *fetched]
    assert [name for name, model in models.items() if model.bundled] == ["mini"]


def test_every_file_has_a_source_a_place_a_size_and_a_licence() -> None:
    for model in catalogue.known_models():
        assert model.summary and model.licences
        assert model.bundled or model.files
        for file in model.all_files():
            assert file.role and "/" in file.repository and file.megabytes > 0 and file.licence.text
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.revision == "main" or re.fullmatch("[0-9a-f]{40}", file.revision)


def test_variants_share_the_parts_that_are_the_same() -> None:
    standard, quick, pose = (catalogue.find(name) for name in ("echomimic", "echomimic-acc", "echomimic-pose"))
    assert {file.path for file in set(standard.files) - set(quick.files)} == {"denoising_unet.pth", "motion_module.pth"}
    assert {file.role for file in set(standard.files) & set(pose.files)} == {"sound encoder", "pixels and latents"}


def test_a_restricted_part_is_an_extra_and_not_fetched_by_default() -> None:
    hallo = catalogue.find("hallo")
    assert not any(file.licence.restricted for file in hallo.files)
    restricted = [file.licence for file in hallo.with_extras(("identity",)) if file.licence.restricted]
    assert [licence.name for licence in restricted] == ["insightface"]


def test_nothing_that_is_not_needed_is_needed() -> None:
    table = tomllib.loads(TABLE.read_text())
    needed = {(file["repository"], file["path"]) for file in table["files"].values()}
    unneeded = {(repository, path) for repository, files in table["not_needed"].items() for path in files}
    assert unneeded and not needed & unneeded
    assert {repository for repository, _ in unneeded} <= table["repositories"].keys()


def test_every_file_of_the_table_belongs_to_a_model() -> None:
    listed = {(file["repository"], file["path"]) for file in tomllib.loads(TABLE.read_text())["files"].values()}
    used = {(file.repository, file.path) for model in catalogue.known_models() for file in model.all_files()}
    assert used == listed


def test_a_place_that_leads_out_of_the_models_folder_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "weights.toml"
    table.write_text(TABLE.read_text().replace('place = "sd-vae-ft-mse/config.json"', 'place = "../config.json"'))
    with pytest.raises(WeightsError, match="leads out of the model's folder"):
        catalogue.known_models(table)


@pytest.mark.parametrize("text", ["[models\n", "[models.x]\n", "licences = 1\n"], ids=["no TOML", "half", "odd"])
def test_a_broken_table_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "weights.toml").write_text(text)
    with pytest.raises(WeightsError, match="cannot be read"):
        catalogue.known_models(tmp_path / "weights.toml")


def test_a_table_that_the_user_names_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.toml").write_text(TABLE.read_text().replace("[models.hallo", "[models.salve"))
    monkeypatch.setenv(catalogue.TABLE, str(tmp_path / "own.toml"))
    assert catalogue.find("salve").files


@pytest.mark.parametrize(
    ("size", "text"), [(12, "12 bytes"), (9_500, "9.5 kB"), (335e6, "335 MB"), (8.86e9, "8.9 GB"), (34e9, "34 GB")]
)
def test_sizes_are_told_in_two_or_three_digits(size: float, text: str) -> None:
    assert catalogue.readable(size) == text


def test_an_unknown_name_is_told_which_models_there_are() -> None:
    with pytest.raises(WeightsError, match="no model called 'big'.*one of: mini, echomimic"):
        weights.locate("big")


def test_a_model_that_was_not_fetched_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "home", lambda: tmp_path)
    with pytest.raises(WeightsError, match="not on this machine .about 5.6 GB.*`emo weights get hallo`.*--download"):
        weights.locate("hallo")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"holds no model: it has neither a {re.escape(FILE)} nor published weights"):
        weights.locate(str(tmp_path))


def test_a_folder_with_a_pipeline_is_taken(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}")
    assert weights.locate(str(tmp_path)) == tmp_path


def test_a_folder_with_published_weights_is_taken(tmp_path: Path) -> None:
    (tmp_path / "hallo").mkdir()
    (tmp_path / "hallo" / "net.pth").write_bytes(b"weights")
    assert weights.locate(str(tmp_path)) == tmp_path


def test_a_clone_without_git_lfs_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "hallo").mkdir()
    (tmp_path / "hallo" / "net.pth").write_text(POINTER)
    with pytest.raises(WeightsError, match=r"net\.pth is a Git LFS pointer, not the weights.*`git lfs pull`"):
        weights.locate(str(tmp_path))


def test_the_bundled_model_cannot_be_removed() -> None:
    with pytest.raises(WeightsError, match="mini is part of emo itself"):
        weights.remove(catalogue.find("mini"))


def test_what_was_not_fetched_cannot_be_removed_or_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "home", lambda: tmp_path)
    with pytest.raises(WeightsError, match="hallo is not on this machine, so there is nothing to remove"):
        weights.remove(catalogue.find("hallo"))
    with pytest.raises(WeightsError, match="hallo was not fetched, so there is nothing to check"):
        weights.find_fetched(("hallo",))


def test_a_broken_lock_counts_as_nothing_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "home", lambda: tmp_path)
    (tmp_path / "hallo").mkdir()
    (tmp_path / "hallo" / weights.LOCK).write_text("{")
    assert weights.status(catalogue.find("hallo")).state == "not fetched"


def test_the_bundled_model_is_there_and_at_most_30_megabytes() -> None:
    files = [path for path in weights.locate("mini").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) <= 30e6
