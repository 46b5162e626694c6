"""Make training clips of videos of people talking: several sources at a time, going on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch

from emo_cli import device, footage, orphans
from emo_cli.dataset.agreement import bundled_hearing
from emo_cli.dataset.choosing import choose, dropped_gap
from emo_cli.dataset.cutting import cut
from emo_cli.dataset.following import FaceWatch
from emo_cli.dataset.limits import Limits
from emo_cli.dataset.manifest import DroppedClip, TrainingClip, track_of, write_manifest, write_track
from emo_cli.dataset.soundtrack import Soundtrack
from emo_cli.dataset.sources import ClipFolder, Outcome, Source, combined, find_sources
from emo_cli.dataset.survey import Gap, survey
from emo_cli.errors import InputError, ModelError
from emo_cli.face import FaceFinder
from emo_cli.footage import Frame

Progress = Callable[[int, int, str], None]
"""Sources that are finished, sources in all, and what the last one gave."""

_LISTED_EVERY = 5.0  # seconds between two writings of the manifest while the work goes on


def prepare(
    videos: Sequence[Path], data: Path, limits: Limits | None = None, workers: int = 1,
    progress: Progress = lambda done, total, told: None,
) -> Outcome:  # fmt: skip
    """Prepare videos, and all in the folders that are named, into the folder `data` (EMO, section 4.1, supplement B).

    Sources that an earlier run finished are taken as they are. workers: processes, one source each; 0 works in this
    one. The manifest is there from the first finished source on, and always whole. A file that cannot be read is told
    in dropped.jsonl and stops nothing. Raises InputError, OutputError, UsageError.
    """
    limits = limits or Limits()
    sources, folder = find_sources(videos), ClipFolder(data)
    folder.open(limits)
    outcomes = {source: outcome for source in sources if (outcome := folder.outcome(source))}
    todo = [source for source in sources if source not in outcomes]
    listed = -_LISTED_EVERY
    for source, outcome in _worked(todo, data, limits, workers):
        outcomes[source] = outcome
        progress(len(outcomes), len(sources), f"{source.path.name}: {_told(outcome)}")
        if time.monotonic() - listed > _LISTED_EVERY:
            _list(folder, sources, outcomes)
            listed = time.monotonic()
    return _list(folder, sources, outcomes)


def _list(folder: ClipFolder, sources: Sequence[Source], outcomes: dict[Source, Outcome]) -> Outcome:
    """Write the two lists of what is finished, earlier runs with other videos included."""
    found = combined([*folder.others(sources), *(outcomes[source] for source in sources if source in outcomes)])
    write_manifest(folder.data, found.clips, found.dropped)
    return found


def _told(outcome: Outcome) -> str:
    return f"{len(outcome.clips)} clips, {sum(clip.seconds for clip in outcome.clips):.0f} s"


def _worked(todo: Sequence[Source], data: Path, limits: Limits, workers: int) -> Iterator[tuple[Source, Outcome]]:
    """Each source with its outcome, as they are finished."""
    if workers == 0:
        with device.one_thread():
            for source in todo:
                yield source, prepare_source(source, data, limits)
        return
    fresh = get_context("spawn")
    with ProcessPoolExecutor(min(workers, max(1, len(todo))), fresh, _begin) as pool:
        running = {pool.submit(prepare_source, source, data, limits): source for source in todo}
        try:
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield running.pop(future), future.result()
        except BrokenProcessPool as broken:
            raise ModelError("A worker was killed, probably for memory. Run it again with fewer --workers.") from broken
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def prepare_source(source: Source, data: Path, limits: Limits) -> Outcome:
    """One video, in two passes: look at all of it, then cut. Its outcome is kept when its clips are all there."""
    folder = ClipFolder(data)
    work = folder.fresh_work(source)
    try:
        outcome = _made(source, work, data, limits)
    except InputError as error:
        outcome = Outcome((), (DroppedClip(str(source.path), 0.0, 0.0, "unreadable", str(error)),))
    finally:
        folder.remove(work)
    folder.finish(source, outcome)
    return outcome


def _made(source: Source, work: Path, data: Path, limits: Limits) -> Outcome:
    sound = Soundtrack.decode(source.path, work)
    planned: list[TrainingClip] = []
    dropped: list[DroppedClip] = []
    for number, part in enumerate(survey(_frames(source, limits), limits, FaceWatch(_finder(), limits.fps)), start=1):
        if isinstance(part, Gap):
            dropped.append(dropped_gap(part, str(source.path), limits))
            continue
        name = f"{source.name}-{number:04d}"
        chosen = choose(part, name, str(source.path), limits, sound.waveform, bundled_hearing())
        if isinstance(chosen, DroppedClip):
            dropped.append(chosen)
        else:
            write_track(track_of(data, chosen.clip), chosen.track)
            planned.append(chosen.clip)
    results = list(cut(_frames(source, limits), planned, data, limits, sound)) if planned else []
    dropped += [result for result in results if isinstance(result, DroppedClip)]
    clips = tuple(result for result in results if isinstance(result, TrainingClip))
    return Outcome(clips, tuple(sorted(dropped, key=lambda row: row.start)))


def _frames(source: Source, limits: Limits) -> Iterator[Frame]:
    return footage.read(source.path, limits.fps, from_zero=True)


def _begin() -> None:
    """In a worker: one thread for the numbers, and no life beyond the command's."""
    torch.set_num_threads(1)
    orphans.end_with_parent()


@cache
def _finder() -> FaceFinder:
    """One per process."""
    return FaceFinder()
