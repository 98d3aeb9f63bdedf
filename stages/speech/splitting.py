"""Train, validation and test: whole blocks of time, chosen by a seed, and no text of one heard in the other."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stages.files.rows import Row
from stages.process.problem import Problem

FEWEST_ROWS = 10
# Two rows that have this many words in a row in common say the same thing.
LEAK_WORDS = 8


def time_blocks(rows: Sequence[Row], seconds: float) -> list[list[Row]]:
    """Consecutive rows of one recording, each block spanning about `seconds`; no row is divided.

    What is left at the end of a recording is a block of its own if it is at least half as long, else part of the last.
    """
    blocks: list[list[Row]] = []
    for row in rows:
        block = blocks[-1] if blocks else None
        if block and block[0].recording == row.recording and row.end - block[0].start <= seconds:
            block.append(row)
        else:
            blocks.append([row])
    merged: list[list[Row]] = []
    for index, block in enumerate(blocks):
        recording = block[0].recording
        last = index + 1 == len(blocks) or blocks[index + 1][0].recording != recording
        short = block[-1].end - block[0].start < seconds / 2
        if last and short and merged and merged[-1][0].recording == recording:
            merged[-1].extend(block)
        else:
            merged.append(block)
    return merged


def speech_seconds(rows: Sequence[Row]) -> float:
    return sum(row.seconds for row in rows)


def shuffled(blocks: Sequence[list[Row]], seed: int) -> list[list[Row]]:
    """The blocks in an order that depends on the seed and on each block alone, not on how many others there are."""
    return sorted(blocks, key=lambda block: hashlib.sha256(f"{seed}:{block[0].id}".encode()).digest())


def choose_blocks(blocks: Sequence[list[Row]], target: float) -> list[list[Row]]:
    """Blocks taken in order as long as each brings their sum of seconds nearer to `target`; at least the shortest."""
    chosen, total = [], 0.0
    for block in blocks:
        seconds = speech_seconds(block)
        if abs(total + seconds - target) < abs(total - target):
            chosen.append(block)
            total += seconds
    return chosen or [min(blocks, key=speech_seconds)]


def check_enough(rows: Sequence[Row], dropped: Mapping[str, int]) -> None:
    """Raise Problem when the rows are too few to be split; `dropped`: pieces of text that became no row, by reason."""
    if len(rows) < FEWEST_ROWS:
        lost = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "none"
        raise Problem(
            f"{len(rows)} rows are too few to split, it takes {FEWEST_ROWS}; add recordings to data/sources.yaml, or "
            f"change segment.min_seconds or segment.max_seconds (pieces dropped: {lost})"
        )


def split_rows(
    rows: Sequence[Row], validation_share: float, test_share: float, block_seconds: float, seed: int
) -> list[Row]:
    """The rows, in order, with their splits. Raises Problem when their blocks cannot be divided in three."""
    blocks = shuffled(time_blocks(rows, block_seconds), seed)
    if len(blocks) < 3:
        raise Problem(
            f"{len(rows)} rows make only {len(blocks)} blocks of {block_seconds:g} s, too few for train, validation "
            "and test; lower segment.block_seconds or add recordings to data/sources.yaml"
        )
    splits: dict[str, str] = {}
    for split, share in (("test", test_share), ("validation", validation_share)):
        left = [block for block in blocks if block[0].id not in splits]
        for block in choose_blocks(left, share * speech_seconds(rows)):
            splits |= {row.id: split for row in block}
    divided = [replace(row, split=splits.get(row.id, "train")) for row in rows]
    if not any(row.split == "train" for row in divided):
        raise Problem(
            f"{len(rows)} rows in {len(blocks)} blocks leave none to train on; lower segment.block_seconds, "
            "segment.validation_share or segment.test_share"
        )
    return divided


def normal_words(text: str) -> list[str]:
    """The words of a text without case and punctuation."""
    return re.findall(r"[\w']+", text.lower().replace("’", "'"))


def passages(text: str) -> set[tuple[str, ...]]:
    """What must not be in two splits: the whole text, and every run of LEAK_WORDS words in it."""
    words = normal_words(text)
    runs = {tuple(words[first : first + LEAK_WORDS]) for first in range(len(words) - LEAK_WORDS + 1)}
    return runs | {tuple(words)}


def leaks(rows: Sequence[Row]) -> set[str]:
    """Ids of the train rows that share a passage with a held-out row; the held-out row is the one to keep."""
    held_out = set().union(*(passages(row.text) for row in rows if row.split != "train"))
    return {row.id for row in rows if row.split == "train" and passages(row.text) & held_out}
