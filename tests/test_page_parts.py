"""The parts of the page, each alone: marked words, pictures, charts, places."""

import re

import numpy as np
import pytest
from pages import Elements, parts_of_page, score

from stages.files.rows import Row
from stages.page.charts import charts, failures, pairs, ticks
from stages.page.clips import lines
from stages.page.listen import render
from stages.page.marks import Mark, Marker, align
from stages.page.pictures import HEIGHT, Picture, pitch, pitch_range, wave
from stages.page.sources import address, material, place_of
from stages.scoring.conditions import CONDITIONS
from stages.scoring.summary import Comparison
from stages.scoring.words import Normaliser, word_errors

VIDEO = "https://www.youtube.com/watch?v=abc"


# Words


def test_words_are_aligned():
    marks = align("the cat sat on the mat".split(), "a cat really sat on mat".split())
    assert marks == (
        Mark("instead", "the", "a"),
        Mark("same", "cat", "cat"),
        Mark("added", "", "really"),
        Mark("same", "sat on", "sat on"),
        Mark("missing", "the", ""),
        Mark("same", "mat", "mat"),
    )


def test_nothing_said_and_nothing_to_say():
    assert align(["a", "b"], []) == (Mark("missing", "a b", ""),)
    assert align([], ["a"]) == (Mark("added", "", "a"),)
    assert align([], []) == ()


@pytest.mark.parametrize(
    "heard", ["", "One two free four.", "won too three", "one one two two three three four four", "three four one two"]
)
def test_marks_agree_with_the_error_rate(heard):
    normalise = Normaliser("en")
    found = Marker(normalise)("One, two, three, four.", heard)
    counts = {kind: 0 for kind in ("same", "instead", "missing", "added")}
    for mark in found.marks:
        counts[mark.kind] += len((mark.said if mark.kind == "added" else mark.text).split())
    errors = word_errors(normalise("One, two, three, four."), normalise(heard))
    assert (counts["instead"], counts["missing"], counts["added"]) == (
        errors.substitutions, errors.deletions, errors.insertions,
    )  # fmt: skip


def test_what_differs_only_in_its_writing_is_right():
    found = Marker(Normaliser("en"))("It costs $10, Mister Smith!", "it costs ten dollars mr smith")
    assert found.right and found.marks == () and not found.long


# Pictures


def points(path):
    """The corners of a path of M, m, h, v and l, as (x, y)."""
    found, x, y = [], 0, 0
    for command, numbers in re.findall(r"([MmhvlH])([^MmhvlH]*)", path):
        values = [int(one) for one in re.findall(r"-?\d+", numbers)]
        if command == "M":
            x, y = values
        elif command in "ml":
            x, y = x + values[0], y + values[1]
        elif command == "v":
            y += values[0]
        elif command == "h":
            x += values[0]
        found.append((x, y))
    return found


@pytest.mark.parametrize("samples", [np.ones(24_000), np.zeros(50), np.full(10, 8.0), np.linspace(-1, 1, 999)])
def test_the_wave_stays_inside_its_drawing(samples):
    corners = points(wave(samples.astype(np.float32)))
    assert len(corners) == 2 * 60 and {x for x, _ in corners} == set(range(1, 120, 2))
    assert all(0 < y < HEIGHT for _, y in corners)
    assert all(top + bottom == HEIGHT for (_, top), (_, bottom) in zip(corners[::2], corners[1::2], strict=True))


def test_a_loud_half_is_higher_than_a_quiet_one():
    corners = points(wave(np.concatenate([np.full(6000, 0.01), np.full(6000, 0.9)]).astype(np.float32)))
    assert corners[1][1] - corners[0][1] < 4 and corners[-1][1] - corners[-2][1] > 20


def test_the_pitch_rises_with_the_voice_and_breaks_where_there_is_none():
    rising = [100.0 + number for number in range(120)]
    limits = pitch_range([rising])
    assert limits[0] < np.log2(110) and limits[1] > np.log2(210)
    heights = [y for _, y in points(pitch(rising, limits))]
    assert len(heights) > 50 and heights == sorted(heights, reverse=True) and 0 < heights[-1] < heights[0] < HEIGHT
    broken = pitch([*rising[:50], *[None] * 20, *rising[70:]], limits)
    assert broken.count("M") == 2
    assert all(0 < y < HEIGHT for _, y in points(pitch([20.0, 4000.0] * 60, limits)))  # outside: at the edge


def test_a_clip_without_voice_has_no_pitch():
    assert pitch_range([[], [None]]) is None
    assert pitch([None] * 100, (6.0, 8.0)) == "" and pitch([], (6.0, 8.0)) == "" and pitch([200.0], None) == ""
    assert pitch([200.0], (6.0, 8.0)).startswith("M1 ")  # shorter than a picture has columns
    assert Picture("M1 1v2").pitch == ""


# Charts


def summary(**figures):
    return {condition.name: dict(figures) for condition in CONDITIONS}


