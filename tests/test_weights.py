"""From a model's name to its folder, and the sentences for names that lead nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emo_cli import weights
from emo_cli.errors import WeightsError
from emo_cli.family import FILE


def test_the_table_knows_mini_and_the_planned_families() -> None:
    models = {model.name: model for model in weights.known_models()}
    assert list(models) == ["mini", "echomimic", "echomimic-acc", "hallo"]
    assert models["mini"].bundled and models["mini"].runnable


def test_every_planned_model_says_where_its_files_are_and_their_licence() -> None:
    planned = [model for model in weights.known_models() if not model.runnable]
    for model in planned:
        assert model.licence and model.repository and model.parts
        assert all(part.role and part.repository for part in model.parts)
        assert all(re.fullmatch("[0-9a-f]{64}", part.sha256) for part in model.parts if part.sha256)


def test_a_planned_model_is_refused_by_name() -> None:
    with pytest.raises(WeightsError, match="hallo is planned.*--model mini"):
        weights.locate("hallo")


def test_an_unknown_name_is_told_which_models_there_are() -> None:
    with pytest.raises(WeightsError, match="no model called 'big'.*one of: mini"):
        weights.locate("big")


def test_a_folder_without_a_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=re.escape(FILE)):
        weights.locate(str(tmp_path))


def test_a_folder_with_a_pipeline_is_taken(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}")
    assert weights.locate(str(tmp_path)) == tmp_path


def test_a_broken_table_is_told(tmp_path: Path) -> None:
    table = tmp_path / "weights.toml"
    table.write_text("[mini\n")
    with pytest.raises(WeightsError, match="cannot be read"):
        weights.known_models(table)


def test_the_bundled_model_is_there_and_at_most_30_megabytes() -> None:
    files = [path for path in weights.locate("mini").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) <= 30e6
