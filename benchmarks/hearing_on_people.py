"""How well the sound encoder, which knows only synthetic voices, hears a real speaker whose words are known.

Needs, for measuring only (nothing of it is trained on): the recordings and the transcript of the Debian packages
asterisk-core-sounds-en-g722 and asterisk-core-sounds-en, and `pip install pocketsphinx` for the times of phones.

    python benchmarks/hearing_on_people.py --sounds FOLDER --transcript core-sounds-en.txt.gz --weights FOLDER
"""

from __future__ import annotations

import argparse
import gzip
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import torch

from emo_cli.sound_encoders import MiniHearing
from emo_cli.training.articulation import CURVES
from emo_cli.training.phones import PHONES, Phone, from_flite

_OPEN_VOWELS = ("a", "ah", "e", "o")
_CLOSED = 0.6


@dataclass(frozen=True)
class Heard:
    """Rows at 50 Hz of one prompt: true and heard phones (rows,), heard curves (rows, 10)."""

    truth: np.ndarray[Any, np.dtype[np.int64]]
    phones: np.ndarray[Any, np.dtype[np.int64]]
    curves: np.ndarray[Any, np.dtype[np.float32]]


def prompts(sounds: Path, transcript: Path) -> Iterator[tuple[Path, str]]:
    """Recordings of plain sentences, with their words in lower case."""
    for line in gzip.decompress(transcript.read_bytes()).decode("utf-8", "ignore").splitlines():
        name, _, text = line.partition(":")
        path = sounds / f"{name.strip()}.g722"
        if path.exists() and not re.search(r"[\[\](<0-9#*]", text) and 12 < len(text.strip()) < 120:
            yield path, " ".join(re.findall(r"[a-z']+", text.lower()))


def decoded(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Samples at 16 kHz."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "g722", "-i", str(path)]
    raw = subprocess.run([*command, "-ac", "1", "-ar", "16000", "-f", "f32le", "-"], capture_output=True, check=True)
    return np.frombuffer(raw.stdout, np.float32)


def aligned(waveform: np.ndarray[Any, np.dtype[np.float32]], text: str, decoder: Any) -> tuple[Phone, ...] | None:
    """Phones by forced alignment; None where a word is unknown or the words do not fit the sound."""
    if not text or any(decoder.lookup_word(word) is None for word in text.split()):
        return None
    data = (np.clip(waveform, -1, 1) * 32767).astype(np.int16).tobytes()
    decoder.set_align_text(text)
    try:
        # Words first, then phones within the words.
        for second_pass in (False, True):
            if second_pass:
                decoder.set_alignment()
            decoder.start_utt()
            decoder.process_raw(data, full_utt=True)
            decoder.end_utt()
    except RuntimeError:
        return None
    segments = [
        (phone.name.lower() if phone.name != "SIL" else "pau", (phone.start + phone.duration) / 100)
        for word in decoder.get_alignment()
        for phone in word
    ]
    return from_flite(segments, len(waveform) / 16000)


def hear(waveform: np.ndarray[Any, np.dtype[np.float32]], phones: tuple[Phone, ...], network: MiniHearing) -> Heard:
    """True and heard phones row by row."""
    with torch.no_grad():
        heard = network.heads(network.rows(torch.from_numpy(waveform.copy()))[None])
    time = (np.arange(heard.phones.shape[1]) + 0.5) / 50
    truth = np.zeros(len(time), np.int64)
    for phone in phones:
        truth[(time >= phone.start) & (time < phone.stop)] = PHONES.index(phone.name)
    return Heard(truth, heard.phones[0].argmax(-1).numpy(), heard.curves[0].numpy())


def events(item: Heard, name: str, curve: str) -> Iterator[float]:
    """The curve's highest value in and one row around every stretch of one phone."""
    inside = np.flatnonzero(np.diff(np.concatenate([[0], item.truth == PHONES.index(name), [0]]).astype(int)))
    for start, stop in inside.reshape(-1, 2):
        yield float(item.curves[max(0, start - 1) : stop + 1, CURVES.index(curve)].max())


def report(items: list[Heard]) -> str:
    """The figures as lines of text."""
    truth, phones, curves = (
        np.concatenate([getattr(item, part) for item in items]) for part in ("truth", "phones", "curves")
    )
    speech = truth != 0
    vowels = np.isin(truth, [PHONES.index(name) for name in _OPEN_VOWELS])
    close, jaw = curves[:, CURVES.index("close")], curves[:, CURVES.index("jaw")]
    labials = [value > _CLOSED for item in items for value in events(item, "p", "close")]
    bites = [value > 0.5 for item in items for value in events(item, "f", "labiodental")]
    teeth = np.isin(truth, [PHONES.index(name) for name in ("s", "t", "p", "f")])
    return "\n".join(
        [
            f"prompts {len(items)}, {len(truth) / 50:.0f} s",
            f"phones heard right: {np.mean(phones == truth):.3f} of all rows, "
            f"{np.mean((phones == truth)[speech]):.3f} of rows with speech",
            f"closed in p, b, m: {sum(labials)} of {len(labials)} = {np.mean(labials):.2f}",
            f"closed in open vowels (wrong): {np.mean(close[vowels] > _CLOSED):.3f} of rows",
            f"lip to teeth in f, v: {sum(bites)} of {len(bites)} = {np.mean(bites):.2f}",
            f"mean jaw: {jaw[vowels].mean():.2f} in open vowels, {jaw[teeth].mean():.2f} in s, t, p, f",
        ]
    )


def main() -> None:
    """Prints the figures for up to --count prompts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--transcript", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--count", type=int, default=150)
    choice = parser.parse_args()
    from pocketsphinx import Decoder  # type: ignore[import-not-found]

    decoder = Decoder(lm=None, loglevel="FATAL")
    network = MiniHearing.from_pretrained(choice.weights).eval()
    items: list[Heard] = []
    for path, text in prompts(choice.sounds, choice.transcript):
        waveform = decoded(path)
        phones = aligned(waveform, text, decoder)
        if phones is not None:
            items.append(hear(waveform, phones, network))
        if len(items) == choice.count:
            break
    print(report(items))


if __name__ == "__main__":
    main()
