"""A batch on a Ray cluster: two machines, played by this one."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from batch_bench import QUICK, batch, leftovers, people, videos
from emo_process import surroundings
from tiny_model import save_tiny_model

RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not RAY, reason="Ray is not installed: `pip install '.[ray]'` brings it")
EAGER = {"RAY_worker_niceness": "0"}  # Ray's workers give way to all others, so beside other tests they get nowhere
# The command's own entry, behind a cluster of two machines with one processor each.
ON_TWO = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
sys.argv = ["emo", *sys.argv[1:], "--executor", "ray", "--address", cluster.address]
from emo_cli.cli.app import main
try:
    main()
finally:
    cluster.shutdown()
"""


@needs_ray
@pytest.mark.slow
def test_two_machines_make_the_videos_of_one(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    folder = people(tmp_path / "in", ["anna", "ben", "carla", "dora"], 0.3)
    (folder / "dora.jpg").write_bytes(b"no picture")
    words = ["batch", folder, "--model", model, *QUICK, "--device", "cpu", "--json", "-o", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO, *map(str, words)],
        capture_output=True, text=True, env=surroundings(**EAGER), timeout=300, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 8, done.stderr
    told = sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda record: record["number"])
    assert [record["status"] for record in told] == ["done", "done", "done", "failed"]
    assert (told[3]["exit_code"], told[3]["kind"]) == (3, "InputError")
    assert leftovers(tmp_path / "out") == []
    assert batch(*words[1:-1], tmp_path / "here").code == 8
    assert videos(tmp_path / "out") == videos(tmp_path / "here")


@pytest.mark.skipif(RAY, reason="Ray is installed")
def test_without_ray_a_sentence_tells_how_to_get_it(tmp_path: Path) -> None:
    folder = people(tmp_path / "in", ["anna"], 0.2)
    said = batch(folder, "-o", tmp_path / "out", "--executor", "ray", "--quiet")
    assert (said.code, said.err) == (2, "emo: --executor ray needs Ray. Run `pip install 'emo-cli[ray]'`.\n")
