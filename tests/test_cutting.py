"""Where rows begin and end: words with errors in their times, silences that are known."""

import random

import numpy as np
import pytest

from stages.audio.silence import counter, silences
from stages.speech.cutting import SHORTEST_SILENCE, Piece, SegmentSettings, cut_pieces, group_sentences, stack
from stages.speech.transcript import Word

SETTINGS = SegmentSettings(
    method="sentences",
    min_seconds=2.0,
    max_seconds=12.0,
    pad_before=0.1,
    pad_after=0.3,
    validation_share=0.12,
    test_share=0.15,
    block_seconds=30.0,
    seed=0,
)


def heard(spans, seconds):
    """Speech per 10 ms where the spans are."""
    speech = np.zeros(round(seconds * 100), bool)
    for start, end in spans:
        speech[round(start * 100) : round(end * 100)] = True
    return speech


def words_of(text, *times):
    texts = text.split()
    assert len(texts) == len(times)
    return [Word(word=f" {t}", start=a, end=b, probability=1.0) for t, (a, b) in zip(texts, times, strict=True)]


def pieces_of(words, bounds, spans, seconds, settings=SETTINGS):
    speech = heard(spans, seconds)
    return cut_pieces(words, bounds, silences(speech, SHORTEST_SILENCE), counter(speech), seconds, settings)


def test_a_row_starts_pad_before_the_first_word_and_ends_pad_after_the_last():
    spans = [(1.0, 1.5), (1.6, 2.0), (3.0, 3.4), (3.5, 4.0)]
    words = words_of("One two. Three four.", *spans)
    first, second = pieces_of(words, [(0, 2), (2, 4)], spans, 5.0)
    assert (first.start, first.end) == (0.9, 2.3)
    assert (second.start, second.end) == (2.9, 4.3)
    assert second.pause == pytest.approx(1.0)
    assert (first.text, second.text) == ("One two.", "Three four.")


@pytest.mark.parametrize("error", [-0.15, -0.1, 0.0, 0.1, 0.15])
def test_the_silence_says_where_to_cut_not_the_word_times(error):
    spans = [(1.0, 1.5), (1.6, 2.0), (2.6, 3.0), (3.1, 4.0)]
    shifted = [(start + error, end + error) for start, end in spans]
    first, second = pieces_of(words_of("One two. Three four.", *shifted), [(0, 2), (2, 4)], spans, 5.0)
    assert (first.end, second.start) == (2.3, 2.5)


def test_a_word_that_whisper_stretches_over_the_pause_is_cut_off_where_it_ends():
    spans = [(1.0, 2.0), (4.0, 5.0)]
    first, second = pieces_of(words_of("One. Two.", (1.0, 4.0), (4.0, 5.0)), [(0, 1), (1, 2)], spans, 6.0)
    assert (first.end, second.start) == (2.3, 3.9)


def test_a_pause_too_short_for_both_pads_is_shared_out():
    spans = [(1.0, 2.0), (2.2, 3.0)]
    first, second = pieces_of(words_of("One. Two.", *spans), [(0, 1), (1, 2)], spans, 4.0)
    assert first.end == second.start == 2.15


def test_sentences_without_a_pause_between_them_stay_together():
    spans = [(1.0, 2.0), (2.05, 3.0), (3.5, 4.0)]  # 50 ms may be the closed lips of a p
    pieces = pieces_of(words_of("One. Two. Three.", *spans), [(0, 1), (1, 2), (2, 3)], spans, 5.0)
    assert [(piece.text, piece.count, piece.reason) for piece in pieces] == [
        ("One. Two.", 2, None),
        ("Three.", 1, None),
    ]


def test_sentences_that_run_together_past_the_maximum_are_dropped():
    spans = [(1.0, 9.0), (9.0, 16.0)]
    [piece] = pieces_of(words_of("One. Two.", *spans), [(0, 1), (1, 2)], spans, 17.0)
    assert piece.reason == "no_pause"


def test_a_sentence_longer_than_the_maximum_is_dropped():
    [piece] = pieces_of(words_of("One.", (1.0, 14.0)), [(0, 1)], [(1.0, 14.0)], 15.0)
    assert piece.reason == "too_long"


def test_a_recording_that_begins_and_ends_in_the_middle_of_speech_loses_these_sentences():
    spans = [(0.0, 2.0), (3.0, 5.0), (6.0, 8.0)]
    pieces = pieces_of(words_of("One. Two. Three.", *spans), [(0, 1), (1, 2), (2, 3)], spans, 8.0)
    assert [piece.reason for piece in pieces] == ["no_pause", None, "no_pause"]
    assert (pieces[0].start, pieces[2].end) == (0.0, 8.0)


def test_a_recording_with_little_silence_at_its_ends_keeps_them():
    [piece] = pieces_of(words_of("One.", (0.05, 2.0)), [(0, 1)], [(0.05, 2.0)], 2.02)
    assert (piece.start, piece.end, piece.reason) == (0.0, 2.02, None)


def test_speech_between_two_sentences_that_has_no_words_is_in_neither():
    spans = [(1.0, 2.0), (3.0, 5.0), (6.0, 7.0)]
    first, second = pieces_of(words_of("One. Three.", spans[0], spans[2]), [(0, 1), (1, 2)], spans, 8.0)
    assert (first.end, second.start) == (2.3, 5.9)
    assert second.pause == float("inf")


