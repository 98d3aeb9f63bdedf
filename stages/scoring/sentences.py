"""The sentences that are spoken, and the training audio that a cloned sentence hears first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.audio.sound import read_sound
from stages.csm.turns import Turn, read_coded
from stages.files.rows import Row, read_table
from stages.process.problem import Problem


@dataclass(frozen=True, eq=False)
class Sentence:
    """One row with its text ids and codes, and its recording as the bytes of a FLAC file; None: nobody has read it."""

    row: Row
    turn: Turn
    flac: bytes | None

    def recording(self) -> np.ndarray:
        """Samples (n,) float32 at 24 kHz."""
        if self.flac is None:
            raise ValueError(f"{self.row.id} has no recording")
        return read_sound(self.flac)


def read_sentences(split: str, rows: str | Path = "data/rows", codes: str | Path = "data/codes") -> list[Sentence]:
    """The rows of a split that have codes, sorted. Raises Problem when there is none, or when the two disagree."""
    path = Path(rows) / f"{split}.parquet"
    manifest, table = read_table(path)
    audio = {row.id: sound["bytes"] for row, sound in zip(manifest, table["audio"].to_pylist(), strict=True)}
    coded = read_coded(Path(codes) / f"{split}.parquet")
    if not coded:
        raise Problem(
            f"{path}: no {split} rows with codes to evaluate on; more speech or another segment.block_seconds"
        )
    if missing := [row.id for row, _ in coded if row.id not in audio]:
        raise Problem(f"{path}: has no row {missing[0]}, which {codes} has; run `dvc repro encode`")
    return [Sentence(row, turn, audio[row.id]) for row, turn in sorted(coded, key=lambda pair: pair[0])]


def spread(sentences: Sequence[Sentence], count: int) -> list[Sentence]:
    """`count` sentences spaced evenly over the sorted ones (all when there are fewer)."""
    places = np.linspace(0, len(sentences) - 1, min(count, len(sentences))).round().astype(int)
    return [sentences[place] for place in dict.fromkeys(places.tolist())]


def choose_context(train: Sequence[Sentence], source: int, seconds: float) -> tuple[Sentence, ...]:
    """Neighbouring training rows of one speaker, together as long as `seconds` allows; the first of equal choices.

    Raises Problem when the speaker has no training row that short.
    """
    own = [sentence for sentence in train if sentence.row.source == source]
    best: tuple[Sentence, ...] = ()
    longest = 0.0
    for start, first in enumerate(own):
        total = 0.0
        for end in range(start, len(own)):
            total += own[end].row.seconds
            if own[end].row.recording != first.row.recording or total > seconds:
                break
            if total > longest + 1e-6:
                best, longest = tuple(own[start : end + 1]), total
    if not best:
        shortest = min((sentence.row.seconds for sentence in own), default=None)
        found = f"the shortest lasts {shortest:.1f} s" if own else "it has none"
        raise Problem(
            f"speaker {source} has no training row within evaluate.context_seconds ({seconds:g} s): {found}; raise it"
        )
    return best
