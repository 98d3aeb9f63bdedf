"""Where sentences end."""

import pytest

from stages.speech.sentences import has_tables, is_finished, sentence_spans
from stages.speech.transcript import Word
from stages.speech.words import sentence_bounds


def sentences(text, language="en"):
    return [text[start:end] for start, end in sentence_spans(text, language)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Dr. Smith paid $3.50.", "He left."],
        ["We met at 5 p.m. sharp.", "Nobody came!"],
        ["It is cheap, e.g. bread costs little.", "Is it?", "Yes."],
        ['"Stay here," he said.', '"Why?" she asked.', "He did not answer."],
        ["The U.S. Senate sat with J. R. Jones Jr. in the chair.", "It rained."],
        ["Well... maybe not.", "Version 2.5 is out."],
    ],
)
def test_a_text_falls_into_its_sentences(expected):
    assert sentences(" ".join(expected)) == expected


def test_a_piece_in_lower_case_belongs_to_the_sentence_before():
    assert sentences("He asked why? and nobody knew. So he left.") == ["He asked why? and nobody knew.", "So he left."]


def test_other_languages_have_their_own_abbreviations():
    text = "Am 3. Oktober kam z.B. Herr Maier. Er ging."
    assert has_tables("de")
    assert sentences(text, "de") == ["Am 3. Oktober kam z.B. Herr Maier.", "Er ging."]
    assert len(sentences(text, "en")) == 4


def test_a_language_without_tables_is_split_as_english_is():
    assert not has_tables("cy")
    assert sentences("Mae hi. Dydy o ddim.", "cy") == ["Mae hi.", "Dydy o ddim."]


@pytest.mark.parametrize("text", ["He left.", "Did he?", 'He said "no."', "Wait…", "(Indeed!) "])
def test_a_finished_sentence(text):
    assert is_finished(text)


@pytest.mark.parametrize("text", ["He", "and then,", "", "5.5 metres"])
def test_an_unfinished_sentence(text):
    assert not is_finished(text)


def test_the_words_of_each_sentence():
    texts = " Dr. Smith paid $3.50. He -uh left. Why?".replace(" ", "| ").split("|")[1:]
    words = [Word(word=text, start=0.0, end=0.0, probability=1.0) for text in texts]
    assert sentence_bounds(words, "en") == [(0, 4), (4, 7), (7, 8)]


def test_one_word_is_one_sentence():
    assert sentence_bounds([Word(word=" Hello", start=0.0, end=0.0, probability=1.0)], "en") == [(0, 1)]
