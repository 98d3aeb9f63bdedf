"""Turns of speech as CSM sees them: text ids and codec codes, computed once and kept beside the manifest's rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.files.rows import Row, read_table, write_rows
from stages.process.problem import Problem


@dataclass(frozen=True, eq=False)
class Turn:
    """One utterance: `text_ids` with the speaker's mark; `codes` (frames, codebooks) int16 without the end frame."""

    text_ids: list[int]
    codes: np.ndarray

    @classmethod
    def unsaid(cls, text_ids: list[int], codebooks: int) -> "Turn":
        """A text that has no sound yet."""
        return cls(text_ids, np.zeros((0, codebooks), np.int16))

    @property
    def length(self) -> int:
        """Positions on the backbone's axis: text, audio frames and the end frame."""
        return len(self.text_ids) + len(self.codes) + 1


@dataclass(frozen=True, eq=False)
class Prompt:
    """What to say, and the turns heard before it (for cloning)."""

    text_ids: list[int]
    context: tuple[Turn, ...] = ()


def text_ids(processor, text: str, source: int) -> list[int]:
    """Ids of `text` said by speaker `source`, through the processor's own chat template (begin, [source]text, end)."""
    if "<|" in text:
        raise Problem(f"the text {text!r} holds a token mark '<|'; remove it (data/replacements.yaml)")
    conversation = [{"role": str(source), "content": [{"type": "text", "text": text}]}]
    rendered = processor.apply_chat_template(conversation, tokenize=False)
    return processor.tokenizer(rendered, add_special_tokens=False)["input_ids"]


def write_coded(path: str | Path, rows: Sequence[Row], turns: Sequence[Turn]) -> None:
    """Write rows with the columns `text_ids` and `codes` (frames after one another, `codebooks` numbers each)."""
    columns = {
        "text_ids": pa.array([turn.text_ids for turn in turns], pa.list_(pa.int32())),
        "codes": pa.array([turn.codes.reshape(-1) for turn in turns], pa.list_(pa.int16())),
        "codebooks": pa.array([turn.codes.shape[1] for turn in turns], pa.int32()),
    }
    write_rows(path, rows, columns)


def read_coded(path: str | Path) -> list[tuple[Row, Turn]]:
    """Read what `write_coded` wrote."""
    rows, table = read_table(path)
    turns = []
    for ids, codes, codebooks in zip(*(table[name] for name in ("text_ids", "codes", "codebooks")), strict=True):
        frames = np.array(codes.values, dtype=np.int16).reshape(-1, codebooks.as_py())
        turns.append(Turn(ids.as_py(), frames))
    return list(zip(rows, turns, strict=True))
