"""What may be said: the evaluator's own checks, what a small run cannot show, and the verdict in words."""

import pytest

from stages.scoring.judge import base_speaks, doubts, guards, limits, verdict
from stages.scoring.summary import GENERATED, Comparison

MERGE = {
    "logits_difference": 4e-06,
    "logits_difference_on_disk": 0.0079,
    "logits_distance_on_disk": 0.0043,
    "logits_moved_by_training": 3.08,
    "same_choice_on_disk": 0.995,
}


def summary(texts=100, **changed):
    """A run in which all is well; `gt={...}` changes figures of a condition."""
    good = {
        "clips": 3 * texts,
        "texts": texts,
        "wer": 0.2,
        "similarity": 0.8,
        "failed": 0.1,
        "stop_rate": 0.96,
        "empty": 0,
    }
    recorded = {"wer": 0.05, "wer_macro": 0.05, "wer_second": 0.07, "similarity": 0.95, "failed": 0.02, "quality": 3.4}
    found = {"gt": recorded, "gt_codec": recorded | {"wer": 0.1}} | dict.fromkeys(GENERATED, good)
    found |= {
        "same_speaker": {"similarity": 0.95, "clips": 12},
        "other_speaker": {"similarity": 0.6, "voices": 24, "threshold": 0.75, "eer": 0.05},
    }
    return found | {name: found[name] | figures for name, figures in changed.items()}


def change(figure, difference, half=0.02, p=0.01, pair=("zero_shot", "ft"), texts=100):
    return Comparison(*pair, figure, difference, round(difference - half, 4), round(difference + half, 4), p, texts)


def test_whether_the_base_can_speak_is_read_from_the_codec():
    assert base_speaks(summary()) is True
    assert base_speaks(summary(gt_codec={"wer": 0.95})) is False
    assert base_speaks(summary(gt={"wer": 0.5}, gt_codec={"wer": 0.95})) is None  # nobody understands: nobody can say


# Checks


def test_a_sound_evaluator_passes_all_its_checks():
    found = guards(summary(), MERGE)
    assert all(guard.passed is True for guard in found) and doubts(summary(), MERGE) == []
    assert len({guard.name for guard in found}) == len(found) == 7


@pytest.mark.parametrize(
    ("changed", "name", "says"),
    [
        ({"gt": {"wer": 0.31, "wer_macro": 0.1}}, "recogniser", "31% .* the recogniser, not the voice"),
        ({"gt": {"wer_second": 0.4}}, "second_recogniser", "second 40%. Doubt the second, .* evaluate.second_model"),
        ({"gt": {"wer_macro": 0.25}}, "second_recogniser", "Doubt the first, .* evaluate.model"),
        ({"gt": {"similarity": 0.7}}, "speaker_encoder", "the speaker encoder, not the voice"),
        ({"gt": {"similarity": None}}, "speaker_encoder", "Only one held-out recording"),
        ({"other_speaker": {"similarity": 0.93}}, "voices_apart", "0.93. It, not the voice, is to blame"),
        ({"other_speaker": {"eer": 0.3}}, "voices_apart", "in 30% of cases"),
        ({"gt": {"failed": 0.5, "fail_dead_air": 0.4}}, "failures", r"50% of the recordings .*dead_air \(40%\)"),
        ({"gt": {"quality": 1.9}}, "quality", "1.9 of 5: they are noisy"),
        ({"gt": {"quality": 9.0}}, "quality", "outside its scale"),
    ],
)
def test_an_evaluator_that_fails_a_check_says_which(changed, name, says):
    (failed,) = [guard for guard in guards(summary(**changed), MERGE) if guard.passed is False]
    assert failed.name == name
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(failed.says)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"same_choice_on_disk": 0.7}, "another code than the trained one at 30%"),
        ({"logits_difference_on_disk": 2.0}, "lost in rounding"),
        ({"logits_moved_by_training": 0.0}, "lost in rounding"),
    ],
)
def test_a_merged_model_that_is_not_the_trained_one_is_doubted(changed, says):
    (found,) = doubts(summary(), MERGE | changed)
    assert says in found


def test_what_could_not_be_checked_is_no_doubt_and_no_pass():
    bare = summary(gt={"wer_second": None, "quality": None, "failed": None})
    bare |= {"same_speaker": {}, "other_speaker": {}}
    unknown = {guard.name for guard in guards(bare) if guard.passed is None}
    assert unknown == {"second_recogniser", "quality", "failures", "voices_apart", "merged"} and doubts(bare) == []


# Sizes


