"""Replacement rules: what they change, what they leave, and how they are refused."""

import json

import pytest

from stages.correct import main
from stages.process.problem import Problem
from stages.speech.replacements import (
    Rule,
    apply_to_text,
    correct,
    hits_by_rule,
    never_fired,
    read_rules,
)
from stages.speech.transcript import EngineInfo, Segment, Transcript, Word, join, read_transcript, write_transcript

ENGINE = EngineInfo(name="fake", version="1", model="none")


def transcript(*texts: str) -> Transcript:
    """One segment a text; every word lasts 0.4 s and is followed by 0.1 s of silence."""
    segments, clock = [], 0.0
    for number, text in enumerate(texts):
        words = []
        for word in text.split():
            words.append(Word(word=f" {word}", start=round(clock, 3), end=round(clock + 0.4, 3), probability=0.9))
            clock += 0.5
        scores = {"avg_logprob": -0.2, "compression_ratio": 1.2, "no_speech_prob": 0.0}
        times = {"start": words[0].start, "end": words[-1].end}
        segments.append(Segment(id=number, text=text, words=words, **times, **scores))
    return Transcript(text=join(segments), language="en", duration=60.0, engine=ENGINE, segments=segments)


def timed(corrected: Transcript) -> list[tuple[str, float, float]]:
    return [(word.word, word.start, word.end) for word in corrected.words]


def rule(find: str, replace: str, **options) -> Rule:
    return Rule(find=find, replace=replace, **options)


@pytest.mark.parametrize(
    ("one", "before", "after"),
    [
        (rule("trellis", "Trelis"), 'as "Trellis," says', 'as "Trelis," says'),
        (rule("Mabri", "Mabry"), "Mabri's goat", "Mabry's goat"),
        (rule("trellis", "Trelis"), "the trellises", "the trellises"),  # whole words only
        (rule("trellis", "Trelis", whole_word=False), "untrellised", "unTrelised"),
        (rule("trellis", "Trelis", ignore_case=False), "Trellis and trellis", "Trellis and Trelis"),
        (rule("3.5", "three and a half"), "3.5 or 345", "three and a half or 345"),  # a literal's dot is a dot
        (rule(r"\d", "digit"), r"5 or \d", "5 or digit"),
        (rule("a b", r"\1"), "a b c", r"\1 c"),  # and no group is meant
        (rule(r"gr(ou|ow)s[ei]?k", "Grelsk", regex=True), "Tobin Grousek.", "Tobin Grelsk."),
        (rule(r"(\w+) (\w+)ski", r"\2 \1", regex=True), "Tell Growski us", "Grow Tell us"),
        (rule("a|b", "x", regex=True), "a cab b", "x cab x"),  # `whole_word` holds for each choice
        (rule("thank you for watching", ""), "do not have ears. Thank you for watching.", "do not have ears."),
        (rule("um", ""), "Well um, we left", "Well, we left"),
    ],
)
def test_a_rule_changes_what_it_says_and_no_more(one, before, after):
    assert apply_to_text(one, before)[0] == after


def test_words_that_are_not_matched_keep_their_times():
    before = transcript("a man called Trellis, here")
    after = correct(before, [rule("trellis", "Trelis")])
    assert timed(after) == [*timed(before)[:3], (" Trelis,", 1.5, 1.9), (" here", 2.0, 2.4)]
    assert after.text == "a man called Trelis, here"


def test_fewer_words_share_the_time_of_the_words_they_replace():
    after = correct(transcript("to ills van der meal, who"), [rule("ills van der meal", "Ilse Vandermeel")])
    # four words, 0.5 to 2.4 s; "Ilse" has 4 of 15 characters, "Vandermeel," 11
    assert timed(after) == [(" to", 0.0, 0.4), (" Ilse", 0.5, 1.007), (" Vandermeel,", 1.007, 2.4), (" who", 2.5, 2.9)]


