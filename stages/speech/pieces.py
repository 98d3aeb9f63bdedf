"""Where to cut a long recording for a recogniser that hears thirty seconds at a time: in silence, skipping the rest."""

from itertools import pairwise

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from stages.speech.engine import RATE

LONGEST = 30 * RATE  # Whisper's window
SHORTEST_PAUSE = 0.25  # seconds; where a cut may be
LONGEST_PAUSE = 2 * RATE  # a longer one is not heard at all: in silence Whisper makes words up
PADDING = 0.2  # seconds kept at both sides of speech


def speech_pieces(samples: np.ndarray) -> list[tuple[int, int]]:
    """Stretches of at most 30 s with all the speech of `samples` (float32, 16 kHz), as (start, end) in samples.

    They begin and end in silence; a cut between two of them is in the longest pause of the second half of a window,
    which is most often between two sentences. Voice activity by silero, as it comes with faster-whisper.
    """
    options = VadOptions(
        min_silence_duration_ms=int(1000 * SHORTEST_PAUSE),
        speech_pad_ms=int(1000 * PADDING),
        max_speech_duration_s=LONGEST / RATE,
    )
    spans = (
        [(found["start"], found["end"]) for found in get_speech_timestamps(samples, options)] if len(samples) else []
    )
    pieces, current = [], []
    while spans or current:
        if spans and fits(current, spans[0]):
            current.append(spans.pop(0))
            continue
        count = best_cut(current) if spans and not pauses(current[-1], spans[0]) else len(current)
        pieces.append((current[0][0], current[count - 1][1]))
        current = current[count:]
    return pieces


def pauses(before: tuple[int, int], after: tuple[int, int]) -> bool:
    return after[0] - before[1] > LONGEST_PAUSE


def fits(current: list[tuple[int, int]], span: tuple[int, int]) -> bool:
    return not current or (span[1] - current[0][0] <= LONGEST and not pauses(current[-1], span))


def best_cut(current: list[tuple[int, int]]) -> int:
    """How many spans of a full window to take: up to the longest pause in its second half, or all of them."""
    start = current[0][0]
    gaps = [
        (after[0] - before[1], number)
        for number, (before, after) in enumerate(pairwise(current), start=1)
        if before[1] - start >= LONGEST // 2
    ]
    return max(gaps)[1] if gaps else len(current)
