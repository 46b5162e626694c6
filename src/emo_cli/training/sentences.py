"""Texts for the speaking programs: everyday sentences and invented words in several scripts, from a seed."""
# ruff: noqa: RUF001 - letters of other scripts are meant as such

from __future__ import annotations

import numpy as np

_SUBJECTS = (
    "the old farmer", "my brother", "a small bird", "the whole family", "nobody", "every morning she",
    "the boat",
    "we", "they", "your best friend", "a warm wind", "the young woman", "that famous painter", "one of them", "he",
    "this book", "both of us", "the people above", "a voice in the room", "somebody from Boston", "the chef", "I",
    "the third judge", "an honest lawyer", "few visitors", "the white horse", "our mother", "the moon",
    "a pair of shoes",
)  # fmt: skip
_VERBS = (
    "bought", "watched", "could hardly believe", "is going to paint", "remembers", "threw away", "would measure",
    "found", "keeps", "has been singing about", "will show you", "pushed", "may have forgotten", "asked for",
    "laughed at", "opened", "moved through", "almost missed", "chose", "prefers", "just finished", "is looking for",
    "brought home", "whispered something about", "jumped over", "weighs more than", "used to love", "washed",
)  # fmt: skip
_OBJECTS = (
    "a brown paper bag", "the bridge", "five heavy boxes", "the music", "something very simple", "both windows",
    "a beautiful evening", "the answer", "his father's map", "an apple and some bread", "the truth", "a bowl of soup",
    "that purple umbrella", "the view from above", "a few good reasons", "the garden wall", "my thoughts", "a number",
    "the fish in the river", "every single page", "the huge yellow machine", "a job with a future", "fresh coffee",
    "the beach", "nothing at all", "the voice of the people", "some of the best stories", "a cup of milk", "the show",
)  # fmt: skip
_ENDINGS = (
    "before the meeting", "with both hands", "in the middle of the night", "because of the weather", "on Thursday",
    "without a word", "from time to time", "near the old church", "for the first time", "by the fire", "again",
    "as soon as possible", "when the bell rang", "after breakfast", "over and over", "in a very soft voice", "today",
)  # fmt: skip
_JOINS = (", and ", ", but ", "; ", ". ", ", because ", "? ", "! ", ", so maybe ", " while ")

# Onsets and vowels per script; labials and rounded vowels come often, because they are what a face shows best.
_SYLLABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "latin": (
        ("p", "b", "m", "f", "v", "t", "d", "n", "l", "r", "s", "z", "k", "g", "h", "p", "b", "m", "pl", "br", "st",
         "sk", "tr", "j", "ch", "sh", "w", "fr", "sp", "mp", "nd"),
        ("a", "e", "i", "o", "u", "a", "o", "ai", "ei", "au", "ia", "oi", "an", "el", "or", "is", "um"),
    ),
    "cyrillic": (
        ("п", "б", "м", "ф", "в", "т", "д", "н", "л", "р", "с", "з", "ш", "ж", "ч", "к", "г", "х", "пр", "ст", "м",
         "б"),
        ("а", "е", "и", "о", "у", "ю", "я", "ы", "ой", "ам", "ен"),
    ),
    "greek": (
        ("π", "μπ", "μ", "φ", "β", "τ", "δ", "ν", "λ", "ρ", "σ", "ζ", "κ", "γ", "χ", "θ", "μ", "π"),
        ("α", "ε", "η", "ο", "ου", "ω", "ι", "αι", "ας"),
    ),
    "kana": (
        tuple("かきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもまみむめもやゆよらりるれろわばびぶべぼぱぴぷぺぽだでど"),
        ("", "", "", "ん", "う", "い", "っ"),
    ),
    "devanagari": (
        ("प", "ब", "म", "फ", "व", "त", "द", "न", "ल", "र", "स", "श", "च", "ज", "क", "ग", "ह", "ट", "ड", "म", "ब", "प"),
        ("ा", "े", "ि", "ी", "ो", "ु", "ू", "", "ाम", "ोन"),
    ),
    "tamil": (tuple("பமவதநலரசகடனயமப"), ("ா", "ே", "ி", "ோ", "ு", "", "ீ", "ூ")),
    "arabic": (tuple("بمفتدنلرسشجكقهوزبم"), ("ا", "ي", "و", "", "ا", "ان")),
    "hebrew": (tuple("בפמתדנלרסשזקגהטבמ"), ("א", "י", "ו", "", "ה", "ים")),
    "georgian": (tuple("პბმფვტდნლრსშზკგხჩწბმ"), tuple("აეიოუაო")),
    "armenian": (tuple("պբմֆվտդնլրսշզկգհչբմ"), ("ա", "ե", "ի", "ո", "ու", "ան")),
}  # fmt: skip
# The scripts of India stand in the same order, each in a block of its own: the name and where its block begins.
_LIKE_DEVANAGARI = {
    "bengali": 0x980, "gurmukhi": 0xA00, "gujarati": 0xA80, "oriya": 0xB00, "telugu": 0xC00, "kannada": 0xC80,
    "malayalam": 0xD00,
}  # fmt: skip


def _moved(parts: tuple[str, ...], block: int) -> tuple[str, ...]:
    return tuple("".join(chr(ord(letter) - 0x900 + block) for letter in part) for part in parts)


_SYLLABLES |= {
    name: (_moved(_SYLLABLES["devanagari"][0], block), _moved(_SYLLABLES["devanagari"][1], block))
    for name, block in _LIKE_DEVANAGARI.items()
}
# A Korean syllable is one character, made of numbers of its consonant (p, b, m, t, d, n, l, s, k, h ...) and vowel.
_SYLLABLES["hangul"] = (
    tuple(chr(0xAC00 + (onset * 21 + vowel) * 28) for onset in (7, 8, 6, 17, 16, 3, 2, 5, 9, 0, 15, 18, 12, 14, 6, 7)
          for vowel in (0, 4, 5, 8, 13, 18, 20)),
    ("",),
)  # fmt: skip


def english(rng: np.random.Generator) -> str:
    """One sentence of 4 to about 20 words."""
    text = _clause(rng)
    if rng.random() < 0.35:
        text += str(rng.choice(_JOINS)) + _clause(rng)
    return text[0].upper() + text[1:] + str(rng.choice([".", ".", ".", "!", "?"]))


def invented(rng: np.random.Generator, script: str = "latin") -> str:
    """Four to nine invented words; script is one of `_SYLLABLES`."""
    words = [_word(rng, script) for _ in range(int(rng.integers(4, 10)))]
    marks = [", " if rng.random() < 0.12 else " " for _ in words[1:]]
    return "".join(word + mark for word, mark in zip(words, [*marks, "."], strict=True))


def _clause(rng: np.random.Generator) -> str:
    parts = [str(rng.choice(part)) for part in (_SUBJECTS, _VERBS, _OBJECTS)]
    if rng.random() < 0.5:
        parts.append(str(rng.choice(_ENDINGS)))
    return " ".join(parts)


def _word(rng: np.random.Generator, script: str) -> str:
    onsets, vowels = _SYLLABLES[script]
    count = int(rng.integers(1, 4)) + (script in ("kana", "hangul"))
    return "".join(str(rng.choice(onsets)) + str(rng.choice(vowels)) for _ in range(count))