def test_more_words_divide_the_time_of_the_word_they_replace():
    after = correct(transcript("said Adeyankaroo."), [rule("Adeyankaroo", "Adeyinka Roux")])
    # 0.5 to 0.9 s; "Adeyinka" has 8 of 13 characters, "Roux." 5
    assert timed(after)[1:] == [(" Adeyinka", 0.5, 0.746), (" Roux.", 0.746, 0.9)]


def test_as_many_words_keep_a_time_each():
    before = transcript("Tell Growski us.")
    after = correct(before, [rule("Growski us", "Grelsk yes")])
    assert [times for _, *times in timed(after)] == [times for _, *times in timed(before)]
    assert after.text == "Tell Grelsk yes."


def test_a_match_may_cross_the_border_of_two_segments():
    before = transcript("it will turn and", "sloth into a lazy animal.")
    after = correct(before, [rule("and sloth", "Unsloth")])
    assert [segment.text for segment in after.segments] == ["it will turn Unsloth", "into a lazy animal."]
    assert timed(after)[3] == (" Unsloth", 1.5, 2.4)
    assert after.segments[0].end == 2.4 and after.segments[1].start >= 2.4
    assert timed(after)[4:] == timed(before)[5:]


def test_a_segment_without_words_left_goes_and_the_rest_is_numbered_anew():
    before = transcript("It worked.", "Thank you for watching.", "Good.")
    after = correct(before, [rule("thank you for watching", "")])
    assert [(segment.id, segment.text) for segment in after.segments] == [(0, "It worked."), (1, "Good.")]
    assert after.text == "It worked. Good."


def test_a_segment_without_word_times_has_its_text_mended():
    before = transcript("as trellis says")
    bare = before.model_copy(update={"segments": [before.segments[0].model_copy(update={"words": []})]})
    after = correct(bare, [rule("trellis", "Trelis")])
    assert after.segments[0].text == "as Trelis says"
    assert after.corrections[0].hits == 1


def test_rules_see_what_the_rules_before_them_left():
    rules = [rule("Scarobie", "Skerrowby"), rule("Skerrowby Ring's", "Skerrowby rings")]
    assert correct(transcript("at Scarobie Ring's twice"), rules).text == "at Skerrowby rings twice"
    assert correct(transcript("at Scarobie Ring's twice"), rules[::-1]).text == "at Skerrowby Ring's twice"


def test_hits_count_changes_and_every_rule_is_listed_in_order():
    rules = [rule("timbre", "Timbre"), rule("never", "ever")]
    after = correct(transcript("Timbre and timbre, Timbre"), rules)
    assert [entry.model_dump() for entry in after.corrections] == [
        {"find": "timbre", "replace": "Timbre", "hits": 1},  # two were right already
        {"find": "never", "replace": "ever", "hits": 0},
    ]


def test_the_table_of_hits_names_rules_that_fired_in_no_recording():
    def corrections(*hits):
        return {"corrections": [{"find": find, "replace": "", "hits": n} for find, n in zip("abc", hits, strict=True)]}

    corrected = {"harbour": corrections(2, 0, 0), "letters": corrections(1, 4, 0)}
    assert hits_by_rule(corrected) == {
        "rules": {
            "a": {"total": 3, "harbour": 2, "letters": 1},
            "b": {"total": 4, "harbour": 0, "letters": 4},
            "c": {"total": 0, "harbour": 0, "letters": 0},
        },
        "total": 7,
        "never_fired": ["c"],
    }
    assert never_fired({name: content["corrections"] for name, content in corrected.items()}) == ["c"]


