"""Recordings of people whose words are known, with the times of their sounds: what hearing is measured on.

The material is that of the Debian packages asterisk-core-sounds-{en,es,fr,it,ru}-g722 (recordings) and
asterisk-core-sounds-{en,es,fr,it,ru} (what is said in them). Nothing of it is trained on. Times come from forced
alignment with pocketsphinx (`pip install pocketsphinx`), whose acoustic model was trained on American English speech.
English words are spelt by its own dictionary; words of other languages by espeak-ng, each sound written as the English
sound nearest to it, so that times there are rougher.
"""
# ruff: noqa: RUF001 - phonetic letters are meant as such

from __future__ import annotations

import gzip
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from emo_cli.sound.resampler import RATE
from emo_cli.tape import Samples
from emo_cli.training.phones import SPHINX, Phone, from_segments

SOUNDS = Path("/usr/share/asterisk/sounds")
TEXTS = Path("/usr/share/doc")
# Folder of the recordings, voice of espeak-ng that spells the words ("" where pocketsphinx knows them).
LANGUAGES = {
    "en": ("en_US_f_Allison", ""),
    "es": ("es_MX_f_Allison", "es-419"),
    "fr": ("fr_CA_f_June", "fr"),
    "it": ("it_IT_m_Carlo", "it"),
    "ru": ("ru_RU_f_IvrvoiceRU", "ru"),
}

# IPA -> the English phone nearest in sound : the mouth shape it is (phones.PHONES).
_NEAREST = {
    "a": "AA:a", "ɑ": "AA:a", "æ": "AE:a", "ɐ": "AH:a", "ʌ": "AH:ah", "ə": "AH:ah", "e": "EY:e", "ɛ": "EH:e",
    "œ": "ER:e", "i": "IY:i", "ɪ": "IH:i", "ɨ": "IH:i", "j": "Y:i", "o": "OW:o", "ɔ": "AO:o", "ɵ": "OW:u", "ø": "ER:o",
    "u": "UW:u", "ʊ": "UH:u", "y": "UW:y", "ɥ": "W:w", "p": "P:p", "b": "B:p", "m": "M:p", "f": "F:f", "v": "V:f",
    "β": "V:f", "w": "W:w", "r": "R:r", "ɾ": "D:r", "ʁ": "HH:r", "ɹ": "R:r", "s": "S:s", "z": "Z:s", "ɕ": "SH:s",
    "ʑ": "ZH:s", "t": "T:t", "d": "D:t", "l": "L:l", "ɫ": "L:l", "ʎ": "Y:l", "θ": "S:th", "ð": "DH:th", "ʃ": "SH:sh",
    "ʒ": "ZH:sh", "ʂ": "SH:sh", "ʐ": "ZH:sh", "tʃ": "CH:sh", "dʒ": "JH:sh", "tɕ": "CH:sh", "k": "K:k", "ɡ": "G:k",
    "g": "G:k", "x": "HH:k", "ɣ": "G:k", "ŋ": "NG:k", "ɲ": "N:n", "n": "N:n", "h": "HH:k",
}  # fmt: skip


@dataclass(frozen=True)
class Prompt:
    """One recording (samples,) at 16 kHz and its phones, which cover the whole length."""

    waveform: Samples
    phones: tuple[Phone, ...]


def prompts(language: str, count: int) -> list[Prompt]:
    """The first `count` sentences of a language that pocketsphinx can align."""
    from pocketsphinx import Decoder  # type: ignore[import-not-found]

    decoder = Decoder(lm=None, loglevel="FATAL")
    folder, spelling = LANGUAGES[language]
    found: list[Prompt] = []
    for path, text in sentences(SOUNDS / folder, TEXTS / f"asterisk-core-sounds-{language}", language):
        waveform = decoded(path)
        phones = in_english(waveform, text, decoder) if not spelling else in_words(waveform, text, spelling, decoder)
        if phones is not None:
            found.append(Prompt(waveform, phones))
        if len(found) == count:
            break
    return found


def sentences(sounds: Path, texts: Path, language: str) -> Iterator[tuple[Path, str]]:
    """Recordings of plain sentences, with their words in lower case."""
    transcript = gzip.decompress((texts / f"core-sounds-{language}.txt.gz").read_bytes())
    for line in transcript.decode("utf-8", "replace").splitlines():
        name, _, text = line.partition(":")
        path = sounds / f"{name.strip()}.g722"
        # A question mark inside a word stands for a letter that was lost.
        plain = not re.search(r"[\[\](<0-9#*;]|\w\?\w|\ufffd", text)
        if path.exists() and plain and 12 < len(text.strip()) < 120:
            yield path, " ".join(re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*'?", text.lower()))


def decoded(path: Path) -> Samples:
    """Samples at 16 kHz."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "g722", "-i", str(path)]
    raw = subprocess.run([*command, "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"], capture_output=True, check=True)
    return np.frombuffer(raw.stdout, np.float32)


def in_english(waveform: Samples, text: str, decoder: Any) -> tuple[Phone, ...] | None:
    """Phones by the words of pocketsphinx's dictionary; None where one is unknown or they do not fit the sound."""
    if not text or any(decoder.lookup_word(word) is None for word in text.split()):
        return None
    segments = _aligned(waveform, text, decoder)
    if segments is None:
        return None
    named = [(name.lower() if name != "SIL" else "pau", stop) for name, stop in segments]
    return from_segments(named, len(waveform) / RATE, SPHINX)


def in_words(waveform: Samples, text: str, voice: str, decoder: Any) -> tuple[Phone, ...] | None:
    """Phones by the spelling of espeak-ng; None where a sound has no neighbour in English or nothing fits."""
    shapes: list[str] = []
    names = []
    for word in text.split():
        sounds = _spelt(word, voice)
        if not sounds:
            return None
        names.append(f"{voice}-{word}")
        if decoder.lookup_word(names[-1]) is None:
            decoder.add_word(names[-1], " ".join(phone for phone, _ in sounds), True)
        shapes.extend(shape for _, shape in sounds)
    segments = _aligned(waveform, " ".join(names), decoder) if names else None
    if segments is None or sum(name != "SIL" for name, _ in segments) != len(shapes):
        return None
    phones, start, left = [], 0.0, iter(shapes)
    for name, stop in segments:
        phones.append(Phone(start, stop, "sil" if name == "SIL" else next(left)))
        start = stop
    return tuple(phones)


def _aligned(waveform: Samples, text: str, decoder: Any) -> list[tuple[str, float]] | None:
    """Every phone's name and end in seconds."""
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
    return [(phone.name, (phone.start + phone.duration) / 100) for word in decoder.get_alignment() for phone in word]


def _spelt(word: str, voice: str) -> list[tuple[str, str]] | None:
    """(English phone, mouth shape) of each sound of a word; None where a sound is in no table."""
    command = ["espeak-ng", "-q", "--ipa", "--sep=_", "-v", voice, word]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    sounds = []
    for symbol in re.split(r"[_\s]+", unicodedata.normalize("NFD", printed)):
        letters = "".join(letter for letter in symbol if unicodedata.category(letter) == "Ll")
        if letters in _NEAREST:
            sounds.append(_NEAREST[letters])
        elif all(letter in _NEAREST for letter in letters):
            sounds.extend(_NEAREST[letter] for letter in letters)
        else:
            return None
    pairs = [sound.split(":") for sound in sounds]
    return [(phone, shape) for phone, shape in pairs]
