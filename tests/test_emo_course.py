"""Training on real video from clips to a folder that animates: resumed, shared, refused, and whether it learns."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import emo_cli
from emo_cli import footage
from emo_cli.errors import UsageError
from emo_cli.family import Family
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings
from emo_cli.training.emo.course import CourseOptions, placement, train
from emo_cli.training.emo.hearing import Hearing
from emo_cli.training.emo.material import Look, Material, clips_of
from emo_cli.training.emo.presets import PRESETS, Sources, seeded
from emo_cli.training.emo.samples import animated
from emo_cli.training.emo.stages import STAGES
from emo_process import begin, emo, surroundings
from made_clips import write_clips

EXAMPLES = Path(__file__).parents[1] / "examples"


def quiet(line: str) -> None:
    """A printer that prints nothing."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder, count=3, frames=24)
    return folder


def weights(model: Path) -> dict[str, torch.Tensor]:
    """All numbers of a model folder."""
    files = sorted(model.glob("*/model.safetensors"))
    return {f"{file.parent.name}.{name}": value for file in files for name, value in load_file(file).items()}


def test_a_run_that_was_stopped_ends_as_an_unbroken_one_bit_for_bit(data: Path, tmp_path: Path) -> None:
    whole = CourseOptions(data, tmp_path / "whole", stage="video", steps=3, batch=1, workers=0, samples=0)
    broken = replace(whole, out=tmp_path / "broken", workers=1)
    unbroken = weights(train(whole, quiet))
    train(replace(broken, minutes=0.0), quiet)
    assert json.loads((tmp_path / "broken" / "video" / "finished.json").read_text()) == {"steps": 0}
    resumed = weights(train(broken, quiet))
    assert unbroken.keys() == resumed.keys() and all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    untrained = seeded(PRESETS["emo-tiny"], Sources(), 0).backbone.state_dict()
    assert not torch.equal(untrained["conv_in.weight"], unbroken["backbone.conv_in.weight"])


def errors(pipeline: EmoPipeline, data: Path, folder: Path) -> np.ndarray:
    """Mean square error (clips made, clips true) of animated clips, in 0..255 squared."""
    look = Look(pipeline.family.with_changes(window=16, motion_frames=0), False, 0.0)
    material = Material(data, clips_of(data), look, STAGES[1], Hearing(data, pipeline.sound_encoder, folder))
    shots = [material.at(clip, 0, 12) for clip in material.clips]
    quick = Settings(steps=3, guidance=1.0)
    made = [np.stack(animated(pipeline, shot, quick)).astype(float) for shot in shots]
    true = [shot.frames[0].permute(0, 2, 3, 1).numpy().astype(float) for shot in shots]
    return np.array([[np.square(one - other).mean() for other in true] for one in made])


@pytest.mark.slow
def test_an_untrained_model_learns_three_clips_by_heart(data: Path, tmp_path: Path) -> None:
    options = CourseOptions(data, tmp_path, workers=0, samples=0, rate=5e-3)
    train(replace(options, stage="image", steps=60, batch=3), quiet)
    model = train(replace(options, stage="video", steps=2, batch=1), quiet)
    before = errors(seeded(PRESETS["emo-tiny"], Sources(), 0), data, tmp_path)
    after = errors(EmoPipeline.from_pretrained(model), data, tmp_path)
    assert (np.diag(after) < 0.8 * np.diag(before)).all() and np.trace(after) < 0.55 * np.trace(before)
    others = (after.sum() - np.trace(after)) / 2  # each made clip beside what the other two show
    assert np.trace(after) < 0.5 * others


def test_the_speed_stage_makes_the_head_speed_a_control(data: Path, tmp_path: Path) -> None:
    begin = tmp_path / "begin"
    seeded(PRESETS["emo-tiny"], Sources(), 0).save_pretrained(begin)
    options = CourseOptions(data, tmp_path, preset="tune", sources=Sources(start=str(begin)), steps=1, batch=1)
    model = train(replace(options, stage="speed", workers=0), quiet)
    family, before, after = Family.load(model), weights(begin), weights(model)
    assert "speed" in family.controls and family.speed[0] == pytest.approx(0.2 / 0.3, abs=1e-3)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(".motion_modules." in name for name in changed)
    assert {name.split(".")[0] for name in after.keys() - before.keys()} == {"speed_layers"}


