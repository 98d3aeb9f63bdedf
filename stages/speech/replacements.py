"""Replacement rules for what a recogniser mishears, applied so that every word keeps its time.

A rule changes words wherever they stand, also over the border of two segments. Rules are applied one after the other,
in the order of the file, each to what the one before it left.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from stages.files.settings import Settings, parse, read_yaml
from stages.process.problem import Problem
from stages.speech.transcript import Correction, Segment, Transcript, Word, join, text_of

RULES = Path("data/replacements.yaml")


class CorrectSettings(Settings):
    """The section `correct` of params.yaml."""

    strict: bool


class Rule(Settings):
    find: Annotated[str, Field(min_length=1, pattern=r"\S")]
    replace: str  # empty: the words are taken out
    regex: bool = False
    ignore_case: bool = True
    whole_word: bool = True
    tests: list[list[str]] = []  # pairs: a text, and the same after this rule

    @field_validator("tests")
    @classmethod
    def pairs(cls, tests: list[list[str]]) -> list[list[str]]:
        for test in tests:
            if len(test) != 2:
                raise ValueError(f"{test!r} is no pair; write [text, text after the rule]")
        return tests

    @model_validator(mode="after")
    def compiles(self):
        try:
            pattern = self.pattern
            pattern.sub(self.replacement, "")  # looks for the groups that the replacement names
        except (re.error, IndexError) as error:
            raise ValueError(f"find {self.find!r}, replace {self.replace!r}: bad regex ({error})") from None
        if pattern.fullmatch(""):
            raise ValueError(f"find {self.find!r}: matches the empty text; ask for at least one letter")
        return self

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What is looked for. A literal's spaces stand for any white space."""
        find = self.find if self.regex else r"\s+".join(re.escape(word) for word in self.find.split())
        if self.whole_word:
            find = rf"(?<!\w)(?:{find})(?!\w)"
        return re.compile(find, re.IGNORECASE if self.ignore_case else 0)

    @property
    def replacement(self) -> str:
        """As re.sub takes it: a literal's backslashes are no group references."""
        return self.replace if self.regex else self.replace.replace("\\", r"\\")


class Replacements(Settings):
    rules: list[dict]


def read_rules(path: str | Path = RULES) -> list[Rule]:
    """The rules of `path`, in its order, each one's tests passed. Raises Problem naming the rule and the strings."""
    rules: list[Rule] = []
    for number, content in enumerate(parse(Replacements, read_yaml(path), str(path)).rules, start=1):
        rule = parse(Rule, content, f"{path}: rule {number}")
        if rule.find in [other.find for other in rules]:
            raise Problem(f"{path}: rule {number}: find {rule.find!r} stands in two rules; remove one of them")
        check_tests(rule, f"{path}: rule {number}")
        rules.append(rule)
    return rules


def check_tests(rule: Rule, where: str) -> None:
    for before, expected in rule.tests:
        if (found := apply_to_text(rule, before)[0]) != expected:
            raise Problem(
                f"{where}, find {rule.find!r}: its test fails: {before!r} becomes {found!r}, not {expected!r}; "
                "mend the rule or the test"
            )


@dataclass(frozen=True)
class Placed:
    """A word and the number of the segment it belongs to."""

    word: Word
    segment: int


def apply_to_text(rule: Rule, text: str) -> tuple[str, int]:
    """`text` (its white space made single) after the rule, and the number of changes."""
    words = [Placed(Word(word=f" {word}", start=0.0, end=0.0, probability=1.0), 0) for word in text.split()]
    changed, hits = apply_to_words(rule, words)
    return text_of([placed.word for placed in changed]), hits


def apply_to_words(rule: Rule, words: list[Placed]) -> tuple[list[Placed], int]:
    """The words after the rule, and how often it changed something.

    The words that a match touches hand their time on to those that replace them. A match that is already as the rule
    wants it is no change.
    """
    text = "".join(placed.word.word for placed in words)
    edges = list(accumulate((len(placed.word.word) for placed in words), initial=0))
    found = (match for match in rule.pattern.finditer(text) if match[0])
    matches = [match for match in found if match.expand(rule.replacement) != match[0]]
    result: list[Placed] = []
    done = 0
    for first, last, group in word_ranges(matches, edges):
        result += words[done:first]
        pieces, cursor = [], edges[first]
        for match in group:
            pieces += [text[cursor : match.start()], match.expand(rule.replacement)]
            cursor = match.end()
        changed = "".join(pieces) + text[cursor : edges[last]]
        if re.search(r"\w", changed):
            result += spread(changed, words[first:last])
        else:
            hand_over_punctuation(changed.strip(), result)
        done = last
    return result + words[done:], len(matches)


