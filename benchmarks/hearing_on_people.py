"""How well the sound encoder, which knows only synthetic voices, hears real speakers whose words are known.

    python benchmarks/hearing_on_people.py --weights FOLDER [--languages en es fr it ru] [--count 150]

One JSON line per language; `spoken_prompts.py` says what is heard and what must be installed. The times of sounds come
from a program too, so no encoder could reach 1: `--check` measures that program on a synthetic voice, whose times are
exact.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spoken_prompts import LANGUAGES, RATE, SOUNDS, TEXTS, Prompt, Samples, in_english, prompts, sentences

from emo_cli.evaluation.lips import OPEN_VOWELS
from emo_cli.sound.encoders import MiniHearing
from emo_cli.training.articulation import CURVES
from emo_cli.training.deliveries import Delivery
from emo_cli.training.flite import Flite
from emo_cli.training.phones import PHONES, Phone

_CLOSED = 0.6
_LIKELY = 0.25  # probability from which on p, b or m count as heard
_BITTEN = 0.5


@dataclass(frozen=True)
class Heard:
    """Rows at 50 Hz of one prompt: true and heard phones (rows,), probability of p, b, m (rows,), curves (rows, 10)."""

    truth: np.ndarray[Any, np.dtype[np.int64]]
    phones: np.ndarray[Any, np.dtype[np.int64]]
    labial: np.ndarray[Any, np.dtype[np.float32]]
    curves: np.ndarray[Any, np.dtype[np.float32]]


def labels(phones: Sequence[Phone], rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The phone of every row at 50 Hz."""
    time = (np.arange(rows) + 0.5) / 50
    truth = np.zeros(rows, np.int64)
    for phone in phones:
        truth[(time >= phone.start) & (time < phone.stop)] = PHONES.index(phone.name)
    return truth


def hear(prompt: Prompt, network: MiniHearing) -> Heard:
    """True and heard phones row by row."""
    with torch.no_grad():
        heard = network.heads(network.rows(torch.from_numpy(prompt.waveform.copy()))[None])
    truth = labels(prompt.phones, heard.phones.shape[1])
    labial = heard.phones[0].softmax(-1)[:, PHONES.index("p")].numpy()
    return Heard(truth, heard.phones[0].argmax(-1).numpy(), labial, heard.curves[0].numpy())


def events(item: Heard, name: str, values: np.ndarray[Any, np.dtype[np.float32]]) -> Iterator[float]:
    """The highest of the values (rows,) in and one row around every stretch of one phone."""
    inside = np.flatnonzero(np.diff(np.concatenate([[0], item.truth == PHONES.index(name), [0]]).astype(int)))
    for start, stop in inside.reshape(-1, 2):
        yield float(values[max(0, start - 1) : stop + 1].max())


def measured(items: Sequence[Heard]) -> dict[str, float]:
    """The figures: shares of rows or of sounds, and the mean jaw where it should be low and high."""
    truth, phones, labial, curves = (
        np.concatenate([getattr(item, part) for item in items]) for part in ("truth", "phones", "labial", "curves")
    )
    speech = truth != 0
    vowels = np.isin(truth, [PHONES.index(name) for name in OPEN_VOWELS])
    close, jaw = curves[:, CURVES.index("close")], curves[:, CURVES.index("jaw")]
    closed, bitten = CURVES.index("close"), CURVES.index("labiodental")
    heard = [value > _LIKELY for item in items for value in events(item, "p", item.labial)]
    labials = [value > _CLOSED for item in items for value in events(item, "p", item.curves[:, closed])]
    bites = [value > _BITTEN for item in items for value in events(item, "f", item.curves[:, bitten])]
    teeth = np.isin(truth, [PHONES.index(name) for name in ("s", "t", "p", "f")])
    figures = {
        "phones": np.mean(phones == truth),
        "phones_in_speech": np.mean((phones == truth)[speech]),
        "pbm_heard": np.mean(heard),
        "pbm_heard_in_open_vowels": np.mean(labial[vowels] > _LIKELY),
        "closed_in_pbm": np.mean(labials),
        "closed_in_open_vowels": np.mean(close[vowels] > _CLOSED),
        "bite_in_fv": np.mean(bites),
        "jaw_in_open_vowels": jaw[vowels].mean(),
        "jaw_in_stpf": jaw[teeth].mean(),
    }
    return {name: round(float(value), 3) for name, value in figures.items()}


def agreement(count: int) -> float:
    """Share of rows in which alignment gives the phone that the synthetic voice awb really said."""
    from pocketsphinx import Decoder  # type: ignore[import-not-found]

    decoder, flite = Decoder(lm=None, loglevel="FATAL"), Flite()
    right: list[np.ndarray[Any, np.dtype[np.bool_]]] = []
    for _, text in sentences(SOUNDS / LANGUAGES["en"][0], TEXTS / "asterisk-core-sounds-en", "en"):
        waveform, spoken = flite.speak(text, "awb", Delivery())
        found = in_english(_quietly_framed(waveform), text, decoder)
        if found is not None:
            rows = len(waveform) * 50 // RATE
            right.append(labels(spoken, rows) == labels(found, rows))
        if len(right) == count:
            break
    return round(float(np.concatenate(right).mean()), 3)


def _quietly_framed(waveform: Samples) -> Samples:
    """A little noise: digital silence is no sound that the acoustic model has met."""
    return (waveform + 0.0005 * np.random.default_rng(0).standard_normal(len(waveform))).astype(np.float32)


def main() -> None:
    """Prints the figures of up to --count prompts per language."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--languages", nargs="*", default=list(LANGUAGES), choices=list(LANGUAGES))
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--check", action="store_true")
    choice = parser.parse_args()
    if choice.check:
        print(json.dumps({"alignment right on awb": agreement(choice.count)}))
    if choice.weights is None:
        return
    torch.set_num_threads(1)
    network = MiniHearing.from_pretrained(choice.weights).eval()
    for language in choice.languages:
        items = [hear(prompt, network) for prompt in prompts(language, choice.count)]
        seconds = round(sum(len(item.truth) for item in items) / 50)
        print(json.dumps({"language": language, "prompts": len(items), "seconds": seconds, **measured(items)}))


if __name__ == "__main__":
    main()
