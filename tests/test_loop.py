"""The training loop: what it learns, how it continues, how processes share."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor, nn

from emo_cli.errors import InputError, ModelError
from emo_cli.training.journal import Journal
from emo_cli.training.loop import CHECKPOINT, Randomness, Schedule, run, take_over
from emo_cli.training.processes import share_gradients, share_out
from emo_cli.training.processes import whole as complete


def schedule(steps: int, **changes: Any) -> Schedule:
    return Schedule(steps=steps, rate=0.05, warmup=2, log_every=5, **changes)


class Line:
    """Fitting a line through noisy points: the smallest thing that learns."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(2, 1)

    def step(self, randomness: Randomness) -> dict[str, Tensor]:
        x = torch.randn(8, 2, generator=randomness.noise)
        shift = float(randomness.choice.normal()) * 0.01
        error = (self.network(x) - x.sum(1, keepdim=True) - shift).square().mean()
        return {"total": error, "error": error}

    def train(self, folder: Path, steps: int, **changes: Any) -> bool:
        plan = schedule(steps, **changes)
        return run(self.network, self.network.parameters(), self.step, plan, folder, 0, lambda line: None)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    assert Line().train(tmp_path, 100)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["error"] < 0.2 * lines[0]["error"]


def test_a_run_that_was_stopped_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    unbroken, stopped = Line(), Line()
    unbroken.train(tmp_path / "unbroken", 30)
    assert not stopped.train(tmp_path / "stopped", 30, minutes=0.0)
    resumed = Line()
    assert resumed.train(tmp_path / "stopped", 30)
    assert torch.equal(unbroken.network.weight, resumed.network.weight)


def test_a_finished_stage_is_only_loaded(tmp_path: Path) -> None:
    first, again = Line(), Line()
    first.train(tmp_path, 10)
    written = (tmp_path / CHECKPOINT).stat().st_mtime_ns
    again.train(tmp_path, 10)
    assert torch.equal(first.network.weight, again.network.weight)
    assert (tmp_path / CHECKPOINT).stat().st_mtime_ns == written


def test_the_result_is_the_average_of_the_weights_on_the_way(tmp_path: Path) -> None:
    line = Line()
    line.train(tmp_path, 20)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert torch.equal(line.network.weight, state["average"]["weight"])
    assert not torch.equal(line.network.weight, state["network"]["weight"])


def test_a_broken_checkpoint_is_reported_with_the_next_step(tmp_path: Path) -> None:
    torch.save({"step": 1}, tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match="another --out"):
        Line().train(tmp_path, 3)


def test_the_rate_rises_and_falls() -> None:
    plan = Schedule(steps=100, rate=1.0, warmup=10, floor=0.1)
    rates = [plan.rate_at(step) for step in range(101)]
    assert rates[0] < 0.2 and max(rates) > 0.9 and rates[100] == pytest.approx(0.1)


def test_what_the_user_did_not_ask_for_stays_as_the_preset_has_it() -> None:
    plan = Schedule(steps=100, rate=1.0)
    assert plan.asked(None, None, None) == plan
    asked = plan.asked(7, 0.5, 2.0)
    assert (asked.steps, asked.rate, asked.minutes, asked.warmup) == (7, 0.5, 2.0, plan.warmup)


def test_what_has_grown_since_begins_without_effect() -> None:
    torch.manual_seed(0)
    earlier, grown = nn.Linear(2, 1), nn.Linear(3, 2)
    take_over(grown, earlier)
    inputs = torch.randn(4, 3)
    with torch.no_grad():
        assert torch.equal(grown(inputs)[:, :1], earlier(inputs[:, :2]))
        assert (grown(inputs)[:, 1] == 0).all()


def _mean(rank: int) -> list[float]:
    """A gradient, rank by rank another, shared with the other process."""
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.full((3,), float(rank))
    share_gradients([weight])
    return weight.grad.tolist()


def _learn(folder: str) -> list[list[list[float]]]:
    """The same run twice: once every process keeps the whole network, once each keeps a part; the second is resumed."""
    whole, shared = Line(), Line()
    whole.train(Path(folder, "whole"), 6)
    for minutes in (0.0, None):
        shared = Line()
        share_out(shared.network, torch.device("cpu"))
        shared.train(Path(folder, "shared"), 6, minutes=minutes)
    with complete(shared.network):
        return [whole.network.weight.tolist(), shared.network.weight.tolist()]


def _work(rank: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {"mean": _mean(rank), "learned": _learn(folder)}
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes has found."""
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(_work, args=(str(folder),), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_two_processes_end_with_the_mean_of_their_gradients(two: list[dict[str, Any]]) -> None:
    assert [found["mean"] for found in two] == [[0.5] * 3] * 2


def test_a_network_shared_out_learns_the_same_as_copies_and_goes_on_after_a_stop(two: list[dict[str, Any]]) -> None:
    (whole, shared), other = (found["learned"] for found in two)
    assert torch.allclose(torch.tensor(whole), torch.tensor(shared), atol=1e-6)
    assert other == [whole, shared]


def test_gradients_of_some_batches_make_one_step(tmp_path: Path) -> None:
    one, several = Line(), Line()
    one.train(tmp_path / "one", 6)
    several.train(tmp_path / "several", 6, accumulate=3)
    state = torch.load(tmp_path / "several" / CHECKPOINT, weights_only=True)
    assert state["step"] == 6 and state["optimiser"]["state"][0]["step"] == 6
    assert not torch.equal(one.network.weight, several.network.weight)


def test_the_log_of_steps_that_are_made_again_is_taken_out(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 5, "total": 1}\n{"step": 10, "total": 1}\n{"step": 15, "to')
    Journal(tmp_path, 5, 5, lambda line: None, None)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [5]


def test_samples_show_the_averaged_network(tmp_path: Path) -> None:
    line, seen = Line(), []
    schedule_with_samples = schedule(4, samples_every=2)
    run(
        line.network, line.network.parameters(), line.step, schedule_with_samples, tmp_path, 0, lambda text: None,
        samples=lambda step: seen.append((step, line.network.weight.tolist())),
    )  # fmt: skip
    average = torch.load(tmp_path / CHECKPOINT, weights_only=True)["average"]["weight"]
    assert [step for step, _ in seen] == [2, 4] and seen[1][1] == average.tolist()


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    line = Line()
    line.network.weight.data.fill_(torch.nan)
    with pytest.raises(ModelError, match="step 1"):
        line.train(tmp_path, 3)
