"""Less speech than there is, to see what more would bring."""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

from stages.csm.turns import Turn
from stages.files.rows import Row
from stages.process.problem import Problem


def first_minutes(coded: Sequence[tuple[Row, Turn]], minutes: float | None, seed: int) -> list[tuple[Row, Turn]]:
    """Rows of about `minutes` of speech in all, at least one, in the order given; every row without a number.

    They are drawn from all recordings alike, in an order that depends on the seed and on each row alone. So the rows of
    a smaller number are among those of a larger one. Raises Problem when there is less speech than asked for.
    """
    if minutes is None:
        return list(coded)
    there = sum(row.seconds for row, _ in coded) / 60
    if minutes > there:
        raise Problem(
            f"train.minutes is {minutes:g}, but the training rows hold {there:.1f}; lower it, or null for all"
        )
    drawn = sorted(coded, key=lambda pair: hashlib.sha256(f"{seed}:{pair[0].id}".encode()).digest())
    sums = list(accumulate(row.seconds for row, _ in drawn))
    count = 1 + min(range(len(sums)), key=lambda place: abs(sums[place] - minutes * 60))
    chosen = {row.id for row, _ in drawn[:count]}
    return [pair for pair in coded if pair[0].id in chosen]