BAD_RULES = {
    "rules: [{find: x}]": "rules.yaml: rule 1.replace: missing; add it",
    "rules: [{find: x, replace: y, regexp: true}]": "rules.yaml: rule 1.regexp: unknown key; known are find,",
    "rules: [{find: 12, replace: y}]": "rules.yaml: rule 1.find: Input should be a valid string, not 12",
    "rules: [{find: ' ', replace: y}]": "rules.yaml: rule 1.find: String should match pattern",
    "rules: [{find: '', replace: y}]": "rules.yaml: rule 1.find: String should have at least 1 character",
    "rules: [{find: 'a(', replace: y, regex: true}]": "find 'a(', replace 'y': bad regex (missing ), unterminated",
    r"rules: [{find: 'a', replace: '\2', regex: true}]": "bad regex (invalid group reference 2",
    r"rules: [{find: 'a', replace: '\g<no>', regex: true}]": "bad regex (unknown group name 'no'",
    "rules: [{find: 'a*', replace: y, regex: true}]": "find 'a*': matches the empty text; ask for at least one letter",
    "rules: [{find: a, replace: b}, {find: a, replace: c}]": "find 'a' stands in two rules",
    "rules: [{find: a, replace: b, tests: [[a]]}]": "['a'] is no pair; write [text, text after the rule]",
    "rules: [{find: a, replace: b": "rules.yaml:2: not valid YAML",
    "rules: [a]": "rules.yaml.rules.0: Input should be a valid dictionary",
    "rules: {find: a}": "rules.yaml.rules: Input should be a valid list",
    "": "rules.yaml: Input should be a valid dictionary",
}


@pytest.mark.parametrize(("content", "message"), BAD_RULES.items())
def test_a_bad_rule_is_refused_in_one_line(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.yaml").write_text(content + "\n")
    with pytest.raises(Problem) as problem:
        read_rules("rules.yaml")
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_failing_test_names_the_rule_and_the_strings(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{find: trellis, replace: Trelis, tests: [[a trellis, a Trellis]]}]\n")
    with pytest.raises(
        Problem, match="rule 1, find 'trellis': its test fails: 'a trellis' becomes 'a Trelis', not 'a Trellis'"
    ):
        read_rules(path)


def test_the_rules_of_the_repository_pass_their_tests_and_each_has_one():
    rules = read_rules()
    assert len(rules) > 5
    assert all(rule.tests for rule in rules)


def test_the_stage_writes_the_same_bytes_twice_and_counts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_transcript("data/transcripts/talk.json", transcript("as trellis says"))
    (tmp_path / "data/replacements.yaml").write_text("rules: [{find: trellis, replace: Trelis}]\n")
    main("talk")
    first = (tmp_path / "data/corrected/talk.json").read_bytes()
    main("talk")
    assert (tmp_path / "data/corrected/talk.json").read_bytes() == first
    assert read_transcript("data/corrected/talk.json").text == "as Trelis says"
    assert json.loads(first)["corrections"] == [{"find": "trellis", "hits": 1, "replace": "Trelis"}]
    assert "1 x 'trellis' -> 'Trelis'" in capsys.readouterr().out


def test_nothing_is_written_when_a_test_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_transcript("data/transcripts/talk.json", transcript("as trellis says"))
    (tmp_path / "data/replacements.yaml").write_text("rules: [{find: a, replace: b, tests: [[a, c]]}]\n")
    with pytest.raises(Problem, match="its test fails"):
        main("talk")
    assert not (tmp_path / "data/corrected").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("{}", "text: missing"), ("[]", "Input should be a valid dictionary")],
)
def test_a_damaged_transcript_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "talk.json").write_text(content)
    with pytest.raises(Problem, match=message):
        read_transcript(tmp_path / "talk.json")


def test_words_out_of_order_are_refused(tmp_path):
    content = transcript("one two").model_dump(exclude_none=True)
    content["segments"][0]["words"][1]["start"] = 0.1
    (tmp_path / "talk.json").write_text(json.dumps(content))
    with pytest.raises(Problem, match="' two' in segment 0 is not in order of time"):
        read_transcript(tmp_path / "talk.json")


@pytest.mark.parametrize("key", ["../talk", "a/b", "talk;ls", ""])
def test_a_key_that_is_no_plain_name_is_refused(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/replacements.yaml").write_text("rules: []\n")
    with pytest.raises(Problem, match="is not the key of a recording"):
        main(key)
