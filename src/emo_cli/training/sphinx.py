"""Reads CMU Sphinx's American English acoustic model from the package pocketsphinx, for the tables of `acoustics`.

The model is under a two-clause BSD licence; a model of ours that holds its tables carries its notice (NOTICE).
"""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emo_cli.errors import InputError
from emo_cli.sound.acoustics import CEPSTRA, GAUSSIANS, PHONES, STATES, PhoneEvidence

_STREAMS = 3
_LEAST_VARIANCE = 1e-4
_LOG_BASE = 1.0001
_WEIGHT_SHIFT = 1024  # weights are kept as -log / (1024 log 1.0001), one byte each


def fill(evidence: PhoneEvidence, folder: Path | None = None) -> None:
    """Put the model's tables into `evidence`, in place.

    folder: the model's files; those inside the package pocketsphinx if not given. Raises InputError where the package
    is missing or the files are not that model.
    """
    folder = _packaged() if folder is None else folder
    try:
        means, variances = (_gaussians((folder / name).read_bytes()) for name in ("means", "variances"))
        mixture = _mixture((folder / "sendump").read_bytes())
    except (OSError, ValueError, struct.error) as problem:
        raise InputError(
            f"{folder} does not hold pocketsphinx's American English model ({problem}). Install pocketsphinx again."
        ) from problem
    evidence.means.copy_(torch.from_numpy(means))
    evidence.precisions.copy_(torch.from_numpy(1 / np.maximum(variances, _LEAST_VARIANCE)))
    evidence.mixture.copy_(torch.from_numpy(mixture))


def _packaged() -> Path:
    found = importlib.util.find_spec("pocketsphinx")
    if found is None or found.origin is None:
        raise InputError("pocketsphinx is missing; `pip install pocketsphinx` brings its acoustic model.")
    return Path(found.origin).parent / "model" / "en-us" / "en-us"


def _gaussians(data: bytes) -> NDArray[np.float32]:
    """A file of means or variances (3, 42, 128, 13): text header, byte order, three sizes, widths, the numbers."""
    at = data.index(b"endhdr\n") + len(b"endhdr\n") + 4
    phones, streams, gaussians = struct.unpack_from("<3i", data, at)
    if (phones, streams, gaussians) != (PHONES, _STREAMS, GAUSSIANS):
        raise ValueError(f"{phones} phones, {streams} streams, {gaussians} Gaussians")
    at += 4 * (3 + streams + 1)
    values = np.frombuffer(data, "<f4", PHONES * _STREAMS * GAUSSIANS * CEPSTRA, at)
    return values.reshape(PHONES, _STREAMS, GAUSSIANS, CEPSTRA).transpose(1, 0, 2, 3).copy()


def _mixture(data: bytes) -> NDArray[np.float32]:
    """Weights (3, 42, 128, 3) of the phones without context, which come first in the file: three states each."""
    at = 0
    while (length := struct.unpack_from("<i", data, at)[0]) != 0:
        at += 4 + length
    at += 4
    gaussians, states = struct.unpack_from("<2i", data, at)
    if gaussians != GAUSSIANS or len(data) - at - 8 != _STREAMS * GAUSSIANS * states:
        raise ValueError("unknown layout of the weights")
    table = np.frombuffer(data, np.uint8, offset=at + 8).reshape(_STREAMS, GAUSSIANS, states)
    own = table[:, :, : PHONES * STATES].astype(np.float64).reshape(_STREAMS, GAUSSIANS, PHONES, STATES)
    return np.exp(-own * _WEIGHT_SHIFT * np.log(_LOG_BASE)).transpose(0, 2, 1, 3).astype(np.float32)
