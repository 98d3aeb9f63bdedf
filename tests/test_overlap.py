"""What the test has in common with training: words, and sound that was learnt by heart."""

import numpy as np
import pytest

from stages.scoring.overlap import longest_shared_run, nearest, overlap, text_overlap

TRAIN = ["The quick brown fox jumps over the lazy dog, again and again.", "Good morning!"]


def codes(*first):
    return np.array([[code, 7] for code in first], np.int16).reshape(-1, 2)


def test_shared_words_are_found_whatever_case_and_punctuation():
    texts = ["Good morning", "Well: the QUICK brown fox jumps over the lazy cat", "Nothing in common"]
    found = text_overlap(texts, TRAIN)
    assert found == {
        "texts": 3,
        "repeated_texts": 1,
        "texts_sharing_8_words": 1,
        "shared_8_word_runs": pytest.approx(1 / 3),  # one of three runs in the second text; the others have none
        "longest_shared_run": 8,
    }


@pytest.mark.parametrize(
    ("text", "length"), [("a quick red fox", 1), ("jumps over the", 3), ("x y z", 0), ("", 0), (TRAIN[0], 12)]
)
def test_the_longest_run_in_common(text, length):
    train = [["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "again", "and", "again"]]
    words = text.lower().replace(",", "").replace(".", "").split()
    assert longest_shared_run([words], train) == length


def test_a_copy_is_at_distance_0_and_unrelated_sound_near_1():
    train = [codes(1, 2, 3, 4), codes(*range(100, 110))]
    assert nearest([codes(*range(100, 110))], train) == 0
    assert nearest([codes(*range(100, 109), 5)], train) == pytest.approx(0.1)
    assert nearest([codes(50, 51)], train) == 1
    assert nearest([codes()], train) is None and nearest([codes(1)], []) is None


def test_real_sizes_take_a_moment():
    rng = np.random.default_rng(0)
    train = [rng.integers(0, 2051, (120, 32)).astype(np.int16) for _ in range(300)]
    clips = [rng.integers(0, 2051, (150, 32)).astype(np.int16) for _ in range(100)]
    assert nearest(clips, train) > 0.9
    assert nearest([*clips, train[7]], train) == 0


def test_figures_are_flat_numbers_and_leave_out_what_nobody_said():
    found = overlap(["good morning"], {"gt": [codes(1, 2)], "ft": [codes()]}, TRAIN, [codes(1, 3)])
    assert found["nearest_gt"] == 0.5 and "nearest_ft" not in found
    assert all(isinstance(value, int | float) for value in found.values())