def test_a_hundred_texts_have_no_limit_to_state():
    assert limits(summary(100), [change("wer", -0.1)]) == []
    assert limits({name: {"wer": 0.1} for name in GENERATED}, []) == []  # an older commit counts no texts


def test_a_small_run_says_what_it_could_have_shown():
    (found,) = limits(summary(12), [change("wer", -0.1, 0.105), change("similarity", 0.1, 0.031)])
    assert found.startswith("12 texts") and "10.5 points of word errors and 0.031 of similarity" in found


def test_fewer_than_eight_texts_show_nothing():
    assert "With 7 texts no difference can be significant" in limits(summary(7), [change("wer", -0.1)])[0]
    assert "With 1 text no" in limits(summary(1), [])[0]
    assert "significant" not in limits(summary(8), [change("wer", -0.1)])[0]


def test_clips_that_are_all_alike_do_not_show_that_all_clips_are():
    (found,) = limits(summary(10), [change("wer", 0.0, 0.0), change("similarity", 0.0, 0.0)])
    assert "fewer than 30% of all texts" in found


# Verdict


def said(changed=(), **figures):
    return verdict(summary(**figures), list(changed))


def test_a_change_is_stated_with_its_interval():
    figures = {"zero_shot": {"similarity": 0.61, "wer": 0.15, "stop_rate": 0.83, "failed": 0.3}, "ft": {"wer": 0.04}}
    closer, clearer, stops, cloning = said(
        [change("similarity", 0.19), change("wer", -0.11), change("failed", -0.2)], **figures
    )
    assert closer == (
        "Tuning brings the voice closer to the speaker: similarity 0.61 in Base, 0.80 in Tuned, "
        "+0.190 (between +0.170 and +0.210)."
    )
    assert clearer == (
        "Tuning makes speech clearer: word errors 15.0% in Base, 4.0% in Tuned, -11.0 points "
        "(between -13.0 and -9.0 points)."
    )
    assert "by themselves: 83% of Base (78% to 87%), 96% of Tuned (93% to 98%); fewer clips fail" in stops
    assert cloning.count("cannot be compared") == 2


def test_a_change_for_the_worse_is_stated_as_such():
    closer, clearer, stops, _ = said([change("similarity", -0.1), change("wer", 0.1), change("failed", 0.2)])
    assert "further from the speaker" in closer and "less clear" in clearer and "more clips fail" in stops


@pytest.mark.parametrize("doubtful", [{"p": 0.06}, {"half": 0.3}])  # the test says no, or the interval holds 0
def test_without_evidence_no_difference_is_claimed(doubtful):
    figures = ("similarity", "wer", "failed")
    pairs = (("zero_shot", "ft"), ("clone", "ft"))
    sentences = said([change(figure, 0.1, pair=pair, **doubtful) for figure in figures for pair in pairs])
    assert all("could be shown (between " in sentence for sentence in sentences)
    assert not any(word in " ".join(sentences) for word in ("Tuning", "fewer", "it is"))


def test_the_tuned_voice_is_compared_with_cloning():
    pair = ("clone", "ft")
    *_, cloning = said([change("similarity", 0.05, pair=pair), change("wer", 0.0, pair=pair, p=1)])
    assert "it is closer, similarity +0.050 " in cloning and "no difference in word errors could be shown" in cloning
    *_, cloning = said([change("similarity", -0.05, pair=pair), change("wer", 0.1, pair=pair)])
    assert "it is further from the speaker" in cloning and "it is less clear" in cloning


def test_an_interval_that_is_too_sure_is_shown_with_its_p():
    assert "could be shown (between +0.080 and +0.120, p 0.12)" in said([change("similarity", 0.1, p=0.12)])[0]
    assert "could be shown (between 0.0 and 0.0 points, p 1)" in said([change("wer", 0.0, 0.0, p=1.0)])[1]


def test_silent_clips_are_named_where_similarity_is():
    closer = said([change("similarity", 0.1)], ft={"empty": 7})[0]
    assert "Without sound, and so without similarity: 7 of 300 clips of Tuned." in closer
    assert "It cannot be said" in said(ft={"empty": 300})[0] and "300 of 300" in said(ft={"empty": 300})[0]


def test_a_base_that_cannot_speak_or_an_evaluator_in_doubt_comes_first():
    assert "cannot speak" in said(gt_codec={"wer": 1.0})[0]
    assert "doubt it before the voice" in said(gt={"wer": 0.5})[0]
    assert len(said(gt_codec={"wer": 1.0})) == 4


def test_of_nothing_nothing_is_said():
    nothing = {name: {} for name in summary()}
    assert base_speaks(nothing) is None and limits(nothing, []) == []
    assert "not measured" in " ".join(verdict(nothing, []))
