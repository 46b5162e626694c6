"""The tests run in several processes, one thread each, and share there what costs time to make and is only read.

Threads of many processes would only fight for the cores.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from emo_cli.chart.codec import FlowCodec

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the bundled kind, small and untrained."""
    from tiny_model import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def codec() -> FlowCodec:
    """Mini's codec for the small rig."""
    import torch

    from emo_cli.face.landmarks import triangles
    from emo_cli.training.fitting import fit_codec
    from rig_fixture import small_rig

    return fit_codec(small_rig(), torch.from_numpy(triangles()))
