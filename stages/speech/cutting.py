"""Where rows begin and end: pieces of text (sentences, or Whisper's segments) cut out of a recording in its silences.

Whisper's word times are off by about a tenth of a second, so they only say between which words to cut; the silences
say where. All times are seconds from the start of the recording; cuts are rounded to the millisecond.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from stages.files.settings import Settings
from stages.speech.transcript import Word, text_of

# A silence shorter than this may be the closed lips of a p, t or k inside a word. Seconds.
SHORTEST_SILENCE = 0.1
# A silence longer than this between two sentences is not kept inside a row.
LONG_PAUSE = 1.5
# Words this far apart may have something between them that Whisper left out.
WORD_GAP = 1.0
# So much speech further from every word than the error of its times (nine of ten are within it) is words left out: two
# or more, for Whisper sometimes gives one word no time at all.
UNTRANSCRIBED = 0.6
WORD_ERROR = 0.25
# Nobody says a word in less; text with less speech under it was made up by the recogniser.
SECONDS_PER_WORD = 0.08

SpeechWithin = Callable[[float, float], float]
Share = Annotated[float, Field(gt=0, lt=0.5)]
Pad = Annotated[float, Field(ge=0, le=1)]


class SegmentSettings(Settings):
    method: Literal["sentences", "simple"]
    min_seconds: Annotated[float, Field(ge=0)]
    max_seconds: Annotated[float, Field(gt=0)]
    pad_before: Pad
    pad_after: Pad
    validation_share: Share
    test_share: Share
    block_seconds: Annotated[float, Field(gt=0)]
    seed: int

    @model_validator(mode="after")
    def fits(self):
        if self.min_seconds >= self.max_seconds:
            raise ValueError(f"min_seconds {self.min_seconds} must be less than max_seconds {self.max_seconds}")
        return self


@dataclass(frozen=True)
class Piece:
    """Text that is kept or dropped as a whole, with its cuts. `reason` says why it is dropped; None: it is kept."""

    text: str
    start: float
    end: float
    pause: float = float("inf")  # silence before it, since the piece before; infinite when more than silence is there
    count: int = 1  # sentences or segments in it
    reason: str | None = None

    @property
    def seconds(self) -> float:
        return round(self.end - self.start, 3)


def cut_pieces(
    words: Sequence[Word],
    bounds: Sequence[tuple[int, int]],
    silence: np.ndarray,
    speech_within: SpeechWithin,
    duration: float,
    settings: SegmentSettings,
) -> list[Piece]:
    """The pieces of a recording with their cuts, in order; neighbours that run together without a pause are joined.

    `bounds`: the words [first, last) of each piece. `silence`: (n, 2) from stages.audio.silence.silences.
    `speech_within(start, end)`: seconds of speech in between. `duration`: of the recording.
    """
    edge = [Word(word="", start=time, end=time, probability=1.0) for time in (0.0, duration)]
    before = [edge[0], *(words[last - 1] for _, last in bounds)]
    after = [*(words[first] for first, _ in bounds), edge[1]]
    gaps = [silence_between(*pair, silence) for pair in zip(before, after, strict=True)]
    breaks = [0, *(index for index in range(1, len(bounds)) if gaps[index]), len(bounds)]
    ends, starts, pauses = zip(*(cuts(silence, gap, duration, settings) for gap in gaps), strict=True)
    pieces = []
    for first, last in zip(breaks, breaks[1:], strict=False):
        inside = words[bounds[first][0] : bounds[last - 1][1]]
        piece = Piece(text_of(inside), starts[first], max(starts[first], ends[last]), pauses[first], last - first)
        torn = gaps[first] is None or gaps[last] is None
        pieces.append(replace(piece, reason=reason_against(piece, inside, torn, speech_within, settings)))
    return pieces


def silence_between(before: Word, after: Word, silence: np.ndarray) -> tuple[int, int] | None:
    """The silence that ends `before` and the one that starts `after`, as indices; None when there is no pause.

    Mostly they are the same one: the longest between the middles of the two words. When the words are far apart and
    something else sounds between them, they are the first and the last one.
    """
    overlap = np.minimum(silence[:, 1], middle(after)) - np.maximum(silence[:, 0], middle(before))
    enough = np.minimum(silence[:, 1] - silence[:, 0], SHORTEST_SILENCE) - 1e-9  # shorter ones are at the file's ends
    candidates = np.flatnonzero((overlap >= enough) & (overlap > 0))
    if not len(candidates):
        return None
    if after.start - before.end > WORD_GAP:
        wide = candidates[overlap[candidates] >= 2 * SHORTEST_SILENCE]
        if len(wide):
            return int(wide[0]), int(wide[-1])
    longest = int(candidates[np.argmax(overlap[candidates])])
    return longest, longest


def middle(word: Word) -> float:
    return (word.start + word.end) / 2


def cuts(
    silence: np.ndarray, gap: tuple[int, int] | None, duration: float, settings: SegmentSettings
) -> tuple[float, float, float]:
    """(end of the piece before, start of the piece after, pause between their speech) for a gap of silence_between.

    A silence that is too short for both pads is shared out in their proportion. Where there is none, the pieces reach
    to the ends of the recording.
    """
    if gap is None:
        return whole_ms(duration), 0.0, 0.0
    (fall, fall_end), (rise_start, rise) = silence[gap[0]], silence[gap[1]]
    pads = settings.pad_before + settings.pad_after
    outer = fall == 0 or rise >= duration  # the silences at the ends of the recording have one neighbour only
    if gap[0] == gap[1] and rise - fall < pads and not outer:
        cut = round(float(fall + (rise - fall) * settings.pad_after / pads), 3)
        return cut, cut, float(rise - fall)
    end = whole_ms(min(fall + settings.pad_after, fall_end, duration))
    start = round(float(max(rise - settings.pad_before, rise_start)), 3)
    return end, start, float(rise - fall) if gap[0] == gap[1] else float("inf")


def whole_ms(seconds: float) -> float:
    """Rounded down to the millisecond, lest the last row end after the recording."""
    return int(seconds * 1000 + 1e-6) / 1000


def reason_against(
    piece: Piece, words: Sequence[Word], torn: bool, speech_within: SpeechWithin, settings: SegmentSettings
) -> str | None:
    """Why the piece cannot be a row, or part of one; `torn`: it starts or ends where the recording is cut off."""
    if piece.seconds <= 0 or speech_within(piece.start, piece.end) < SECONDS_PER_WORD * len(words):
        return "no_speech"
    if torn:
        return "no_pause"
    if has_untranscribed(piece, words, speech_within):
        return "untranscribed"
    if piece.seconds > settings.max_seconds:
        return "too_long" if piece.count == 1 else "no_pause"
    return None


def has_untranscribed(piece: Piece, words: Sequence[Word], speech_within: SpeechWithin) -> bool:
    """Whether the piece has speech before, between or after its words that Whisper has no words for."""
    starts = [piece.start, *(word.end + WORD_ERROR for word in words)]
    ends = [*(word.start - WORD_ERROR for word in words), piece.end]
    return any(speech_within(start, end) > UNTRANSCRIBED for start, end in zip(starts, ends, strict=True))


def group_sentences(pieces: Sequence[Piece], settings: SegmentSettings) -> list[Piece]:
    """Rows of one or more consecutive pieces, none shorter than min_seconds or longer than max_seconds.

    Of all ways to merge neighbours the one that keeps most speech, and of those the one with most rows: short rows
    give training more ends to learn. What fits nowhere is dropped as too_short. Dynamic programming.
    """
    best: list[tuple[int, int]] = [(0, 0)]  # for the first n pieces: (milliseconds kept, rows)
    choice: list[int] = [0]  # how many pieces make the last row; 0: the last piece is left out
    for last in range(len(pieces)):
        options = [(*best[last], 0)]
        kept = 0
        for first in range(last, -1, -1):
            if first < last and pieces[first + 1].pause > LONG_PAUSE or pieces[first].reason:
                break
            seconds = round(pieces[last].end - pieces[first].start, 3)
            if seconds > settings.max_seconds:
                break
            kept += round(pieces[first].seconds * 1000)
            if seconds >= settings.min_seconds:
                options.append((best[first][0] + kept, best[first][1] + 1, last - first + 1))
        top = max(options, key=lambda option: option[:2])
        best.append(top[:2])
        choice.append(top[2])
    rows: list[Piece] = []
    last = len(pieces)
    while last:
        size = choice[last]
        piece = pieces[last - 1]
        rows.append(merge(pieces[last - size : last]) if size else replace(piece, reason=piece.reason or "too_short"))
        last -= size or 1
    return rows[::-1]


def stack(pieces: Sequence[Piece], settings: SegmentSettings) -> list[Piece]:
    """Rows of consecutive pieces, each as long as it can be without passing max_seconds or holding a long pause."""
    stacks: list[list[Piece]] = []
    for piece in pieces:
        top = stacks[-1][-1] if stacks else None
        joins = top and not (top.reason or piece.reason) and piece.pause <= LONG_PAUSE
        if joins and round(piece.end - stacks[-1][0].start, 3) <= settings.max_seconds:
            stacks[-1].append(piece)
        else:
            stacks.append([piece])
    rows = [merge(pieces) for pieces in stacks]
    short = [not row.reason and row.seconds < settings.min_seconds for row in rows]
    return [replace(row, reason="too_short") if drop else row for row, drop in zip(rows, short, strict=True)]


def merge(pieces: Sequence[Piece]) -> Piece:
    """Consecutive pieces as one."""
    text = " ".join(piece.text for piece in pieces)
    return replace(pieces[0], text=text, end=pieces[-1].end, count=sum(piece.count for piece in pieces))