def word_ranges(matches: list[re.Match], edges: list[int]) -> list[tuple[int, int, list[re.Match]]]:
    """The words [first, last) that each match touches; matches that share a word come together.

    `edges`: where the words begin in the text, and its end.
    """
    ranges: list[tuple[int, int, list[re.Match]]] = []
    for match in matches:
        first, last = bisect_right(edges, match.start()) - 1, bisect_left(edges, match.end())
        if ranges and first < ranges[-1][1]:
            before = ranges.pop()
            first, last, group = before[0], max(last, before[1]), [*before[2], match]
        else:
            group = [match]
        ranges.append((first, last, group))
    return ranges


def spread(text: str, words: list[Placed]) -> list[Placed]:
    """The words of `text` in the time of `words`: one for one, or by their length in letters if the number differs."""
    parts = re.findall(r"\s*\S+", text)
    if len(parts) == len(words):
        pairs = zip(words, parts, strict=True)
        return [Placed(old.word.model_copy(update={"word": part}), old.segment) for old, part in pairs]
    start, end = words[0].word.start, words[-1].word.end
    letters = list(accumulate((len(part.strip()) for part in parts), initial=0))
    times = [round(start + (end - start) * count / letters[-1], 3) for count in letters]
    probability = round(sum(placed.word.probability for placed in words) / len(words), 3)
    return [
        Placed(Word(word=part, start=begin, end=until, probability=probability), words[0].segment)
        for part, begin, until in zip(parts, times, times[1:], strict=False)
    ]


def hand_over_punctuation(marks: str, before: list[Placed]) -> None:
    """Give the marks of words taken out to the word before them, unless it has its own: "Well um, yes": "Well, yes"."""
    if before and marks and re.search(r"\w$", before[-1].word.word):
        last = before[-1]
        before[-1] = Placed(last.word.model_copy(update={"word": last.word.word + marks}), last.segment)


def correct(transcript: Transcript, rules: Iterable[Rule]) -> Transcript:
    """The transcript after all rules, with the hits of every one of them in `corrections`.

    New words over the border of two segments go to the first; a segment that has no words left is left out.
    """
    words = [Placed(word, number) for number, segment in enumerate(transcript.segments) for word in segment.words]
    # Segments without word times have their text alone.
    texts = {number: segment.text for number, segment in enumerate(transcript.segments) if not segment.words}
    corrections = []
    for rule in rules:
        words, hits = apply_to_words(rule, words)
        for number, text in texts.items():
            texts[number], more = apply_to_text(rule, text)
            hits += more
        corrections.append(Correction(find=rule.find, replace=rule.replace, hits=hits))
    segments = rebuild(transcript.segments, words, texts)
    content = transcript.model_dump() | {"text": join(segments), "corrections": corrections, "segments": segments}
    return Transcript(**content)


def rebuild(segments: list[Segment], words: list[Placed], texts: dict[int, str]) -> list[Segment]:
    """The segments with their new words and texts; their times move only where words crossed a border."""
    by_segment = {number: [placed.word for placed in group] for number, group in groupby(words, lambda p: p.segment)}
    rebuilt: list[Segment] = []
    for number, segment in enumerate(segments):
        inside = by_segment.get(number, [])
        if not (text := text_of(inside) if inside else texts.get(number, "")):
            continue
        start = max(segment.start, rebuilt[-1].end if rebuilt else 0.0)
        end = max(segment.end, inside[-1].end if inside else start)
        changed = {"id": len(rebuilt), "start": start, "end": end, "text": text, "words": inside}
        rebuilt.append(segment.model_copy(update=changed))
    return rebuilt


def never_fired(corrections_by_recording: Mapping[str, list[dict]]) -> list[str]:
    """The `find` of every rule that changed nothing in any recording, in the order of the rules."""
    totals: dict[str, int] = {}
    for corrections in corrections_by_recording.values():
        for entry in corrections:
            totals[entry["find"]] = totals.get(entry["find"], 0) + entry["hits"]
    return [find for find, total in totals.items() if not total]


def hits_by_rule(corrected: Mapping[str, dict]) -> dict:
    """The table of hits: {"rules": {find: {"total": n, "<recording>": n}}, "total": n, "never_fired": [find]}.

    `corrected`: recording -> the content of data/corrected/<recording>.json.
    """
    rules: dict[str, dict[str, int]] = {}
    for recording, content in corrected.items():
        for entry in content["corrections"]:
            counts = rules.setdefault(entry["find"], {"total": 0})
            counts[recording] = entry["hits"]
            counts["total"] += entry["hits"]
    total = sum(counts["total"] for counts in rules.values())
    unused = never_fired({recording: content["corrections"] for recording, content in corrected.items()})
    return {"rules": rules, "total": total, "never_fired": unused}
