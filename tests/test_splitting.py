"""Train, validation and test by blocks of time, and the ledger of every second."""

import random
from dataclasses import replace

import numpy as np
import pytest

from stages.files.rows import Row
from stages.process.problem import Problem
from stages.speech.ledger import account
from stages.speech.splitting import check_enough, leaks, split_rows, time_blocks

RATE = 24_000


def made_rows(count=60, seconds=5.0, recordings=("a", "b")):
    draw = random.Random(0)
    return [
        Row(name, n * 6.0, n * 6.0 + seconds, " ".join(f"w{draw.randrange(10**6)}" for _ in range(9)))
        for name in recordings
        for n in range(count // len(recordings))
    ]


def split(rows, block_seconds=30.0, seed=0):
    return split_rows(rows, 0.12, 0.15, block_seconds, seed)


def test_the_shares_come_close_and_the_order_stays():
    rows = made_rows(120)
    divided = split(rows)
    assert [replace(row, split="train") for row in divided] == rows
    for name, share in (("validation", 0.12), ("test", 0.15)):
        assert sum(row.split == name for row in divided) / len(rows) == pytest.approx(share, abs=0.03)


def test_the_same_seed_gives_the_same_split_and_another_one_another():
    rows = made_rows()
    assert split(rows) == split(rows)
    assert split(rows) != split(rows, seed=1)


def test_held_out_rows_lie_together_in_blocks_of_time():
    rows = split(made_rows())
    for block in time_blocks(rows, 30.0):
        assert len({row.split for row in block}) == 1
        assert len({row.recording for row in block}) == 1
        assert block[-1].end - block[0].start >= 15
    assert sum(before.split != after.split for before, after in zip(rows, rows[1:], strict=False)) <= 8


def test_too_few_rows_say_how_many_and_what_was_lost():
    with pytest.raises(Problem, match=r"^3 rows are too few .* 10; add recordings .*\(pieces dropped: 2 too_long\)$"):
        check_enough(made_rows(3, recordings=("a",)), {"too_long": 2})
    check_enough(made_rows(10), {})


def test_too_few_blocks_name_the_setting():
    with pytest.raises(Problem, match="10 rows make only 1 blocks of 100 s.*lower segment.block_seconds"):
        split(made_rows(10, recordings=("a",)), block_seconds=100.0)


def test_a_train_row_that_repeats_a_held_out_row_is_a_leak():
    rows = [
        Row("a", 0, 1, "Thank you!"),
        Row("a", 1, 2, "And then one two three four five six seven eight, of course."),
        Row("a", 2, 3, "One two three four five six seven is not enough."),
        Row("a", 3, 4, "thank you", split="test"),
        Row("a", 4, 5, "One, two, three, four, five, six, seven, eight.", split="validation"),
    ]
    assert leaks(rows) == {"a-0000000", "a-0001000"}


def test_every_sample_is_booked_once():
    speech = np.zeros(1000, bool)
    for start, end in ((1.0, 2.0), (4.0, 5.5), (7.0, 8.0)):
        speech[round(start * 100) : round(end * 100)] = True
    booked = account(240_007, [(0.9, 2.3, "train"), (6.9, 8.3, "too_short")], speech, RATE)
    assert booked.parts == {"train": 33_600, "too_short": 33_600, "no_words": 36_000, "pause": 240_007 - 103_200}
    assert booked.pieces == {"train": 1, "too_short": 1}


def test_spans_that_overlap_are_an_error():
    with pytest.raises(AssertionError, match="overlaps"):
        account(RATE * 10, [(0.0, 2.0, "train"), (1.9, 3.0, "train")], np.zeros(1000, bool), RATE)
