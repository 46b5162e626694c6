"""The sound encoder learns, and an interrupted training goes on as if nothing had happened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_cli.sound.encoders import MiniHearing
from emo_cli.training import hearing
from emo_cli.training.corpus import Utterance, load, write_corpus
from emo_cli.training.hearing import disturbed, doubted, draw, hidden, judged, score, train_hearing
from emo_cli.training.loop import Schedule
from emo_cli.training.phones import Phone
from emo_cli.training.voices import Spoken


class TwoVowels:
    """A company that hums low for "a" and high for "i"."""

    def cast(self, rng: np.random.Generator, unseen: bool) -> str:
        return "fake:unseen" if unseen else "fake:known"

    def say(self, voice: str, rng: np.random.Generator) -> Spoken:
        high = np.repeat(rng.random(6) < 0.5, 4000)
        tone = 0.3 * np.sin(2 * np.pi * np.cumsum(np.where(high, 2500.0, 500.0)) / 16000)
        names = ["i" if first else "a" for first in high[::4000]]
        phones = tuple(Phone(0.25 * k, 0.25 * k + 0.25, name) for k, name in enumerate(names))
        return Spoken(tone.astype(np.float32), phones, voice)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 2.0, seed=7, workers=0, speakers=TwoVowels)
    return folder


def _train(corpus: Path, folder: Path, steps: int, **changes: float) -> MiniHearing:
    schedule = Schedule(steps=steps, rate=1.5e-3, warmup=2, log_every=1, **changes)
    return train_hearing(corpus, folder, schedule, 0, lambda line: None, clips=4, seconds=1.0)


def _lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_few_steps_lower_the_loss(corpus: Path, tmp_path: Path) -> None:
    _train(corpus, tmp_path, 25)
    losses = [line["phones"] for line in _lines(tmp_path) if "phones" in line]
    assert losses[-1] < 0.8 * losses[0]


def test_training_that_was_stopped_ends_as_an_unbroken_one(corpus: Path, tmp_path: Path) -> None:
    unbroken = _train(corpus, tmp_path / "unbroken", 4)
    _train(corpus, tmp_path / "stopped", 4, minutes=0.0)
    resumed = _train(corpus, tmp_path / "stopped", 4)
    for one, other in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_can_begin_with_an_earlier_network(corpus: Path, tmp_path: Path) -> None:
    earlier = _train(corpus, tmp_path / "earlier", 25)
    schedule = Schedule(steps=1, rate=0.0, warmup=1, log_every=1)
    train_hearing(corpus, tmp_path / "later", schedule, 1, lambda line: None, clips=4, seconds=1.0, earlier=earlier)
    first, later = _lines(tmp_path / "earlier")[0]["phones"], _lines(tmp_path / "later")[0]["phones"]
    assert later < 0.8 * first


def test_one_clip_in_three_shows_nothing_but_its_mean() -> None:
    mel = torch.randn(400, 6, 64)
    shown = hidden(mel, torch.Generator().manual_seed(0))
    flat = (shown == mel.mean(1, keepdim=True)).flatten(1).all(1)
    assert 0.25 < flat.float().mean() < 0.45
    assert torch.equal(shown[~flat], mel[~flat])


def test_training_leaves_weights_that_load(corpus: Path, tmp_path: Path) -> None:
    trained = _train(corpus, tmp_path, 1)
    loaded = MiniHearing.from_pretrained(tmp_path)
    assert torch.equal(loaded.first.weight, trained.first.weight)


def test_scores_of_both_held_out_splits_are_logged(corpus: Path, tmp_path: Path) -> None:
    _train(corpus, tmp_path, 1)
    assert {"validation phones", "unseen voices close"} <= set(_lines(tmp_path)[-1])


def test_clips_take_whole_rows_with_their_own_labels() -> None:
    labels = np.repeat(np.arange(10), 20).astype(np.int8)
    mel = np.repeat(labels[:, None], 64, axis=1).astype(np.float16)
    curves = np.repeat(labels[:, None], 10, axis=1).astype(np.float16)
    item = Utterance(mel, curves, labels, labels.astype(np.float16), "fake", "train")
    batch = draw([item], 8, 1.0, np.random.default_rng(0))
    assert torch.equal(batch.mel[:, 1::2, 0].long(), batch.labels)
    assert torch.equal(batch.curves.mean(2), batch.loudness)


def test_short_recordings_are_followed_by_another_one() -> None:
    short = Utterance(
        np.zeros((30, 64), np.float16), np.zeros((30, 10), np.float16), np.zeros(30, np.int8),
        np.zeros(30, np.float16), "fake", "train",
    )  # fmt: skip
    assert draw([short], 2, 1.0, np.random.default_rng(0)).mel.shape == (2, 100, 64)


def test_disturbing_keeps_the_shape_and_depends_only_on_the_generator() -> None:
    mel = torch.randn(3, 100, 64)
    one, other = (disturbed(mel, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one, other) and one.shape == mel.shape and not torch.equal(one, mel)


def test_a_listener_that_is_always_right_scores_one() -> None:
    curves = np.random.default_rng(0).random((100, 10)).astype(np.float16)
    silence = np.zeros(100, np.int8)
    item = Utterance(np.zeros((100, 64), np.float16), curves, silence, silence.astype(np.float16), "fake", "train")
    network = MiniHearing()
    with torch.no_grad():
        network.phone_head.bias[0] += 100.0
    assert score(network, draw([item], 2, 1.0, np.random.default_rng(0))).phones == 1.0


def test_evidence_is_cut_with_the_sound_it_belongs_to() -> None:
    def marked(value: int) -> Utterance:
        rows = np.full((400, 64), value, np.float16)
        return Utterance(rows, rows[:, :10], np.zeros(400, np.int8), rows[:, 0], "fake:known", "train")

    utterances = [marked(1), marked(2)]
    evidence = [torch.full((200, 126), value, dtype=torch.float16) for value in (1, 2)]
    batch = draw(utterances, 8, 2.0, np.random.default_rng(0), evidence)
    assert batch.evidence is not None and batch.evidence.shape == (8, 100, 126)
    assert torch.equal(batch.evidence[..., 0], batch.mel[:, ::2, 0])


def test_what_the_acoustic_model_says_is_worked_out_once_per_corpus(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_out: list[int] = []
    monkeypatch.setattr(hearing, "fill", lambda evidence: None)
    monkeypatch.setattr(hearing, "judged", lambda some, network: worked_out.append(len(some)) or judged(some, network))
    schedule = Schedule(steps=1, rate=1e-3, warmup=1, log_every=1)
    for _ in range(2):
        train_hearing(corpus, tmp_path, schedule, 0, lambda line: None, clips=2, seconds=1.0, evidence=True)
    assert worked_out.count(len(load(corpus, "train"))) == 1


def test_doubted_evidence_is_sometimes_missing() -> None:
    doubtful = doubted(torch.ones(200, 10, 126), torch.Generator().manual_seed(0))
    missing = (doubtful == 0).all(2).all(1).float().mean()
    assert 0.02 < missing < 0.25
    assert (doubtful[(doubtful != 0).any(2).any(1)] - 1).abs().mean() < 0.4
