"""Lists of texts that fill up the held-out sentences."""

import numpy as np
import pytest

from stages.csm.turns import Turn
from stages.files.rows import Row
from stages.process.problem import Problem
from stages.scoring.prosody import syllables
from stages.scoring.sentences import Sentence
from stages.scoring.texts import is_text, listed_sentences, read_list, text_place


def train(*texts, source=0):
    codes = np.zeros((5, 2), np.int16)
    return [
        Sentence(Row("talk", number * 10.0, number * 10.0 + 2, text, source), Turn([1], codes), b"")
        for number, text in enumerate(texts)
    ]


def ids(text, source):
    return [source, *map(ord, text)]


def test_a_list_is_one_text_a_line(tmp_path):
    (tmp_path / "mine.txt").write_text("# stress\nGood  morning.\n\nWho is there?\n")
    assert read_list("mine", tmp_path) == [(2, "Good morning."), (4, "Who is there?")]


def test_texts_are_said_by_the_speaker_with_most_rows_at_that_speakers_pace(tmp_path):
    (tmp_path / "mine.txt").write_text("Good morning.\nGood morning.\nBanana banana.\n")
    rows = train("Hello there you.", source=7) + train("One two three four.", "Five six nine ten.", source=3)
    found = listed_sentences(["mine"], rows, ids, codebooks=2, folder=tmp_path)
    assert [sentence.row.text for sentence in found] == ["Good morning.", "Banana banana."]
    assert {sentence.row.source for sentence in found} == {3} and found[0].turn.text_ids[0] == 3
    assert found[1].row.seconds == pytest.approx(syllables("Banana banana.") / (8 / 4), abs=1e-3)
    assert all(is_text(sentence.row) and sentence.turn.codes.shape == (0, 2) for sentence in found)
    assert text_place(found[1].row) == "data/texts/mine.txt, line 3"
    assert len({sentence.row.id for sentence in found}) == 2


def test_a_row_of_a_recording_is_no_text():
    assert not is_text(Row("text-talk", 0.0, 1.0, "x"))


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("../secret", None, "no name of a list"),
        ("absent", None, "no such list of texts (evaluate.texts); there are: other"),
        ("mine", b"# only remarks\n", "holds no text"),
        ("mine", b"\xff\xfe", "is not UTF-8"),
        ("mine", b"x" * 1001, "line 1 has 1001 characters"),
    ],
)
def test_a_bad_list_is_one_clear_line(tmp_path, name, content, said):
    (tmp_path / "other.txt").write_text("x")
    if content is not None:
        (tmp_path / f"{name}.txt").write_bytes(content)
    with pytest.raises(Problem) as problem:
        read_list(name, tmp_path)
    assert said in str(problem.value) and "\n" not in str(problem.value)


def test_the_lists_that_come_with_timbre_are_whole():
    assert len(read_list("general")) == 100 and len(read_list("stress")) == 40
