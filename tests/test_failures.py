"""How a clip's score is made, and in which ways a clip fails."""

from dataclasses import replace

import numpy as np
import pytest

from stages.csm.turns import Turn
from stages.files.rows import Row
from stages.scoring.failures import NAMES, Limits, failures
from stages.scoring.listen import Heard
from stages.scoring.score import HeldOutVoices, Score, Yardstick, as_csv, as_table, score
from stages.scoring.sentences import Sentence
from stages.scoring.speak import Utterance
from stages.scoring.words import Normaliser

LIMITS = Limits(similarity=0.7, quality=2.5)
TEXT = "one cat two cats three cats four cats five cats"
ROW = Row("talk", 0.0, 4.0, TEXT, split="test")


@pytest.fixture(scope="module")
def yardstick():
    others = [Row("talk", start, start + 4.0, "a", split="test") for start in (0.0, 5.0, 10.0)]
    voices = HeldOutVoices([(row, Heard(4.0, False, embedding=[1.0, 0.0])) for row in others])
    return Yardstick(voices, {0: np.array([0.6, 0.8])}, Normaliser("en"), LIMITS)


def utterance(stopped=True, condition="ft", seed=0):
    sentence = Sentence(ROW, Turn([1], np.zeros((1, 2), np.int16)), b"")
    return Utterance(condition, sentence, lambda: None, seed, stopped=stopped)


GOOD = Heard(
    seconds=4.0, empty=False, text=TEXT, text_second=TEXT, embedding=[1.0, 0.0], speech_seconds=3.5, quality=3.4
)
EMPTY = Heard(seconds=0.1, empty=True, text_second="")


def test_a_good_clip_has_no_failure(yardstick):
    found = score(utterance(), GOOD, yardstick)
    assert found.failures == "" and (found.wer, found.wer_seed_tts, found.wer_second) == (0, 0, 0)
    assert (found.similarity, found.similarity_prompt, found.quality) == (1.0, 0.6, 3.4)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"seconds": 2.3}, "truncated"),  # 0.58 of the recording
        ({"seconds": 2.5}, ""),
        ({"text": "one cat two cats three cats four cats"}, "truncated"),
        ({"text": "one cat two cats three cats four cats five"}, ""),
        ({"longest_pause": 2.1}, "dead_air"),
        ({"trailing_silence": 1.1}, "dead_air"),
        ({"longest_pause": 2.0, "trailing_silence": 1.0}, ""),
        ({"text": TEXT + " five cats five cats"}, "repetition"),
        ({"text": TEXT + " five cats five"}, ""),  # 30 %
        ({"embedding": [0.6, 0.8]}, "wrong_voice"),
        ({"text": "one dog too dogs free dogs for dogs five cats"}, "wer_gt_50"),
        ({"quality": 2.4}, "noise"),
        ({"quality": None}, ""),
        ({"text": ""}, "truncated wer_gt_50"),
        ({"text_second": ""}, ""),  # the first recogniser decides
    ],
)
def test_every_way_to_fail(yardstick, changes, names):
    assert score(utterance(), replace(GOOD, **changes), yardstick).failures == names


def test_an_empty_clip_is_empty_and_has_all_words_wrong(yardstick):
    found = score(utterance(), EMPTY, yardstick)
    assert found.failures == "empty wer_gt_50"
    assert (found.wer, found.cer, found.wer_seed_tts, found.wer_second, found.deletions) == (1, 1, 1, 1, 10)
    assert (found.similarity, found.similarity_prompt, found.quality, found.pause_share) == (None,) * 4
    assert score(utterance(stopped=False), EMPTY, yardstick).failures == "no_stop empty wer_gt_50"


def test_only_generated_speech_can_fail_to_stop(yardstick):
    assert score(utterance(stopped=False), GOOD, yardstick).failures == "no_stop"
    assert score(utterance(stopped=None, condition="gt", seed=None), GOOD, yardstick).failures == ""


def test_without_a_limit_nothing_fails_by_it_and_that_is_told():
    assert Limits().unjudged == ("wrong_voice", "noise") and LIMITS.unjudged == ()
    assert set(Limits(similarity=0.7).unjudged) < set(NAMES)


def test_several_failures_come_in_the_order_of_their_names(yardstick):
    clip = replace(GOOD, embedding=[0.0, 1.0], quality=1.1, longest_pause=3.0, text="", seconds=12.0)
    found = score(utterance(stopped=False), clip, yardstick)
    assert found.failures == "no_stop truncated dead_air wrong_voice wer_gt_50 noise"
    assert failures(found, False, LIMITS) == ("no_stop", "dead_air", "wrong_voice", "wer_gt_50", "noise")


def test_a_table_keeps_whole_numbers_and_flags_where_some_are_missing(yardstick):
    scores = [
        score(utterance(stopped=None, condition="gt", seed=None), replace(GOOD, text_second=None), yardstick),
        score(utterance(), replace(EMPTY, text_second=None), yardstick),
    ]
    header, recording, empty = as_csv(as_table(scores)).splitlines()
    assert header == ",".join(Score.__dataclass_fields__)
    columns = header.split(",")
    line = dict(zip(columns, recording.split(","), strict=True))
    assert (line["seed"], line["stopped"], line["empty"], line["wer_second"], line["failures"]) == ("", "", "0", "", "")
    line = dict(zip(columns, empty.split(","), strict=True))
    assert (line["seed"], line["stopped"], line["empty"], line["failures"]) == ("0", "1", "1", "empty wer_gt_50")
