"""Synthetic speakers: espeak-ng and flite read a text aloud and say when each sound begins.

Both are separate programs used in training only; what they speak is free of their licences.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from emo_cli.errors import InputError
from emo_cli.training import sentences
from emo_cli.training.phones import Phone, from_espeak, from_flite
from emo_cli.training.recordings import SAMPLE_RATE, resample

# Never trained on: they show how the encoder does on a voice and on languages it has not met.
UNSEEN = ("flite:awb", "espeak:it", "espeak:sv")

_FLITE_VOICES = ("slt", "rms", "kal16")
_LANGUAGES: dict[str, str] = {
    name: "latin"
    for name in (
        "en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "de", "fr", "es", "es-419", "pt", "pt-br", "nl", "pl", "tr",
        "cs", "fi", "hu", "ro", "hr", "da", "nb", "id", "sw", "ca", "eu", "eo", "la", "sk", "lt", "et",
        "cmn-latn-pinyin",
    )
}  # fmt: skip
_LANGUAGES |= {"ru": "cyrillic", "uk": "cyrillic", "bg": "cyrillic", "el": "greek", "ja": "kana"}
_LANGUAGES |= {"it": "latin", "sv": "latin"}
_VARIANTS = (
    "", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+m8", "+f1", "+f2", "+f3", "+f4", "+f5", "+klatt",
    "+klatt2", "+klatt4", "+klatt6", "+croak", "+whisper", "+Annie", "+Michael", "+linda", "+Lee", "+Alex", "+Mario",
    "+Denis", "+steph", "+belinda", "+adam", "+Andrea", "+Gene", "+iven", "+paul", "+shelby", "+victor", "+zac",
)  # fmt: skip


@dataclass(frozen=True)
class Delivery:
    """How a text is said: words per minute (40..300), pitch and liveliness of pitch (both 0..99)."""

    rate: int = 165
    pitch: int = 50
    liveliness: int = 50


@dataclass(frozen=True)
class Spoken:
    """Clean speech (samples,) at 16 kHz with its phones, which cover the whole length."""

    waveform: NDArray[np.float32]
    phones: tuple[Phone, ...]
    voice: str


class Speakers(Protocol):
    """A company of voices; the corpus is read aloud by one."""

    def cast(self, rng: np.random.Generator, unseen: bool) -> str:
        """The name of a voice; one of the held-out voices if `unseen`."""
        ...

    def say(self, voice: str, rng: np.random.Generator) -> Spoken:
        """A random text of the voice's language, in a random delivery."""
        ...


class InstalledSpeakers:
    """Every espeak-ng language and variant listed here, and flite's voices that were made from people."""

    def __init__(self) -> None:
        self._espeak = Espeak()
        self._flite = Flite()

    def cast(self, rng: np.random.Generator, unseen: bool) -> str:
        """Three in ten flite, a quarter English of espeak-ng, else any language; or one of the held-out three."""
        if unseen:
            name = str(rng.choice(UNSEEN))
            return name if name.startswith("flite") else name + str(rng.choice(_VARIANTS))
        share = rng.random()
        if share < 0.3:
            return "flite:" + str(rng.choice(_FLITE_VOICES, p=[0.42, 0.42, 0.16]))
        known = [name for name in _LANGUAGES if f"espeak:{name}" not in UNSEEN]
        english = [name for name in known if name.startswith("en")]
        return "espeak:" + str(rng.choice(english if share < 0.55 else known)) + str(rng.choice(_VARIANTS))

    def say(self, voice: str, rng: np.random.Generator) -> Spoken:
        """One in eight is slow and even in pitch, like chant: long vowels are what singing adds to speech."""
        program, name = voice.split(":")
        text = self._text(program, name, rng)
        delivery = Delivery(int(rng.integers(90, 240)), int(rng.integers(5, 95)), int(rng.integers(15, 95)))
        if rng.random() < 0.125:
            delivery = Delivery(int(rng.integers(45, 85)), int(rng.integers(20, 99)), int(rng.integers(0, 30)))
        speak = self._flite.speak if program == "flite" else self._espeak.speak
        waveform, phones = speak(text, name, delivery)
        return Spoken(waveform, phones, voice)

    def _text(self, program: str, name: str, rng: np.random.Generator) -> str:
        english = program == "flite" or name.startswith("en")
        if english and rng.random() < 0.65:
            return sentences.english(rng)
        return sentences.invented(rng, "latin" if english else _LANGUAGES[name.split("+")[0]])


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h, with the phoneme's name as bytes."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


class Espeak:
    """espeak-ng through its C library, the only way to get the time of every phoneme.

    The library keeps one state per process, so make one object per process.

    Raises InputError where libespeak-ng is not installed.
    """

    _PHONEME, _RATE, _PITCH, _RANGE = 7, 1, 3, 4
    _SYNCHRONOUS, _IPA_EVENTS, _UTF8 = 2, 3, 1

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise InputError(
                "libespeak-ng is missing; install the package espeak-ng to make training speech."
            ) from error
        self._parts: list[NDArray[np.int16]] = []
        self._events: list[tuple[float, str]] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self._rate = int(self._library.espeak_Initialize(self._SYNCHRONOUS, 0, None, self._IPA_EVENTS))
        # Kept on the object: the library calls it long after this line.
        self._callback: Callable[..., Any] = kind(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, delivery: Delivery) -> tuple[NDArray[np.float32], tuple[Phone, ...]]:
        """Waveform (samples,) at 16 kHz and phones. `voice` is a language with an optional "+variant"."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise InputError(f"espeak-ng has no voice {voice!r}; see espeak-ng --voices for the names it knows.")
        for parameter, value in (
            (self._RATE, delivery.rate),
            (self._PITCH, delivery.pitch),
            (self._RANGE, delivery.liveliness),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._parts.clear()
        self._events.clear()
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 0, 0, self._UTF8, None, None)
        self._library.espeak_Synchronize()
        raw = np.concatenate(self._parts) if self._parts else np.zeros(1, np.int16)
        waveform = resample(raw.astype(np.float32) / 32768.0, self._rate, SAMPLE_RATE)
        return waveform, from_espeak(self._events, len(raw) / self._rate)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if count > 0 and samples:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != 0:
            event = events[index]
            if event.type == self._PHONEME:
                name = bytes(event.name).split(b"\0")[0].decode("utf-8", "ignore")
                self._events.append((event.sample / self._rate, name))
            index += 1
        return 0


class Flite:
    """flite, run as a program; it prints the end time of every segment.

    Raises InputError where flite is not installed.
    """

    _SEGMENT = re.compile(r"([a-z]+):([0-9.]+)")

    def __init__(self) -> None:
        self._program = shutil.which("flite")

    def speak(self, text: str, voice: str, delivery: Delivery) -> tuple[NDArray[np.float32], tuple[Phone, ...]]:
        """Waveform (samples,) at 16 kHz and phones. `voice` is slt, rms, awb or kal16."""
        if self._program is None:
            raise InputError("flite is missing; install the package flite to make training speech.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            command = [
                self._program, "-voice", voice, "--setf", f"duration_stretch={165 / delivery.rate:.3f}",
                "--setf", f"int_f0_target_mean={70 + 1.9 * delivery.pitch:.0f}", "-psdur", "-t", text, "-o", str(path),
            ]  # fmt: skip
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            waveform, rate = soundfile.read(path, dtype="float32")
        segments = [(name, float(stop)) for name, stop in self._SEGMENT.findall(printed)]
        return resample(waveform, rate, SAMPLE_RATE), from_flite(segments, len(waveform) / rate)
