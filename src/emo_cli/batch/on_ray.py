"""A batch on a Ray cluster: one actor for each graphics card, or for each machine without one; the extra `ray`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from emo_cli import device
from emo_cli.batch.crew import PAUSE, Round
from emo_cli.batch.jobs import Job
from emo_cli.batch.maker import Hear, Maker, Orders
from emo_cli.errors import DeviceError, UsageError


class Actor:
    """A Maker that lives on some machine of the cluster; all see the batch's folders under the same names."""

    def __init__(self, orders: Orders, place: str) -> None:
        self._maker = Maker(orders, place)

    def make(self, job: Job) -> tuple[Any, list[str]]:
        """The job's record, None if another process has it, and the warnings."""
        ear = _Ear()
        return self._maker.make(job, ear), ear.sentences


class _Ear:
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def frame(self, job: Job, done: int, total: int) -> None: ...

    def warn(self, job: Job, sentence: str) -> None:
        self.sentences.append(sentence)


def on_cluster(work: Round, orders: Orders, hear: Hear, address: str | None, workers: int | None, place: str) -> None:
    """Do all jobs with the actors of a cluster; without an address one is started on this machine."""
    with _connected(address) as ray:
        from ray.exceptions import RayActorError

        cards = int(ray.cluster_resources().get("GPU", 0)) if device.leaves_cards_open(place) else 0
        machines = sum(node["Alive"] for node in ray.nodes())
        needs = {"num_gpus": 1, "num_cpus": 0} if cards else {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        kind = ray.remote(**needs)(Actor)
        chosen = device.ANY_CARD if cards else place

        def hired() -> Any:
            return kind.remote(orders, chosen)

        idle = [hired() for _ in range(workers or cards or machines)]
        busy: dict[Any, tuple[Any, Job]] = {}
        while not work.over or busy:
            while idle and (job := work.take()) is not None:
                actor = idle.pop()
                busy[actor.make.remote(job)] = (actor, job)
            ready, _ = ray.wait(list(busy), timeout=PAUSE / 4) if busy else ([], [])
            for finished in ready:
                actor, job = busy.pop(finished)
                try:
                    record, sentences = ray.get(finished)
                except RayActorError as error:
                    work.died(job, type(error).__name__)
                    actor = hired()
                else:
                    for sentence in sentences:
                        hear.warn(job, sentence)
                    work.settle(job, record)
                idle.append(actor)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    try:
        import ray
    except ImportError as error:
        raise UsageError("--executor ray needs Ray. Run `pip install 'emo-cli[ray]'`.") from error
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise DeviceError(f"No Ray cluster can be reached at {address or 'this machine'} ({error}).") from error
    try:
        yield ray
    finally:
        ray.shutdown()