def test_what_goes_wrong_is_said_with_the_next_step(data: Path, tmp_path: Path) -> None:
    options = CourseOptions(data, tmp_path / "out", steps=1)
    for changes, words in (
        ({"preset": "huge"}, "Choose one of"),
        ({"preset": "emo"}, "--base"),
        ({"stage": "smelling"}, "no stage smelling"),
        ({"accumulate": 3}, "multiple of 3"),
        ({"size": 100}, "multiple of 64"),
        ({"dtype": "float16", "device": "cpu"}, "bfloat16"),
    ):
        with pytest.raises(Exception, match=words) as raised:
            train(replace(options, **changes), quiet)
        assert isinstance(raised.value, emo_cli.EmoError), changes


def test_a_launcher_chooses_device_and_precision_where_the_user_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert placement("auto", "auto") == (torch.device("cpu"), torch.bfloat16)
    assert placement("cpu", "float32") == (torch.device("cpu"), torch.float32)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(Exception, match="bfloat16"):
        placement("auto", "auto")


def test_a_model_of_another_kind_cannot_be_tuned(data: Path, tmp_path: Path) -> None:
    options = CourseOptions(data, tmp_path / "out", preset="tune", sources=Sources(start="mini"), steps=1)
    with pytest.raises(UsageError, match="not of EMO's kind"):
        train(options, quiet)


def free_port() -> int:
    """A port that nobody uses just now."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


ONE_STEP = shlex.split("--preset emo-tiny --out run --stage image --steps 1 --batch 2 --samples 1 --device cpu")


def made_by_two(folder: Path, said: str, each_keeps_a_part: bool) -> None:
    """Look at what two processes have made."""
    assert said.count("run/image/model") == 2  # told once: the folder, and how to try it
    parts = [(folder / "run" / "image" / name).stat().st_size for name in ("checkpoint.pt", "checkpoint-1.pt")]
    assert (parts[1] > 0.5 * parts[0]) == each_keeps_a_part
    assert EmoPipeline.from_pretrained(folder / "run" / "image" / "model").family.name == "emo-tiny"
    assert (folder / "run" / "image" / "samples" / "000001.png").exists()


def test_two_processes_that_know_of_each_other_make_one_model(data: Path, tmp_path: Path) -> None:
    """What torchrun and `accelerate launch --multi_gpu` tell the processes that they start."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    group["ACCELERATE_MIXED_PRECISION"] = "bf16"
    both = [
        begin(
            "train", "--data", data, *ONE_STEP,
            folder=tmp_path, environment=surroundings(RANK=rank, LOCAL_RANK=rank, **group),
        )
        for rank in "01"
    ]  # fmt: skip
    told = [running.end() for running in both]
    assert [said.code for said in told] == [0, 0], told
    made_by_two(tmp_path, told[0].out + told[1].out, each_keeps_a_part=False)


@pytest.mark.slow
def test_two_processes_of_a_launcher_share_a_network_out(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    launcher = shlex.split("-m accelerate.commands.launch --use_fsdp --num_processes 2 --num_machines 1")
    launcher += shlex.split("--mixed_precision bf16 --dynamo_backend no --num_cpu_threads_per_process 1")
    launcher += ["--main_process_port", str(free_port()), "-m", "emo_cli", "train", "--data", str(data), *ONE_STEP]
    done = subprocess.run(
        [sys.executable, *launcher], cwd=tmp_path, env=surroundings(), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made_by_two(tmp_path, done.stdout, each_keeps_a_part=True)


@pytest.mark.slow
def test_three_stages_make_a_folder_that_animates(data: Path, tmp_path: Path) -> None:
    options = shlex.split("--preset emo-tiny --out run --steps 1 --batch 1 --samples 1 --workers 1")
    said = emo("train", "--data", data, *options, folder=tmp_path)
    assert said.code == 0, said.err
    assert said.out.startswith(f"{Path('run/speed/model')}: try it with `emo animate")
    for stage in ("image", "video", "speed"):
        assert list((tmp_path / "run" / stage / "samples").iterdir())
    wishes = shlex.split("--model run/speed/model --duration 0.6 --steps 2 --speed 2 --region 1.5 -o said.mp4")
    said = emo("animate", EXAMPLES / "portrait.jpg", EXAMPLES / "song.wav", *wishes, folder=tmp_path)
    assert said.code == 0, said.err
    assert "no control" not in said.err
    made = footage.probe(tmp_path / "said.mp4")
    assert (made.frames, made.width, made.fps) == (15, 64, 25.0)
