"""The spoken corpus: synthetic speech in many voices with the mouth movement that belongs to it, kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from emo_cli import device, scratch
from emo_cli.errors import InputError
from emo_cli.sound.mel import log_mel, normalise
from emo_cli.sound.resampler import RATE as SAMPLE_RATE
from emo_cli.training.articulation import RATE, Articulation, curves, loudness_of
from emo_cli.training.phones import Phone, shifted
from emo_cli.training.recordings import Recording, record, without_speech
from emo_cli.training.singing import sing
from emo_cli.training.voices import InstalledSpeakers, Speakers, Spoken

VOICELESS = "none"

_UNSEEN_SHARE = 0.06
_VALIDATION_SHARE = 0.05
_VOICELESS_SHARE = 0.06
_SUNG_SHARE = 0.85  # of what is spoken slowly and evenly
_EVEN_ROW = 2 * SAMPLE_RATE // RATE  # samples; two rows of mel make one row of features


@dataclass(frozen=True)
class Utterance:
    """One recording at 100 rows per second, time being even.

    mel: (time, 64) float16, normalised log mel of the disturbed sound; curves: (time, 10) float16; labels: (time,)
    int8, indices into PHONES; loudness: (time,) float16 of the clean voice, 0..1.4; voice: "program:name", or
    "none" where nobody speaks; split: "train", "validation" or "unseen voices"; held_out: not for training.
    """

    mel: NDArray[np.float16]
    curves: NDArray[np.float16]
    labels: NDArray[np.int8]
    loudness: NDArray[np.float16]
    voice: str
    split: str

    @property
    def held_out(self) -> bool:
        return self.split != "train"

    @property
    def articulation(self) -> Articulation:
        """The same movement as articulation.curves gives it."""
        return Articulation(
            self.curves.astype(np.float32), self.labels.astype(np.int64), self.loudness.astype(np.float32)
        )


def write_corpus(
    folder: Path,
    minutes: float,
    seed: int = 0,
    workers: int = 1,
    speakers: Callable[[], Speakers] = InstalledSpeakers,
    shard_minutes: float = 10.0,
) -> int:
    """Speaks `minutes` of recordings into shards of about `shard_minutes`; returns how many shards there are.

    Shards that exist already are kept, so an interrupted run goes on where it stopped. Each shard is spoken by a
    process of its own, `workers` of them at a time: espeak-ng carries the state of its oscillators from one text to
    the next, and only a fresh process makes a shard depend on nothing but the seed and its number. With 0 workers
    everything is spoken in this process. Threads add up sums in another order, so each process uses one. `speakers`
    must be importable by name unless workers is 0. Raises OutputError.
    """
    scratch.make_folder(folder)
    count = max(1, round(minutes / shard_minutes))
    todo = [index for index in range(count) if not _shard(folder, index).exists()]
    write = partial(_write_shard, folder, minutes / count, seed, speakers)
    if workers == 0:
        with device.one_thread():
            for index in todo:
                write(index)
    elif todo:
        fresh = get_context("spawn")
        with ProcessPoolExecutor(workers, fresh, torch.set_num_threads, (1,), max_tasks_per_child=1) as pool:
            list(pool.map(write, todo))
    return count


def load(folder: Path, split: Literal["train", "validation", "unseen voices"]) -> list[Utterance]:
    """Every utterance of one split, in a fixed order.

    Raises InputError where the folder holds no corpus.
    """
    shards = sorted(folder.glob("shard-????.npz"))
    if not shards:
        raise InputError(f"{folder} holds no speech corpus; make one with `emo dataset synthesise`.")
    return [utterance for shard in shards for utterance in _read_shard(shard) if utterance.split == split]


def make_utterance(speakers: Speakers, rng: np.random.Generator) -> Utterance:
    """One random recording: one or two texts with silence around and between them, or no speech at all."""
    share = rng.random()
    split = "train"
    if share < _UNSEEN_SHARE + _VALIDATION_SHARE:
        split = "unseen voices" if share < _UNSEEN_SHARE else "validation"
    if split != "unseen voices" and rng.random() < _VOICELESS_SHARE:
        return _utterance(without_speech(rng.uniform(2.0, 8.0), rng), VOICELESS, split)
    voice = speakers.cast(rng, unseen=split == "unseen voices")
    pieces = [speakers.say(voice, rng)]
    # Long pauses inside a recording are rare in read text, but people think while they talk.
    if rng.random() < 0.3 and len(pieces[0].waveform) < 8 * SAMPLE_RATE:
        pieces.append(speakers.say(voice, rng))
    sung = pieces[0].even and rng.random() < _SUNG_SHARE
    if sung:
        pieces = [_sung(piece, rng) for piece in pieces]
    waveform, phones = _joined(pieces, rng)
    return _utterance(record(waveform, phones, rng, sung), voice, split)


def _sung(piece: Spoken, rng: np.random.Generator) -> Spoken:
    waveform, phones = sing(piece.waveform, piece.phones, rng)
    return replace(piece, waveform=waveform, phones=phones)


def _joined(pieces: list[Spoken], rng: np.random.Generator) -> tuple[NDArray[np.float32], tuple[Phone, ...]]:
    parts: list[NDArray[np.float32]] = []
    phones: list[Phone] = []
    length = 0
    for index in range(len(pieces) + 1):
        inside = 0 < index < len(pieces)
        pause = rng.uniform(0.15, 1.8) if inside or rng.random() < 0.25 else rng.uniform(0.0, 0.3)
        samples = round(pause * SAMPLE_RATE)
        phones.append(Phone(length / SAMPLE_RATE, (length + samples) / SAMPLE_RATE, "sil"))
        parts.append(np.zeros(samples, np.float32))
        length += samples
        if index < len(pieces):
            phones.extend(shifted(pieces[index].phones, length / SAMPLE_RATE))
            parts.append(pieces[index].waveform)
            length += len(pieces[index].waveform)
    return np.concatenate(parts), tuple(phones)


def _utterance(recording: Recording, voice: str, split: str) -> Utterance:
    length = max(1, len(recording.heard) // _EVEN_ROW) * _EVEN_ROW
    heard, clean = (np.resize(part[:length], length) for part in (recording.heard, recording.clean))
    mel = normalise(log_mel(torch.from_numpy(heard)))
    movement = curves(recording.phones, loudness_of(clean, SAMPLE_RATE))
    return Utterance(
        mel.numpy().astype(np.float16),
        movement.curves.astype(np.float16),
        movement.labels.astype(np.int8),
        movement.loudness.astype(np.float16),
        voice,
        split,
    )


def _write_shard(folder: Path, minutes: float, seed: int, speakers: Callable[[], Speakers], index: int) -> None:
    path = _shard(folder, index)
    company = speakers()
    rng = np.random.default_rng([seed, index])
    utterances: list[Utterance] = []
    rows = 0
    while rows < minutes * 60 * RATE:
        utterance = make_utterance(company, rng)
        if len(utterance.mel) < RATE or not np.isfinite(utterance.mel).all():
            continue
        utterances.append(utterance)
        rows += len(utterance.mel)
    about = [{"voice": item.voice, "split": item.split, "rows": len(item.mel)} for item in utterances]
    with scratch.replaced(path) as part:
        np.savez(
            part,
            mel=np.concatenate([item.mel for item in utterances]),
            curves=np.concatenate([item.curves for item in utterances]),
            labels=np.concatenate([item.labels for item in utterances]),
            loudness=np.concatenate([item.loudness for item in utterances]),
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        )


def _read_shard(path: Path) -> Iterator[Utterance]:
    try:
        with np.load(path) as data:
            arrays = [data[name] for name in ("mel", "curves", "labels", "loudness")]
            about = json.loads(data["about"].tobytes())
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a shard of a speech corpus; delete it and write the corpus again.") from error
    start = 0
    for item in about:
        stop = start + item["rows"]
        mel, movement, labels, loudness = (array[start:stop] for array in arrays)
        yield Utterance(mel, movement, labels, loudness, item["voice"], item["split"])
        start = stop


def _shard(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:04d}.npz"
