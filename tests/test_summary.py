"""From clips to figures and differences: nothing is left out unseen, and what cannot be known is not made up."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from stages.files.atomic import write_json
from stages.scoring.summary import COMPARED, GENERATED, as_metrics, comparisons, from_metrics, paired, summarise

REFERENCES = {
    "same_speaker": {"similarity": 0.95, "clips": 12},
    "other_speaker": {"similarity": 0.55, "voices": 24, "threshold": 0.7, "eer": 0.04},
}


def clip(condition="ft", row="talk-0", seed=0, wrong=0, words=4, similarity=0.9, failures="", **more):
    values = {"condition": condition, "row": row, "seed": seed, "wer": wrong / words, "wer_seed_tts": wrong / words}
    values |= {"words": words, "word_errors": wrong, "substitutions": wrong, "deletions": 0, "insertions": 0}
    values |= {"characters": 4 * words, "character_errors": wrong, "wer_second": None, "similarity": similarity}
    values |= {"similarity_prompt": similarity, "stopped": True, "empty": similarity is None, "duration_ratio": 1.0}
    values |= {"pitch_hz": 200.0, "pitch_spread_st": 2.0, "pace": 4.0, "pause_share": 0.1, "loudness_lufs": -20.0}
    return values | {"quality": None, "failures": failures} | more


def silent(**more):
    nothing = dict.fromkeys(
        ["similarity_prompt", "pitch_hz", "pitch_spread_st", "pace", "pause_share", "loudness_lufs"]
    )
    return clip(**({"wrong": 4, "similarity": None, "failures": "empty wer_gt_50"} | nothing | more))


def recording(**more):
    return clip("gt", **({"seed": None, "stopped": None} | more))


def table(*clips):
    """As as_table of score.py makes it."""
    found = pd.DataFrame(list(clips))
    return found.assign(seed=found["seed"].astype("Int64"), stopped=found["stopped"].astype("boolean"))


def voices(texts=12, seeds=(0, 1, 2), seed=0, **gain):
    """A run: every generated condition says every text with every seed; `gain` shifts a condition's similarity."""
    noise, clips = np.random.default_rng(seed), []
    for text in range(texts):
        words, hard = int(noise.integers(4, 12)), noise.normal(0, 0.05)
        for name in GENERATED:
            for one in seeds:
                similarity = float(0.6 + gain.get(name, 0) + hard + noise.normal(0, 0.02))
                wrong = int(noise.binomial(words, 0.3))
                failures = "wer_gt_50" if wrong > words / 2 else ""
                clips.append(clip(name, f"talk-{text:02}", one, wrong, words, similarity, failures))
    return table(*clips)


# Figures


def test_silent_clips_count_in_every_rate_and_have_no_voice():
    figures = summarise(table(clip(), silent(row="talk-1", wrong=12, words=12, stopped=False)))["ft"]
    assert (figures["wer"], figures["wer_macro"]) == (0.75, 0.5)  # of all words; of the clips
    assert (figures["failed"], figures["fail_empty"], figures["stop_rate"]) == (0.5, 0.5, 0.5)
    assert (figures["empty"], figures["clips"], figures["texts"]) == (1, 2, 2)
    assert figures["similarity"] == 0.9 and figures["pitch_hz"] == 200


def test_a_condition_of_silence_has_figures():
    figures = summarise(table(*(silent(row=f"talk-{n}") for n in range(3))), REFERENCES)["ft"]
    assert (figures["wer"], figures["wer_low"], figures["wer_high"], figures["failed"]) == (1, 1, 1, 1)
    assert [figures[name] for name in ("similarity", "similarity_low", "similarity_normalised", "pace")] == [None] * 4


def test_word_figures():
    clips = [
        clip(row="a", words=10, word_errors=3, wer=0.3, insertions=2, deletions=1, wer_seed_tts=0.4, wer_second=0.2),
        clip(row="b", words=2, word_errors=2, wer=1.0, deletions=2, wer_seed_tts=1.0, wer_second=0.0),
        clip(row="c", words=8, wer_second=0.1),
    ]
    figures = summarise(table(*clips))["ft"]
    assert (figures["wer"], figures["wer_macro"], figures["wer_median"]) == (0.25, 0.4333, 0.3)
    assert (figures["wer_seed_tts"], figures["wer_second"]) == (0.4667, 0.1)
    assert (figures["insertion_rate"], figures["deletion_rate"]) == (0.1, 0.15)
    assert figures["wer_low"] < 0.25 < figures["wer_high"]


