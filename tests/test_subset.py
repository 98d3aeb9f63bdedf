"""train.minutes: a smaller set of rows for the curve of how much speech it takes."""

import pytest

from stages.csm.subset import first_minutes
from stages.files.rows import Row
from stages.process.problem import Problem


def coded(count=60, seconds=5.0):
    return [(Row(f"talk{place % 3}", place * seconds, (place + 1) * seconds, "Hello."), None) for place in range(count)]


def test_a_smaller_set_is_part_of_the_larger_one():
    rows = coded()
    sets = [{row.id for row, _ in first_minutes(rows, minutes, 0)} for minutes in (0.01, 0.5, 1, 3, 5)]
    assert [len(found) for found in sets] == [1, 6, 12, 36, 60]
    assert all(smaller < larger for smaller, larger in zip(sets, sets[1:], strict=False))
    assert first_minutes(rows, None, 0) == rows


def test_the_draw_keeps_the_order_takes_from_every_recording_and_depends_on_the_seed():
    rows = coded()
    minute = first_minutes(rows, 1, 0)
    assert minute == [pair for pair in rows if pair in minute]
    assert {row.recording for row, _ in minute} == {"talk0", "talk1", "talk2"}
    assert max(row.start for row, _ in minute) > 150  # not the beginning only
    assert minute != first_minutes(rows, 1, 1)


def test_more_speech_than_there_is_is_refused():
    with pytest.raises(Problem, match="^train.minutes is 10, but the training rows hold 5.0"):
        first_minutes(coded(), 10, 0)