def test_a_sentence_with_speech_inside_that_has_no_words_is_dropped():
    spans = [(1.0, 2.0), (2.5, 4.5), (5.0, 6.0)]
    [piece] = pieces_of(words_of("One three.", spans[0], spans[2]), [(0, 2)], spans, 7.0)
    assert piece.reason == "untranscribed"


@pytest.mark.parametrize("spans", [[(1.0, 4.0), (5.0, 6.0)], [(1.0, 2.0), (3.0, 6.0)]])
def test_a_sentence_that_runs_on_into_speech_without_words_is_dropped(spans):
    words = words_of("One. Two.", (1.0, 2.0), (5.0, 6.0))
    pieces = pieces_of(words, [(0, 1), (1, 2)], spans, 7.0)
    assert sorted(str(piece.reason) for piece in pieces) == ["None", "untranscribed"]


def test_words_that_whisper_made_up_in_silence_are_dropped():
    words = words_of("One. Thank you. Two.", (1.0, 2.0), (4.0, 4.5), (4.5, 5.0), (7.0, 8.0))
    one, made_up, two = pieces_of(words, [(0, 1), (1, 3), (3, 4)], [(1.0, 2.0), (7.0, 8.0)], 9.0)
    assert (one.end, two.start) == (2.3, 6.9)
    assert (made_up.reason, made_up.seconds) == ("no_speech", 0)


def test_cuts_never_overlap_and_are_never_in_speech():
    draw = random.Random(1)
    for _ in range(50):
        spans, time = [], draw.uniform(0, 1)
        for _ in range(20):
            end = time + draw.uniform(0.1, 0.8)
            spans.append((round(time, 2), round(end, 2)))
            time = end + draw.choice([0.03, 0.08, 0.15, 0.3, 1.0, 3.0])
        seconds = round(time + 0.2, 2)
        late = [(max(0, a + draw.gauss(0, 0.08)), b + draw.gauss(0, 0.08)) for a, b in spans]
        words = words_of("w. " * 20, *((a, max(a, b)) for a, b in late))
        pieces = pieces_of(words, [(n, n + 1) for n in range(20)], spans, seconds)
        rows = group_sentences(pieces, SETTINGS)
        speech = heard(spans, seconds)
        edges = [0.0, *(time for row in rows for time in (row.start, row.end)), seconds]
        assert edges == sorted(edges)
        cuts = [time for row in rows if not row.reason for time in (row.start, row.end)]
        assert not any(
            speech[min(int(time * 100 + 1e-6), len(speech) - 1)] and speech[int(time * 100 + 1e-6) - 1] for time in cuts
        )


def piece(start, end, pause=0.5, text="Text.", reason=None):
    return Piece(text, start, end, pause, reason=reason)


def shown(rows):
    return [(row.start, row.end, row.reason) for row in rows]


def test_every_sentence_that_is_long_enough_is_a_row():
    assert shown(group_sentences([piece(0, 3), piece(3.1, 6)], SETTINGS)) == [(0, 3, None), (3.1, 6, None)]


def test_a_short_sentence_joins_a_neighbour():
    assert shown(group_sentences([piece(0, 1), piece(1.1, 5)], SETTINGS)) == [(0, 5, None)]
    assert shown(group_sentences([piece(0, 4), piece(4.1, 5)], SETTINGS)) == [(0, 5, None)]
    [row] = group_sentences([piece(0, 1, text="No."), piece(1.1, 5, text="He left.")], SETTINGS)
    assert (row.text, row.count) == ("No. He left.", 2)


def test_short_sentences_join_each_other():
    rows = group_sentences([piece(n, n + 1.0, pause=0.0) for n in range(5)], SETTINGS)
    assert sorted(row.seconds for row in rows) == [2, 3]
    assert [row.reason for row in rows] == [None, None]


def test_a_short_sentence_between_long_pauses_is_dropped():
    pieces = [piece(0, 4), piece(6, 7, pause=2), piece(9, 12, pause=2)]
    assert shown(group_sentences(pieces, SETTINGS)) == [(0, 4, None), (6, 7, "too_short"), (9, 12, None)]


def test_joining_never_passes_the_maximum():
    pieces = [piece(0, 11.5), piece(11.6, 12.6), piece(12.7, 24)]
    assert shown(group_sentences(pieces, SETTINGS)) == [(0, 11.5, None), (11.6, 12.6, "too_short"), (12.7, 24, None)]


def test_nothing_joins_across_a_dropped_sentence():
    pieces = [piece(0, 1), piece(1.1, 3, reason="untranscribed"), piece(3.1, 4)]
    assert [row.reason for row in group_sentences(pieces, SETTINGS)] == ["too_short", "untranscribed", "too_short"]


def test_simple_stacks_until_the_next_would_pass_the_maximum():
    pieces = [piece(0, 5), piece(5, 9), piece(9, 13), piece(13, 14), piece(20, 21, pause=6)]
    assert shown(stack(pieces, SETTINGS)) == [(0, 9, None), (9, 14, None), (20, 21, "too_short")]
