"""Blind listening: which pairs of clips a listener is asked about, and the votes that the page exports.

The page plays two clips of the same text and seed from two conditions, without saying which is which, and asks one of
QUESTIONS. Its export, and what tools/votes.py reads, is

    {"schema": 1, "run": "<16 hex digits>", "listener": "<12 hex digits, random>", "votes": [
      {"question": "similar", "first": "zero_shot", "second": "ft", "row": "talk-0001250", "seed": 0,
       "winner": "first" | "second" | "tie", "left": "first" | "second", "repeat": false}, ...]}

`first` and `second` are conditions in the order of OFFERED; `left` is the one that was shown as clip 1; `seed` is that
of the generated clip, null when both are recordings; `repeat` marks a pair that was asked a second time with its sides
changed, to see how steady a listener is: those votes are counted apart. The votes are in the order in which they were
given. `run` is run_digest(): votes are about the very sounds of one run.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.process.problem import Problem
from stages.scoring.conditions import BEFORE_AFTER, CONDITIONS, GT, GT_CODEC
from stages.scoring.store import digest

if TYPE_CHECKING:
    from stages.scoring.score import Score

QUESTIONS = {"similar": "Which sounds more like the speaker?", "better": "Which sounds better?"}
GROUPS = {
    "Before and after tuning": BEFORE_AFTER,
    "Among the voices": (("zero_shot", "clone"), ("ft", "ft_clone"), ("clone", "ft"), ("zero_shot", "ft_clone")),
    "Beside the recording": tuple((name, GT) for name in ("ft", "ft_clone", "zero_shot", "clone", GT_CODEC)),
}
OFFERED = tuple(pair for group in GROUPS.values() for pair in group)
COLUMNS = ("condition", "row", "seed", "seconds", "loudness_lufs", "empty", "text")
MAX_GAIN_DB = 12.0  # a clip that is louder by more is an oddity that should be heard


@dataclass(frozen=True)
class Clip:
    """One line of reports/clips.csv, as far as it matters here."""

    condition: str
    row: str
    seed: int | None
    empty: bool
    loudness: float | None  # LUFS
    text: str


@dataclass(frozen=True)
class Trial:
    """One text and seed that two conditions speak. `gains`: the volume, 0 to 1, at which both are equally loud."""

    row: str
    seed: int | None
    gains: tuple[float, float]


@dataclass(frozen=True)
class Pair:
    """Two conditions and what of them can be compared; `silent` counts what cannot, since a clip has no sound."""

    first: str
    second: str
    trials: tuple[Trial, ...]
    silent: int


def read_clips(table: str, where: str = "reports/clips.csv") -> tuple[list[Clip], str]:
    """The clips of a table as evaluate writes it, and the run's digest. Raises Problem for another kind of table."""
    lines = list(csv.DictReader(io.StringIO(table, newline="")))
    if not lines or not set(COLUMNS) <= set(lines[0]):
        raise Problem(f"{where}: not the table of clips that evaluate writes; run `make repro`")
    try:
        clips = [
            Clip(
                condition=line["condition"],
                row=line["row"],
                seed=int(line["seed"]) if line["seed"] else None,
                empty=bool(int(line["empty"])),
                loudness=float(line["loudness_lufs"]) if line["loudness_lufs"] else None,
                text=line["text"],
            )
            for line in lines
        ]
    except (TypeError, ValueError) as error:  # TypeError: a line is cut short
        raise Problem(f"{where}: not the table of clips that evaluate writes ({error}); run `make repro`") from None
    return clips, run_digest(lines)


def run_digest(lines: Sequence[Mapping[str, str]]) -> str:
    """A name for the sounds of a run: 16 hex digits from the lines of clips.csv.

    Length and loudness stand for the sound itself, so that a voice trained otherwise is another run, and the same
    sounds judged by another recogniser are not.
    """
    return digest([[line[name] for name in COLUMNS] for line in lines])[:16]


def gains(first: float | None, second: float | None) -> tuple[float, float]:
    """Volumes that bring the louder of two clips (LUFS) down to the other, since what is louder is liked better."""
    if first is None or second is None:
        return 1.0, 1.0
    difference = max(-MAX_GAIN_DB, min(MAX_GAIN_DB, first - second))
    volume = round(10 ** (-abs(difference) / 20), 3)
    return (volume, 1.0) if difference > 0 else (1.0, volume)


def compare(clips: Sequence[Clip], first: str, second: str) -> Pair:
    """What two conditions can be compared on, sorted by row and seed. A recording stands beside every seed."""
    of = {(clip.condition, clip.row, clip.seed): clip for clip in clips}
    trials, silent = [], 0
    seeds = sorted(
        {(clip.row, clip.seed) for clip in clips}, key=lambda one: (one[0], -1 if one[1] is None else one[1])
    )
    for row, seed in seeds:
        found = [of.get((name, row, seed)) or of.get((name, row, None)) for name in (first, second)]
        if None in found or all(clip.seed != seed for clip in found):
            continue
        if any(clip.empty for clip in found):
            silent += 1
            continue
        trials.append(Trial(row, seed, gains(*(clip.loudness for clip in found))))
    return Pair(first, second, tuple(trials), silent)


def offered(clips: Sequence[Clip]) -> list[Pair]:
    """The pairs of conditions that have anything to compare, in the order of OFFERED."""
    found = (compare(clips, first, second) for first, second in OFFERED)
    return [pair for pair in found if pair.trials or pair.silent]


def pairs(scores: Sequence["Score"], speakers: Mapping[str, int] | None = None) -> dict:
    """What blind.html.j2 and blind.js need, as plain data. `speakers`: row id -> speaker id, when there are several.

    {"run", "questions": {key: question}, "titles": {condition: title},
     "generated": [conditions whose sounds have a seed in their name], "groups": {title: [number of a pair]},
     "rows": [{"id", "text", "speaker", "recorded": is there a recording to hear}],
     "pairs": [{"first", "second", "silent", "trials": [[number of a row, seed, gain of first, gain of second]]}]}
    """
    # here, since reading a table of clips needs no torch
    from stages.scoring.score import as_csv, as_table

    clips, run = read_clips(as_csv(as_table(scores)))
    texts = {clip.row: clip.text for clip in clips}
    number = {row: place for place, row in enumerate(texts)}
    recorded = {clip.row for clip in clips if clip.condition == GT and not clip.empty}
    found = offered(clips)
    groups = {
        title: [place for place, pair in enumerate(found) if (pair.first, pair.second) in group]
        for title, group in GROUPS.items()
    }
    return {
        "run": run,
        "questions": QUESTIONS,
        "titles": {condition.name: condition.title for condition in CONDITIONS},
        "generated": [condition.name for condition in CONDITIONS if condition.generated],
        "groups": groups,
        "rows": [
            {"id": row, "text": text, "speaker": (speakers or {}).get(row, 0), "recorded": row in recorded}
            for row, text in texts.items()
        ],
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "silent": pair.silent,
                "trials": [[number[trial.row], trial.seed, *trial.gains] for trial in pair.trials],
            }
            for pair in found
        ],
    }