def test_ticks_are_round_and_enclose_the_values():
    assert ticks(0, 0.97) == [0, 0.5, 1.0]
    assert ticks(0.52, 0.97)[0] <= 0.52 and ticks(0.52, 0.97)[-1] >= 0.97
    assert len(ticks(0.4, 0.4)) > 1


def test_an_estimate_lies_in_its_interval_and_on_its_scale():
    words, voice, failed = charts(summary(wer=0.12, wer_low=0.08, wer_high=0.17, similarity=0.8))
    found = words.estimates["ft"]
    assert (found.value, found.interval) == ("12 %", "8–17 %")
    assert 0 < found.low < found.at < found.high < 100 and words.ticks[0].at == 0 and words.ticks[-1].at == 100
    assert voice.estimates["ft"].interval == "" and failed.estimates["ft"].value == "–"


def test_similarity_stands_between_floor_threshold_and_ceiling():
    entries = {
        "other_speaker": {"similarity": 0.5, "voices": 20, "threshold": 0.7},
        "same_speaker": {"similarity": 0.95},
    }
    _, voice, _ = charts(summary(similarity=0.8) | entries)
    at = {line.key: line.at for line in voice.lines}
    assert 0 <= at["floor"] < at["threshold"] < voice.estimates["ft"].at < at["ceiling"] <= 100
    assert "20 other voices" in voice.lines[0].title


def test_failures_that_never_happened_need_no_row():
    happened, never = failures(summary(fail_no_stop=0.25, fail_noise=0.0, fail_empty=None))
    assert [kind.failure.name for kind in happened] == ["no_stop"] and [one.name for one in never] == ["noise"]


def test_a_difference_is_better_where_it_should_be():
    def compared(figure, value, p):
        return Comparison("zero_shot", "ft", figure, value, value - 0.01, value + 0.01, p, 12)

    (pair,) = pairs(
        [compared("wer", -0.08, 0.001), compared("similarity", -0.08, 0.001), compared("failed", -0.08, 0.2)]
    )
    assert (pair.first, pair.second, pair.chosen, pair.texts) == ("Base", "Tuned", True, 12)
    assert [one.verdict for one in pair.differences] == ["better", "worse", "no clear difference"]
    assert [one.value for one in pair.differences] == ["−8 points", "−0.08", "−8 points"]
    assert pair.differences[0].interval == "−9 to −7"


def test_a_figure_that_was_not_compared_is_left_open():
    (pair,) = pairs([Comparison("ft", "ft_clone", "wer", 0.1, 0.05, 0.2, 0.01, 3)])
    assert pair.differences[0].verdict == "worse" and pair.differences[1:] == (None, None) and not pair.chosen


# Places


@pytest.mark.parametrize(
    ("page", "link"),
    [
        (VIDEO, f"{VIDEO}&t=75s"),
        (f"{VIDEO}&t=1s&start=3", f"{VIDEO}&t=75s"),
        ("https://youtu.be/abc", "https://youtu.be/abc?t=75s"),
        ("https://m.youtube.com/watch?v=abc", "https://m.youtube.com/watch?v=abc&t=75s"),
        ("https://example.org/a?b=1#c", "https://example.org/a?b=1#c"),
        ("https://notyoutube.com/watch?v=1", "https://notyoutube.com/watch?v=1"),
        ("javascript:alert(1)", None),
        ("file:///etc/passwd", None),
        ("data/recordings/a.ogg", None),
        ("http://[broken", None),
        ("https://", None),
        (None, None),
    ],
)  # fmt: skip
def test_only_addresses_of_the_web_become_links(page, link):
    assert address({"source": "a.ogg", "webpage_url": page}, 75.9) == link
    assert address({"source": page, "webpage_url": None}, 75.9) == link


def test_a_place_is_in_the_time_of_the_original():
    row = Row("talk", 5.0, 9.0, "A line.")
    found = place_of(row, {"talk": {"source": VIDEO, "start": 60.0}})
    assert (found.title, found.link) == ("talk, 1:05–1:09", f"{VIDEO}&t=65s")
    assert place_of(row, {}).title == "talk, 0:05–0:09" and place_of(row, {}).link is None
    assert place_of(Row("Text-stress", 7.0, 9.0, "A line."), {}).title == "data/texts/stress.txt, line 7"


def test_without_an_account_of_the_data_there_is_no_section():
    assert material({}, {}, {}) is None


def test_a_text_that_nobody_recorded_comes_last_and_says_so():
    rows = [Row("Text-stress", 7.0, 9.0, "Is it $3?"), Row("talk", 5.0, 9.0, "A line.")]
    scores = [score(name, rows[1]) for name in ("gt", "ft")] + [score("ft", rows[0], seed=0)]
    found = lines(scores, {row.id: row for row in rows}, {}, {}, {}, Marker(Normaliser("en")))
    assert [(line.text, line.recorded) for line in found] == [("A line.", True), ("Is it $3?", False)]
    text = Elements(render(**parts_of_page(lines=found))).text
    assert "1 held-out sentence, as recorded and as spoken by the model" in text
    assert "and 1 text that nobody recorded" in text
    assert text.split("Is it $3?")[1].count("nobody recorded this text") == 2
