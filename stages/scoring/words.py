"""Were the words said? Word and character error rates between a text and what a recogniser heard."""

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