def test_failures_are_shares_with_wilsons_interval():
    failures = ["no_stop wer_gt_50", "wer_gt_50", "", ""]
    clips = [clip(row=str(number), failures=names) for number, names in enumerate(failures)]
    figures = summarise(table(*clips))["ft"]
    assert (figures["failed"], figures["fail_wer_gt_50"], figures["fail_no_stop"]) == (0.5, 0.5, 0.25)
    assert figures["fail_empty"] == figures["fail_dead_air"] == 0
    theirs = scipy.stats.binomtest(2, 4).proportion_ci(method="wilson")
    assert (figures["failed_low"], figures["failed_high"]) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


def test_a_failure_that_nothing_looked_for_is_unknown_and_not_zero():
    figures = summarise(table(clip(), recording()), unjudged=("wrong_voice", "noise"))
    assert figures["ft"]["fail_noise"] is None and figures["ft"]["fail_wrong_voice"] is None
    assert figures["ft"]["fail_no_stop"] == 0 and figures["gt"]["fail_no_stop"] is None  # a recording has no limit
    assert figures["gt"]["fail_empty"] == 0 and figures["gt"]["stop_rate"] is None


def test_a_voice_stands_between_other_people_and_the_speaker():
    assert summarise(table(clip(similarity=0.75)), REFERENCES)["ft"]["similarity_normalised"] == 0.5
    assert summarise(table(clip(similarity=0.75)))["ft"]["similarity_normalised"] is None
    near = REFERENCES | {"same_speaker": {"similarity": 0.56}}  # no room between the two: no place in it
    assert summarise(table(clip(similarity=0.75)), near)["ft"]["similarity_normalised"] is None


def test_the_references_stand_beside_the_conditions():
    summary = summarise(table(clip()), REFERENCES)
    assert summary["other_speaker"] == REFERENCES["other_speaker"] and list(summary)[0] == "ft"
    assert summarise(table(clip()))["same_speaker"] == {}


def test_seeds_of_a_text_differ_by_their_standard_deviation():
    spread = [
        clip(row=row, seed=seed, similarity=0.5 + seed * width)
        for row, width in (("a", 0.1), ("b", 0.3))
        for seed in (0, 1)
    ]
    expected = (np.std([0, 0.1], ddof=1) + np.std([0, 0.3], ddof=1)) / 2
    assert summarise(table(*spread))["ft"]["similarity_seed_sd"] == pytest.approx(expected, abs=1e-4)
    assert summarise(table(clip(), clip(row="b")))["ft"]["similarity_seed_sd"] is None


def test_what_could_not_be_measured_is_no_metric():
    metrics = as_metrics(summarise(table(clip(similarity=None, pace=None, empty=False))))
    assert "similarity" not in metrics["ft"] and "pace" not in metrics["ft"] and "wer" in metrics["ft"]
    assert "same_speaker" not in metrics and metrics["differences"] == {}


def test_a_table_read_back_gives_the_same_figures():
    """`make compare` works from the CSV of any commit: flags are 0 and 1 there, and no failure is an empty field."""
    run = voices(6)
    run = pd.concat([run, table(recording(row="talk-00"), silent(row="talk-99"))], ignore_index=True)
    flags = {name: run[name].astype("Int64") for name in ("stopped", "empty")}
    back = pd.read_csv(io.StringIO(run.assign(**flags).to_csv(index=False)))
    assert summarise(back, REFERENCES) == summarise(run, REFERENCES)
    assert comparisons(back) == comparisons(run)


def test_a_table_of_an_older_commit_has_fewer_figures():
    old = voices(6).drop(
        columns=["failures", "quality", "wer_second", "wer_seed_tts", "pause_share", "similarity_prompt"]
    )
    figures = summarise(old)["ft"]
    assert figures["wer"] is not None and figures["failed"] is None and figures["fail_empty"] is None
    assert {one.figure for one in comparisons(old)} == {"wer", "similarity"}


