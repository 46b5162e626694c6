"""What `weights.toml` says: every known model, the files it needs, where they come from, under which licence."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_cli.errors import WeightsError

PACKAGE = Path(__file__).parent
TABLE = "EMO_WEIGHTS"  # the environment variable that names another table


@dataclass(frozen=True)
class Licence:
    """What the authors of some weights allow. restricted: the user must accept it before they are fetched."""

    name: str
    text: str
    address: str | None = None
    restricted: bool = False


@dataclass(frozen=True)
class File:
    """One file of a model: `path` in a Hub repository at a revision, `place` in the model's folder.

    megabytes: about, for telling sizes before the Hub is asked. sha256: None until it is learned.
    """

    role: str
    repository: str
    revision: str
    path: str
    place: str
    megabytes: float
    sha256: str | None
    licence: Licence


@dataclass(frozen=True)
class Extra:
    """Files that make a model better, fetched only on request."""

    name: str
    summary: str
    files: tuple[File, ...]


@dataclass(frozen=True)
class Model:
    """What a name stands for. bundled: its files lie in the package, so none are listed."""

    name: str
    summary: str
    bundled: bool
    licences: tuple[Licence, ...]
    files: tuple[File, ...]
    extras: tuple[Extra, ...]

    @property
    def size(self) -> float:
        """About how many bytes `emo weights get` fetches."""
        return sum(file.megabytes for file in self.files) * 1e6

    def all_files(self) -> tuple[File, ...]:
        """The needed files and those of every extra."""
        return (*self.files, *(file for extra in self.extras for file in extra.files))

    def with_extras(self, names: tuple[str, ...]) -> tuple[File, ...]:
        """The needed files and those of the named extras; WeightsError for an extra that is not there."""
        known = {extra.name: extra for extra in self.extras}
        for name in names:
            if name not in known:
                there = f"It has {', '.join(known)}." if known else "It has none."
                raise WeightsError(f"{self.name} has no extra called {name!r}. {there}")
        return (*self.files, *(file for name in names for file in known[name].files))


def readable(size: float) -> str:
    """A number of bytes for people: 8.9 GB, 335 MB, 12 kB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}" if size < 10 * factor else f"{size / factor:.0f} {unit}"
    return f"{size:.0f} bytes"


def _table() -> Path:
    """The table that the user names, else the packaged one, else (source checkout) that at the project's root."""
    if named := os.environ.get(TABLE):
        return Path(named)
    packaged = PACKAGE / "weights.toml"
    return packaged if packaged.is_file() else PACKAGE.parents[1] / "weights.toml"


def known_models(table: Path | None = None) -> tuple[Model, ...]:
    """Every model of weights.toml, in its order.

    Raises WeightsError if the table is not there or says nothing readable.
    """
    path = table or _table()
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
        licences = {name: Licence(name, **row) for name, row in rows["licences"].items()}
        files = {
            name: _file(row, rows["repositories"][row["repository"]], licences)
            for name, row in rows.get("files", {}).items()
        }
        return tuple(_model(name, row, files, licences) for name, row in rows["models"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = f"the environment variable {TABLE} names it" if os.environ.get(TABLE) else "install emo again"
        raise WeightsError(f"The table of models {path} cannot be read ({error}); {cause}.") from error


def find(name: str) -> Model:
    """The model of a name; WeightsError, with the names there are, if it is not known."""
    models = {model.name: model for model in known_models()}
    if name not in models:
        raise WeightsError(f"There is no model called {name!r}. Choose one of: {', '.join(models)}.")
    return models[name]


def _file(row: Mapping[str, Any], repository: Mapping[str, Any], licences: Mapping[str, Licence]) -> File:
    place = row.get("place", row["path"])
    if Path(place).is_absolute() or ".." in Path(place).parts:
        raise ValueError(f"{place} leads out of the model's folder")
    return File(
        role=row["role"],
        repository=row["repository"],
        revision=repository["revision"],
        path=row["path"],
        place=place,
        megabytes=row["megabytes"],
        sha256=row.get("sha256"),
        licence=licences[row.get("licence", repository["licence"])],
    )


def _model(
    name: str, row: Mapping[str, Any], files: Mapping[str, File], licences: Mapping[str, Licence]
) -> Model:
    needed = tuple(files[key] for key in row.get("files", ()))
    extras = tuple(
        Extra(extra, facts["summary"], tuple(files[key] for key in facts["files"]))
        for extra, facts in row.get("extras", {}).items()
    )
    stated = (licences[key] for key in row.get("licences", ()))
    found = dict.fromkeys((*stated, *(file.licence for file in needed)))
    return Model(name, row["summary"], row.get("bundled", False), tuple(found), needed, extras)
