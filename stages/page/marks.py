"""Which words are wrong: a text beside what was heard, aligned word by word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jiwer

from stages.scoring.words import Normaliser

LONG = 40  # words from which on a text gets a box that scrolls


@dataclass(frozen=True)
class Mark:
    """A stretch of words. `text`: what should be said; `said`: what was heard in its place."""

    kind: Literal["same", "missing", "added", "instead"]
    text: str
    said: str


@dataclass(frozen=True)
class Transcript:
    """What was heard in a clip. `right`: it is the text, and then there are no `marks` to show."""

    heard: str
    right: bool
    marks: tuple[Mark, ...]

    @property
    def long(self) -> bool:
        return sum(len(f"{mark.text} {mark.said}".split()) for mark in self.marks) > LONG


KINDS = {"equal": "same", "delete": "missing", "insert": "added", "substitute": "instead"}


def align(text: Sequence[str], said: Sequence[str]) -> tuple[Mark, ...]:
    """The fewest changes that make `text` of `said`, both in words, as the word error rate counts them."""
    if not text or not said:
        parts = (("missing", text, ()), ("added", (), said))
        return tuple(Mark(kind, " ".join(left), " ".join(right)) for kind, left, right in parts if left or right)
    pieces = jiwer.process_words(" ".join(text), " ".join(said)).alignments[0]
    return tuple(
        Mark(
            KINDS[piece.type],
            " ".join(text[piece.ref_start_idx : piece.ref_end_idx]),
            " ".join(said[piece.hyp_start_idx : piece.hyp_end_idx]),
        )
        for piece in pieces
    )


class Marker:
    """Marks clips; remembers normalised texts, since a text is said many times."""

    def __init__(self, normalise: Normaliser):
        self.normalise, self._known = normalise, {}

    def words(self, text: str) -> list[str]:
        if text not in self._known:
            self._known[text] = self.normalise(text).split()
        return self._known[text]

    def __call__(self, text: str, heard: str) -> Transcript:
        """What was heard beside the text, both in the form in which words are compared."""
        wanted, said = self.words(text), self.words(heard)
        return Transcript(heard, wanted == said, () if wanted == said else align(wanted, said))
