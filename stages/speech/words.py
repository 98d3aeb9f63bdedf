"""Which words of a transcript make a segment, and which a sentence."""

from collections.abc import Sequence

from stages.process.problem import Problem
from stages.speech.sentences import sentence_spans
from stages.speech.transcript import Transcript, Word

Bounds = list[tuple[int, int]]  # words [first, last) of each piece of text


def timed_words(transcript: Transcript, where: str) -> tuple[list[Word], Bounds]:
    """All words of a transcript that are not blank, and the bounds of its segments.

    Raises Problem, beginning with `where`, if there are no words, or text without word times.
    """
    words: list[Word] = []
    bounds = []
    for segment in transcript.segments:
        first = len(words)
        for word in segment.words:
            if word.word.strip():
                # a new segment is a new word, whether or not it was written with a space
                space = "" if len(words) > first or word.word[0].isspace() else " "
                words.append(word.model_copy(update={"word": space + word.word}))
        if len(words) > first:
            bounds.append((first, len(words)))
        elif segment.text.strip():
            raise Problem(
                f"{where}: the segment at {segment.start:g} s has text but no word times; transcribe it again"
            )
    if not words:
        raise Problem(f"{where}: has no words; listen to the recording, or take it out of data/sources.yaml")
    return words, bounds


def sentence_bounds(words: Sequence[Word], language: str) -> Bounds:
    """The bounds of the sentences. A word belongs to the sentence in which its first letter is."""
    text, places = "", []
    for word in words:
        places.append(len(text) + len(word.word) - len(word.word.lstrip()))
        text += word.word
    firsts, index = {0}, 0
    for start, _ in sentence_spans(text, language):
        while index < len(words) and places[index] < start:
            index += 1
        if index < len(words):
            firsts.add(index)
    ordered = sorted(firsts)
    return list(zip(ordered, [*ordered[1:], len(words)], strict=True))
