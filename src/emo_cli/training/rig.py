"""The teacher's face: 468 mesh points, how each expression moves them, and how faces differ from each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from emo_cli.errors import InputError

NEUTRAL = "generic_neutral_mesh.obj"


def sides(names: tuple[str, ...], expression: str) -> list[int]:
    """Return the rows of `expression`: one where it is whole, two where a left and a right half exist.

    Raises:
        InputError: no such expression is in `names`.
    """
    rows = [row for row, name in enumerate(names) if name in (expression, f"{expression}_L", f"{expression}_R")]
    if not rows:
        raise InputError(f"The rig has no expression '{expression}'. Use a rig with the 53 ICT-FaceKit expressions.")
    return rows


@dataclass(frozen=True)
class Rig:
    """A face of 468 points in centimetres (x right, y up, z to the viewer) and the ways it can move and vary.

    Attributes:
        mean: (468, 3), the average face with closed lips.
        expressions: (53, 468, 3), offset of every point at full strength of each expression.
        identities: (100, 468, 3), offset at one standard deviation of each identity mode.
        bias: (468, 3), what a landmark finder adds to these points on average; subtract it from photos.
        names: the 53 expression names; halves end in `_L` (the face's own left, +x) and `_R`.
    """

    mean: torch.Tensor
    expressions: torch.Tensor
    identities: torch.Tensor
    bias: torch.Tensor
    names: tuple[str, ...]

    @staticmethod
    def load(path: Path | str) -> Rig:
        """Read a rig from an .npz file with the arrays X, B, I, bias and names.

        Raises:
            InputError: the file is missing, or is no rig.
        """
        arrays = _read_arrays(Path(path), ("X", "B", "I", "bias", "names"), "rig")
        mean, expressions, identities, bias = (_tensor(arrays[key]) for key in ("X", "B", "I", "bias"))
        return Rig(mean, expressions, identities, bias, tuple(str(name) for name in arrays["names"]))

    def save(self, path: Path | str) -> None:
        """Write the rig as an .npz file that `load` reads."""
        np.savez(
            path,
            X=self.mean.numpy(),
            B=self.expressions.numpy(),
            I=self.identities.numpy(),
            bias=self.bias.numpy(),
            names=np.array(self.names),
        )

    def expression(self, name: str) -> torch.Tensor:
        """Return the offsets (468, 3) of one expression, both halves together."""
        return self.expressions[sides(self.names, name)].sum(0)


@dataclass(frozen=True)
class HeadModel:
    """A whole head (ICT-FaceKit, light) from which a `Rig` is derived; centimetres.

    Attributes:
        neutral: (vertices, 3).
        expressions: (53, vertices, 3) offsets from neutral; identities: (100, vertices, 3) likewise.
        names: the expression names.
        triangles: (triangles, 3) vertex indices.
        face_ids: (triangles,) which polygon of the file each triangle came from; tells skin from teeth and eyes.
    """

    neutral: np.ndarray
    expressions: np.ndarray
    identities: np.ndarray
    names: tuple[str, ...]
    triangles: np.ndarray
    face_ids: np.ndarray

    @staticmethod
    def load(source: Path | str) -> HeadModel:
        """Read a head model from one .npz file, or from ICT-FaceKit's folder of OBJ files (about 20 s).

        Raises:
            InputError: the file or folder is missing, or is no head model.
        """
        if Path(source).is_dir():
            return _read_folder(Path(source))
        keys = ("neutral", "expressions", "identities", "names", "triangles", "face_ids")
        arrays = _read_arrays(Path(source), keys, "head model")
        neutral, expressions, identities = (arrays[key].astype(np.float32) for key in keys[:3])
        names = tuple(str(name) for name in arrays["names"])
        return HeadModel(neutral, expressions, identities, names, arrays["triangles"], arrays["face_ids"])


def _read_folder(folder: Path) -> HeadModel:
    """Read `generic_neutral_mesh.obj`, `identity000.obj` and so on, and an OBJ per expression, all of one topology."""
    if (folder / "FaceXModel").is_dir():
        folder = folder / "FaceXModel"
    files = sorted(folder.glob("*.obj"))
    neutral_file = folder / NEUTRAL
    identities = [file for file in files if file.stem.startswith("identity")]
    expressions = [file for file in files if file not in identities and file != neutral_file]
    if neutral_file not in files or not identities or not expressions:
        raise InputError(
            f"{folder} is not ICT-FaceKit's model folder: it needs {NEUTRAL}, identity and expression OBJ files. "
            "Give the folder FaceXModel of that repository."
        )
    neutral = _read_vertices(neutral_file)
    triangles, face_ids = _read_triangles(neutral_file)

    def offsets(chosen: list[Path]) -> np.ndarray:
        return np.stack([_matching(_read_vertices(file), neutral, file) - neutral for file in chosen])

    names = tuple(file.stem for file in expressions)
    return HeadModel(neutral, offsets(expressions), offsets(identities), names, triangles, face_ids)


def _read_vertices(path: Path) -> np.ndarray:
    with path.open() as file:
        return np.array([line.split()[1:4] for line in file if line.startswith("v ")], dtype=np.float32)


def _read_triangles(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Cut an OBJ file's polygons into fans: triangles (n, 3), and which polygon each came from (n,)."""
    with path.open() as file:
        polygons = [[int(corner.split("/")[0]) - 1 for corner in line.split()[1:]] for line in file if line[:2] == "f "]
    fans = [
        (polygon[0], polygon[k], polygon[k + 1], number)
        for number, polygon in enumerate(polygons)
        for k in range(1, len(polygon) - 1)
    ]
    table = np.array(fans, dtype=np.int32).reshape(-1, 4)
    return table[:, :3], table[:, 3]


def _matching(vertices: np.ndarray, neutral: np.ndarray, path: Path) -> np.ndarray:
    if vertices.shape != neutral.shape:
        raise InputError(
            f"{path} has {len(vertices)} vertices, {NEUTRAL} has {len(neutral)}. Use files of one ICT-FaceKit version."
        )
    return vertices


def _read_arrays(path: Path, keys: tuple[str, ...], kind: str) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"There is no {kind} at {path}. Give the path of its .npz file.")
    try:
        with np.load(path) as file:
            return {key: file[key] for key in keys}
    except (KeyError, ValueError, OSError) as cause:
        raise InputError(f"{path} is not a {kind} ({cause}). Derive it again from ICT-FaceKit.") from cause


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
