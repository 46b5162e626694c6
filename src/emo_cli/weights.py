"""From a model's name to the folder with its weights.

The known models are the rows of `weights.toml`; a folder on disk that holds a saved pipeline is a model too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_cli.errors import WeightsError
from emo_cli.family import FILE

PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """One file of a model, and what it is for."""

    file: str
    role: str
    repository: str
    sha256: str | None


@dataclass(frozen=True)
class Model:
    """One row of weights.toml: what a name stands for, where its files come from, and under which licence."""

    name: str
    summary: str
    licence: str
    bundled: bool
    runnable: bool
    repository: str | None
    parts: tuple[Part, ...]

    @property
    def folder(self) -> Path:
        """Where a bundled model lies in the package."""
        return PACKAGE / self.name


def _table() -> Path:
    """The packaged table; in a source checkout the one at the project's root."""
    packaged = PACKAGE / "weights.toml"
    return packaged if packaged.is_file() else PACKAGE.parents[1] / "weights.toml"


def known_models(table: Path | None = None) -> tuple[Model, ...]:
    """Every model of weights.toml, in its order.

    Raises WeightsError if the table is not there or says nothing readable.
    """
    path = table or _table()
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(_model(name, row) for name, row in rows.items())
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise WeightsError(f"The table {path} cannot be read ({error}). Install emo again.") from error


def _model(name: str, row: Mapping[str, Any]) -> Model:
    repository = row.get("repository")
    parts = tuple(
        Part(part["file"], part["role"], part.get("repository", repository), part.get("sha256"))
        for part in row.get("parts", ())
    )
    return Model(name, row["summary"], row["licence"], row["bundled"], row["runnable"], repository, parts)


def locate(name: str) -> Path:
    """The folder of a model that can be run: a name from weights.toml, or the path of a saved pipeline.

    Raises WeightsError when there is no such model, when it cannot be run yet, or when its files are missing.
    """
    models = {model.name: model for model in known_models()}
    if name in models:
        return _folder_of(models[name])
    path = Path(name).expanduser()
    if not path.is_dir():
        runnable = ", ".join(model.name for model in models.values() if model.runnable)
        raise WeightsError(
            f"There is no model called {name!r}. Give the path of a model folder, or one of: {runnable}."
        )
    if not (path / FILE).is_file():
        raise WeightsError(
            f"{path} holds no model: it has no {FILE}. "
            "Give the folder that `emo train` or save_pretrained wrote."
        )
    return path


def _folder_of(model: Model) -> Path:
    if not model.runnable:
        raise WeightsError(f"{model.name} is planned; this version of emo cannot run it. Use --model mini.")
    if not (model.folder / FILE).is_file():
        raise WeightsError(
            f"The files of {model.name} are missing from {model.folder}. Install emo again, "
            "or give the folder of another model with --model."
        )
    return model.folder