def test_every_number_can_be_written_and_the_bytes_are_the_same(tmp_path):
    run = table(clip(), silent(row="b"), recording(), clip("clone", similarity=float("nan"), quality=float("inf")))
    for name in ("first.json", "second.json"):
        write_json(tmp_path / name, as_metrics(summarise(run, REFERENCES), comparisons(run)))
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()


# Differences


def test_a_closer_voice_is_found_and_an_equal_one_is_not():
    found = {(one.first, one.second, one.figure): one for one in comparisons(voices(ft=0.1, ft_clone=0.1))}
    assert len(found) == 18 and {one.texts for one in found.values()} == {12}
    closer = found["zero_shot", "ft", "similarity"]
    assert closer.significant and closer.low < 0.1 < closer.high and closer.difference == pytest.approx(0.1, abs=0.01)
    assert not found["ft", "ft_clone", "similarity"].significant
    assert not found["zero_shot", "ft", "wer"].significant


def test_pairs_come_in_one_order():
    pairs = [(one.figure, one.first, one.second) for one in comparisons(voices(4), 200)]
    assert pairs[:2] == [("wer", "zero_shot", "clone"), ("wer", "zero_shot", "ft")]
    assert [figure for figure, *_ in pairs[::6]] == list(COMPARED)


def test_the_six_pairs_of_a_figure_are_corrected_together():
    run = voices(8, ft=0.2)
    p = {one.second: one.p for one in comparisons(run) if one.figure == "similarity" and one.first == "zero_shot"}
    before, after = (run[run["condition"] == name] for name in ("zero_shot", "ft"))
    raw = paired(before, after, "similarity")[3]
    assert raw == 2 / 2**8 and p["ft"] == round(6 * raw, 4)  # the least p of eight texts


def test_pairs_are_of_one_text_and_one_seed():
    before = table(*(clip("zero_shot", row, seed, similarity=0.5) for row in "abc" for seed in (0, 1)))
    after = table(*(clip("ft", row, seed, similarity=0.5 + 0.1 * seed) for row in "bcd" for seed in (1, 2)))
    difference, low, high, _, texts = paired(before, after, "similarity")
    assert (difference, texts) == (pytest.approx(0.1), 2) and low == high == pytest.approx(0.1)


def test_a_silent_clip_makes_no_voice_better_and_is_counted_elsewhere():
    """Its pair is in no difference of similarity, which would else gain from silence on a hard text."""
    easy = {str(number): 0.9 for number in range(10)}
    texts = easy | {"hard": 0.3}
    both = [clip("zero_shot", row, similarity=value) for row, value in texts.items()]
    both += [clip("ft", row, similarity=value) for row, value in easy.items()] + [silent(condition="ft", row="hard")]
    run = table(*both)
    summary = summarise(run)
    assert summary["ft"]["similarity"] == 0.9 > summary["zero_shot"]["similarity"]  # the means are of other clips
    found = {one.figure: one for one in comparisons(run)}
    assert (found["similarity"].difference, found["similarity"].texts) == (0, 10)
    assert found["wer"].difference > 0 and found["failed"].difference > 0 and found["wer"].texts == 11


def test_word_errors_differ_per_word_of_all_texts():
    before = table(clip("zero_shot", "a", words=2, wrong=2), clip("zero_shot", "b", words=8, wrong=2))
    after = table(clip("ft", "a", words=2, wrong=1), clip("ft", "b", words=8, wrong=2))
    assert paired(before, after, "wer")[0] == pytest.approx(-0.1)


def test_one_text_or_none_has_no_difference():
    assert comparisons(voices(1)) == []
    assert comparisons(table(recording())) == []
    assert comparisons(table(clip("ft"), clip("clone", row="another"))) == []


def test_metrics_are_read_as_they_were_written():
    run = voices(6, ft=0.1)
    summary, compared = summarise(run, REFERENCES), comparisons(run)
    metrics = json.loads(json.dumps(as_metrics(summary, compared) | {"engines": {}}))
    assert list(metrics["differences"]["zero_shot_to_ft"]["wer"]) == ["difference", "low", "high", "p", "texts"]
    again, compared_again = from_metrics(metrics)
    assert compared_again == compared
    assert again["ft"] == {name: value for name, value in summary["ft"].items() if value is not None}
    assert from_metrics({}) == ({name: {} for name in again}, [])
