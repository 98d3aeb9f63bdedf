"""Two runs compared: what they have in common, what differs, and which differences are more than chance."""

import math

import numpy as np
import pytest
from compared import COLUMNS, ENGINES, as_csv, clip, voice

from stages.files.rows import Row
from stages.page.listen import sound_file
from stages.process.problem import Problem
from stages.scoring.statistics import permutation
from tools.comparing.differences import changes, instrument, overlap, settings
from tools.comparing.revisions import Revision
from tools.comparing.runs import Run, flat, read_clips


def run_of(name, clips, columns=COLUMNS, engines=ENGINES):
    """What read_run makes of such a clips.csv."""
    found, names = read_clips(as_csv(clips, columns), "clips.csv")
    return Run(name, Revision(name), {}, {}, (), {"engines": engines}, found, names, {})


def by_name(found):
    return {(one.condition, one.measure.key): one for one in found}


# --- figures ----------------------------------------------------------------------------------------------------------


def test_a_difference_that_every_text_shows_is_significant():
    found, notes = changes(run_of("A", voice(4)), run_of("B", voice(1)))
    better = by_name(found)["ft", "wer"]
    assert (better.a, better.b, better.difference) == (pytest.approx(0.4), pytest.approx(0.1), pytest.approx(-0.3))
    assert (better.texts, better.clips) == (8, 16)
    # eight texts, all of one sign: 2 of 2^8 sign patterns reach as far; two conditions were tested, so times two
    assert better.p == pytest.approx(2 * 2 / 2**8)
    assert better.significant and better.verdict == "B is better"
    assert by_name(found)["ft", "similarity"].verdict == "B is better"
    assert by_name(found)["zero_shot", "wer"].verdict == "the same"
    assert by_name(found)["gt", "wer"].p is None
    assert notes == []


def test_worse_is_said_to_be_worse_and_chance_to_be_chance():
    found, _ = changes(run_of("A", voice(1)), run_of("B", voice(4)))
    assert by_name(found)["ft", "wer"].verdict == "B is worse"
    mixed = [clip("ft", number, 0, 3 + (-1) ** number) for number in range(8)]
    found, _ = changes(run_of("A", [clip("ft", number, 0, 3) for number in range(8)]), run_of("B", mixed))
    assert by_name(found)["ft", "wer"].verdict == "not shown"


def test_the_test_is_of_the_sums_of_errors_by_text():
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 6, (9, 2)) for _ in range(2))
    clips = [[clip("ft", text, seed, int(one[text, seed])) for text in range(9) for seed in (0, 1)] for one in (a, b)]
    found, _ = changes(run_of("A", clips[0]), run_of("B", clips[1]))
    assert by_name(found)["ft", "wer"].p == pytest.approx(permutation((b - a).sum(axis=1)))


def test_a_clip_without_sound_counts_in_words_and_not_in_similarity():
    silent = [clip("ft", number, 0, 10, "" if number == 0 else 0.7, empty=int(number == 0)) for number in range(7)]
    found, _ = changes(run_of("A", [clip("ft", number, 0, 5) for number in range(7)]), run_of("B", silent))
    assert by_name(found)["ft", "wer"].texts == 7 and by_name(found)["ft", "similarity"].texts == 6


def test_a_clip_that_is_all_nan_is_in_no_figure():
    broken = [clip("ft", number, 0, 5) for number in range(7)]
    broken[0] |= {name: "nan" for name in ("wer", "word_errors", "similarity", "quality")}
    found, _ = changes(run_of("A", broken), run_of("B", [clip("ft", number, 0, 5) for number in range(7)]))
    assert by_name(found)["ft", "wer"].texts == 6 and math.isfinite(by_name(found)["ft", "wer"].difference)


def test_few_texts_are_too_few_to_tell():
    found, _ = changes(run_of("A", voice(6, range(3))), run_of("B", voice(0, range(3))))
    assert by_name(found)["ft", "wer"].verdict == "too few texts"


# --- what the runs have in common ------------------------------------------------------------------------------------


def test_runs_with_different_texts_are_compared_on_what_is_common():
    a, b = run_of("A", voice(4, range(10))), run_of("B", voice(1, range(2, 15)))
    assert overlap(a, b) == [
        "The runs have different texts: 8 are in both and compared; 2 are only in A and 5 only in B."
    ]
    assert {one.texts for one in changes(a, b)[0]} == {8}


def test_a_text_is_the_same_wherever_its_row_begins():
    moved = [one | {"row": one["row"] + "5"} for one in voice(1)]
    assert by_name(changes(run_of("A", voice(4)), run_of("B", moved))[0])["ft", "wer"].texts == 8


