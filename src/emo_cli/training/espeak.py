"""espeak-ng in training: more than a hundred languages and accents, rule-made voices, exact times of every sound.

A separate program used in training only; what it speaks is free of its licence.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_cli.errors import InputError
from emo_cli.sound.resampler import RATE as SAMPLE_RATE
from emo_cli.training.deliveries import Delivery
from emo_cli.training.phones import Phone, from_espeak
from emo_cli.training.recordings import resample

# Languages by the script that their invented words are written in.
_BY_SCRIPT = {
    "latin": "en-us en-us-nyc en-gb-x-rp en-gb-scotland en-gb-x-gbclan en-gb-x-gbcwmd en-029 af an az bs ca "
    "cmn-latn-pinyin cs cy da de eo es es-419 et eu fi fr fr-be fr-ch ga gd gn haw hr ht hu ia id io is it jbo ku la "
    "lb lfn lt ltg lv mi ms mt nb nci nl om pap pl pt pt-br qu quc qya ro sjn sk sl smj sq sv sw tk tn tr uz vi",
    "cyrillic": "ru ru-lv uk bg mk kk ky tt ba cv sr",
    "greek": "el grc",
    "kana": "ja",
    "devanagari": "hi mr ne kok",
    "bengali": "bn as bpy",
    "gujarati": "gu",
    "gurmukhi": "pa",
    "oriya": "or",
    "telugu": "te",
    "kannada": "kn",
    "malayalam": "ml",
    "tamil": "ta",
    "arabic": "ar fa ur sd ug",
    "hebrew": "he",
    "georgian": "ka",
    "armenian": "hy hyw",
    "hangul": "ko",
}
LANGUAGES: dict[str, str] = {name: script for script, names in _BY_SCRIPT.items() for name in names.split()}
_NO_VARIANT = "-"
_VARIANT_NAMES = """- - - m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 klatt5 klatt6 croak whisper
    whisperf adam Alex Alicia Andrea Andy Annie antonio aunty belinda benjamin boris caleb david Denis Diogo ed edward
    Gene Gene2 grandma grandpa gustave announcer Henrique Hugo iven iven2 iven3 iven4 Jacky john kaukovalta Lee linda
    marcelo Marco Mario max Michael michel miguel norbert pablo paul pedro quincy RicishayMax rob robert sandro shelby
    steph steph2 steph3 travis victor zac anika"""
VARIANTS = tuple("" if name == _NO_VARIANT else f"+{name}" for name in _VARIANT_NAMES.split())
"""What is added to a language's name for another voice; the plain one comes three times."""


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
