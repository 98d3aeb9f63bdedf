"""Were the words said? Word and character error rates between a text and what a recogniser heard."""

import math
import string
import unicodedata
from dataclasses import dataclass

import jiwer
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

# Whisper's normalisers delete what stands in brackets, though it is spoken; so the marks go first, not the words.
_NO_BRACKETS = str.maketrans("", "", "()[]<>{}")


class Normaliser:
    """Whisper's own text normaliser: English (numbers, spelling, titles) or the basic one for other languages."""

    def __init__(self, language: str):
        self.name = "Whisper English" if language == "en" else "Whisper basic"
        self._normalise = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()

    def __call__(self, text: str) -> str:
        return " ".join(self._normalise(text.translate(_NO_BRACKETS)).split())


SEED_TTS = "Seed-TTS"
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc", "'''")  # curved ones are apostrophes too
# Unicode calls $ + < = > ^ ` | ~ symbols; the benchmark takes them for punctuation, as Python's `string` does.
_SYMBOLS = set(string.punctuation) - {"'"}


def seed_tts(text: str) -> str:
    """A text as the Seed-TTS benchmark compares it: lower case, no punctuation but the apostrophe, single spaces.

    Nothing takes the place of what is removed ("well-known" becomes "wellknown"), and numbers stay as they are written:
    rates are higher than with Whisper's normaliser, and comparable with those that papers report for this benchmark.
    """
    letters = (
        sign
        for sign in text.translate(_APOSTROPHES)
        if sign == "'" or not (sign in _SYMBOLS or unicodedata.category(sign).startswith("P"))
    )
    return " ".join("".join(letters).lower().split())


@dataclass(frozen=True)
class Errors:
    """Counts against a reference of `total` words (or characters)."""

    substitutions: int
    deletions: int
    insertions: int
    total: int

    @property
    def count(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Above 1 when more was inserted than the text has."""
        return self.count / self.total


def _errors(measure, reference: str, heard: str, length: int, unit) -> Errors:
    if not length:  # a text of nothing but fillers normalises to nothing: one word that was said, or was not
        return Errors(0, 0, unit(heard), 1)
    if not heard:
        return Errors(0, length, 0, length)
    found = measure(reference, heard)
    return Errors(found.substitutions, found.deletions, found.insertions, length)


def word_errors(reference: str, heard: str) -> Errors:
    """Word errors of normalised texts. Nothing heard counts as every word deleted."""
    return _errors(jiwer.process_words, reference, heard, len(reference.split()), lambda text: len(text.split()))


def character_errors(reference: str, heard: str) -> Errors:
    """Character errors of normalised texts, spaces included."""
    return _errors(jiwer.process_characters, reference, heard, len(reference), len)


def end_is_missing(reference: str, heard: str, share: float) -> bool:
    """Whether the last `share` of the words of a normalised text, and one at least, were not said, none of them.

    Words that something else was heard for do not count as missing.
    """
    words = reference.split()
    last = max(1, math.ceil(round(share * len(words), 6)))
    if not words or not heard:
        return bool(words)
    chunks = jiwer.process_words(reference, heard).alignments[0]
    deleted = {
        place for chunk in chunks if chunk.type == "delete" for place in range(chunk.ref_start_idx, chunk.ref_end_idx)
    }
    return deleted >= set(range(len(words) - last, len(words)))