def test_only_the_seeds_of_both_are_compared():
    a, b = run_of("A", voice(4, seeds=(0, 1))), run_of("B", voice(1, seeds=(1, 2, 3)))
    assert overlap(a, b) == ["The seeds differ (0, 1 in A, 1, 2, 3 in B): compared are 1."]
    assert by_name(changes(a, b)[0])["ft", "wer"].clips == 8
    a, b = run_of("A", voice(4, seeds=(0,))), run_of("B", voice(1, seeds=(7,)))
    assert overlap(a, b) == ["The seeds differ (0 in A, 7 in B): no generated clip is common to both."]
    assert {one.condition for one in changes(a, b)[0]} == {"gt"}


def test_nothing_in_common_is_one_line():
    a, b = run_of("A", voice(4, range(8))), run_of("B", voice(4, range(20, 25)))
    assert overlap(a, b) == ["No clip is common to both: their 8 and 5 texts differ, so nothing is tested."]
    assert changes(a, b)[0] == []


def test_a_condition_that_only_one_run_has_is_named():
    a, b = run_of("A", voice(4)), run_of("B", [one for one in voice(1) if one["condition"] != "ft"])
    assert overlap(a, b) == ["B has no clips of ft."]


@pytest.mark.parametrize(
    ("engine", "refused", "kept"),
    [("speaker", {"similarity", "failed"}, {"wer", "quality"}), ("recogniser", {"wer", "failed"}, {"similarity"})],
)
def test_figures_of_different_instruments_are_not_compared(engine, refused, kept):
    found, notes = changes(run_of("A", voice(4)), run_of("B", voice(1), engines=ENGINES | {engine: "another"}))
    measures = {one.measure.key for one in found}
    assert not measures & refused and kept <= measures
    said = (
        f"not compared, for it was measured by different instruments ({engine}: {ENGINES[engine]} in A, another in B)."
    )
    assert sum(note.endswith(said) for note in notes) == len(refused)


def test_another_second_recogniser_does_not_touch_the_first():
    engines = [ENGINES | {"second_recogniser": name} for name in ("parakeet", "moonshine")]
    a, b = (run_of(name, voice(4), engines=found) for name, found in zip("AB", engines, strict=True))
    assert not instrument("wer", a, b) and not instrument("wer_macro", a, b)
    assert "parakeet in A, moonshine in B" in instrument("wer_second", a, b)


def test_engines_that_are_not_noted_are_not_taken_for_the_same():
    found, notes = changes(run_of("A", voice(4), engines={}), run_of("B", voice(1), engines={}))
    assert {one.measure.key for one in found} == {"stopped"} and "not noted in A" in notes[0]


def test_an_older_table_is_compared_in_the_columns_it_has():
    old = [name for name in COLUMNS if name not in ("failures", "quality", "heard")]
    found, notes = changes(run_of("A", voice(4), old), run_of("B", voice(1)))
    assert {one.measure.key for one in found} == {"wer", "similarity", "stopped"}
    assert "Failed clips: not compared per clip, for only B has it." in notes


# --- reading ----------------------------------------------------------------------------------------------------------


def test_parameters_that_differ():
    a = flat({"train": {"seed": 0, "lora": {"rank": 8}, "gone": None}, "seeds": [0]})
    b = flat({"train": {"seed": 0, "lora": {"rank": 16}, "new": True}, "seeds": [0, 1]})
    assert [(one.key, one.a, one.b) for one in settings(a, b)] == [
        ("seeds", "[0]", "[0, 1]"),
        ("train.gone", "null", None),
        ("train.lora.rank", "8", "16"),
        ("train.new", None, "true"),
    ]


@pytest.mark.parametrize("row", ["../../secret", "a/b", "", "x" * 300, "a\nb"])
def test_a_row_that_is_no_name_never_becomes_a_path(row):
    with pytest.raises(Problem, match="clips.csv:2: .* names no clip"):
        read_clips(as_csv([clip("ft", 1, 0, 1, row=row)]), "clips.csv")


def test_a_table_without_texts_is_refused():
    with pytest.raises(Problem, match="clips.csv: has no column text; its clips cannot be told apart"):
        read_clips(as_csv(voice(1), [name for name in COLUMNS if name != "text"]), "clips.csv")


@pytest.mark.parametrize(("condition", "seed"), [("gt", None), ("ft", 3)])
def test_sounds_are_looked_for_where_the_listening_page_puts_them(condition, seed):
    row = Row("talk", 0.61, 2.0, "Some words.")
    (found,), _ = read_clips(as_csv([clip(condition, 610, seed, 0, text=row.text)]), "clips.csv")
    assert found.row == row.id and found.sound == sound_file(condition, row, seed)
