"""What differs between two runs, and which of the differences in figures are more than chance.

Clips are paired by condition, text and seed, and only pairs count: what makes a text hard is in both and cancels out.
A figure whose instrument (recogniser, speaker encoder, quality predictor) is not the same in both is not compared.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stages.scoring.conditions import CONDITIONS
from stages.scoring.statistics import bootstrap, holm, paired_difference, permutation
from stages.scoring.summary import SIGNIFICANT
from tools.comparing.runs import Clip, Run

FEWEST = 6  # with fewer texts no p of a sign-flip test can be below SIGNIFICANT: the smallest is 2 / 2 ** texts
INSTRUMENTS = {  # beginning of a figure's name -> the engines behind it, by their names in metrics.json
    "wer_second": ("second",),
    "wer": ("recogniser", "normaliser"),
    "cer": ("recogniser", "normaliser"),
    "insertion": ("recogniser", "normaliser"),
    "deletion": ("recogniser", "normaliser"),
    "substitution": ("recogniser", "normaliser"),
    "pace": ("recogniser", "normaliser"),
    "similarity": ("speaker",),
    "threshold": ("speaker",),
    "eer": ("speaker",),
    "quality": ("quality",),
    "fail_truncated": ("recogniser", "normaliser"),
    "fail_repetition": ("recogniser", "normaliser"),
    "fail_wer": ("recogniser", "normaliser"),
    "fail_wrong_voice": ("speaker",),
    "fail_noise": ("quality",),
    "failed": ("recogniser", "normaliser", "speaker", "quality"),
}


@dataclass(frozen=True)
class Measure:
    """A figure with a value per clip: sum(errors) / sum(weights) over clips."""

    key: str
    title: str
    columns: tuple[str, ...]  # of clips.csv, all needed
    errors: Callable[[Clip], float | None]
    weights: Callable[[Clip], float | None] = lambda clip: 1.0
    percent: bool = True
    lower_is_better: bool = True

    def show(self, value: float, signed: bool = False) -> str:
        if not math.isfinite(value):
            return "–"
        value = round(value, 3) + 0.0  # never -0.0
        sign = "+" if signed and value else ""
        return f"{100 * value:{sign}.1f} %" if self.percent else f"{value:{sign}.3f}"


def _value(column: str) -> Callable[[Clip], float | None]:
    return lambda clip: clip.values[column]


MEASURES = (
    Measure("wer", "Word errors", ("word_errors", "words"), _value("word_errors"), _value("words")),
    Measure(
        "cer", "Letter errors", ("character_errors", "characters"), _value("character_errors"), _value("characters")
    ),
    Measure("wer_second", "Word errors, second recogniser", ("wer_second",), _value("wer_second")),
    Measure(
        "similarity", "Speaker similarity", ("similarity",), _value("similarity"), percent=False, lower_is_better=False
    ),
    Measure("failed", "Failed clips", ("failures",), lambda clip: float(bool(clip.failures))),
    Measure("stopped", "Stopped by itself", ("stopped",), _value("stopped"), lower_is_better=False),
    Measure("quality", "Quality", ("quality",), _value("quality"), percent=False, lower_is_better=False),
)


@dataclass(frozen=True)
class Change:
    """A figure of one condition in both runs, over the clips that both have; every value may be nan.

    `p`: of the paired test, Holm-corrected over the conditions of that figure; None where there is no test (recorded
    sound, which no seed varies).
    """

    condition: str
    measure: Measure
    a: float
    a_interval: tuple[float, float]
    b: float
    b_interval: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    p: float | None
    texts: int
    clips: int

    @property
    def significant(self) -> bool:
        """Whether test and interval agree that there is a difference."""
        return self.p is not None and self.p < SIGNIFICANT and (self.interval[0] > 0 or self.interval[1] < 0)

    @property
    def better(self) -> bool:
        """Whether B is the better one, as far as the figure says."""
        return (self.difference < 0) == self.measure.lower_is_better

    @property
    def verdict(self) -> str:
        if self.p is None:
            return "not tested"
        if not any((self.difference, *self.interval)):
            return "the same"
        if not self.significant:
            return "not shown" if self.texts >= FEWEST else "too few texts"
        return "B is better" if self.better else "B is worse"


@dataclass(frozen=True)
class Setting:
    """A parameter that differs; None stands for "has no such parameter" beside the value null."""

    key: str
    a: str | None
    b: str | None


def settings(a: Mapping[str, object], b: Mapping[str, object]) -> list[Setting]:
    """The parameters that differ, by name."""

    def shown(values: Mapping[str, object], key: str) -> str | None:
        if key not in values:
            return None
        value = values[key]
        return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    different = [key for key in sorted({*a, *b}) if key not in a or key not in b or a[key] != b[key]]
    return [Setting(key, shown(a, key), shown(b, key)) for key in different]


def instrument(figure: str, a: Run, b: Run) -> str:
    """A sentence that refuses the comparison of a figure made by different instruments, or nothing."""
    behind = max((name for name in INSTRUMENTS if figure.startswith(name)), key=len, default=None)
    for part in INSTRUMENTS.get(behind, ()):
        ours, theirs = _engine(a, part), _engine(b, part)
        if ours != theirs or not (a.engines and b.engines):
            return f"measured by different instruments ({part}: {ours} in A, {theirs} in B)"
    return ""


def _engine(run: Run, part: str) -> str:
    """The name of an engine; "second" is found in the name of whichever role has that word in it."""
    found = run.engines.get(part) or next((name for role, name in run.engines.items() if part in role), None)
    return found or "not noted"


def by_text(run: Run) -> dict[tuple[str, int], dict[tuple[str, int | None], Clip]]:
    """(text, its how-manieth row) -> (condition, seed) -> clip; a text that two rows have counts twice."""
    rows: dict[str, list[str]] = {}
    found: dict[tuple[str, int], dict] = {}
    for clip in run.clips:
        same = rows.setdefault(clip.text, [])
        if clip.row not in same:
            same.append(clip.row)
        found.setdefault((clip.text, same.index(clip.row)), {})[clip.take] = clip
    return found


def common(a: Run, b: Run) -> list[tuple[dict, dict]]:
    """For every text that both runs have, in the order of B: (condition, seed) -> clip of A, and of B."""
    ours, theirs = by_text(a), by_text(b)
    return [(ours[text], theirs[text]) for text in theirs if text in ours]


def _array(pairs, takes, value: Callable[[Clip], float | None], side: int) -> np.ndarray:
    """(texts, seeds): a value per clip, nan where there is no clip or no value."""
    cells = [[pair[side].get(take) for take in takes] for pair in pairs]
    found = [[None if clip is None else value(clip) for clip in line] for line in cells]
    return np.array([[math.nan if one is None else one for one in line] for line in found], dtype=np.float64)


def change(pairs: Sequence[tuple[dict, dict]], condition: str, measure: Measure, tested: bool) -> Change | None:
    """One figure of one condition over the pairs that have it; None when no pair has."""
    ours, theirs = ({take for pair in pairs for take in pair[side] if take[0] == condition} for side in (0, 1))
    takes = sorted(ours & theirs, key=lambda take: (take[1] is not None, take[1]))
    if not takes:
        return None
    a, b = (_array(pairs, takes, measure.errors, side) for side in (0, 1))
    weights = _array(pairs, takes, measure.weights, 1)
    valid = ~np.isnan(a + b + weights)
    if not valid.any() or not weights[valid].sum():
        return None
    a, b, weights = (np.where(valid, values, math.nan) for values in (a, b, weights))
    difference, low, high = paired_difference(a, b, weights)
    per_text = np.nansum(b - a, axis=1)[valid.any(axis=1)]
    return Change(
        condition=condition,
        measure=measure,
        a=float(a[valid].sum() / weights[valid].sum()),
        a_interval=bootstrap(a, weights),
        b=float(b[valid].sum() / weights[valid].sum()),
        b_interval=bootstrap(b, weights),
        difference=difference,
        interval=(low, high),
        p=permutation(per_text) if tested else None,
        texts=len(per_text),
        clips=int(valid.sum()),
    )


def changes(a: Run, b: Run) -> tuple[list[Change], list[str]]:
    """Every measure that both runs have, in every condition, and sentences on those that cannot be compared."""
    pairs, found, notes = common(a, b), [], []
    for measure in MEASURES:
        have = [run for run in (a, b) if set(measure.columns) <= run.columns]
        if len(have) == 1 and a.clips and b.clips:
            notes.append(f"{measure.title}: not compared per clip, for only {have[0].name} has it.")
        if len(have) < 2 or not pairs:
            continue
        if refused := instrument(measure.key, a, b):
            notes.append(f"{measure.title}: not compared, for it was {refused}.")
            continue
        family = [change(pairs, one.name, measure, one.generated) for one in CONDITIONS]
        family = [one for one in family if one is not None]
        tested = [one for one in family if one.p is not None]
        corrected = dict(zip((one.condition for one in tested), holm([one.p for one in tested]), strict=True))
        found += [replace(one, p=corrected.get(one.condition)) for one in family]
    return found, notes


def overlap(a: Run, b: Run) -> list[str]:
    """Sentences on what only one of the runs has: texts, seeds, conditions; and on what is left when nothing is."""
    if not a.clips or not b.clips:
        return []
    ours, theirs = by_text(a), by_text(b)
    both, notes = ours.keys() & theirs.keys(), []
    if not both:
        return [f"No clip is common to both: their {len(ours)} and {len(theirs)} texts differ, so nothing is tested."]
    if len(both) < len(ours) or len(both) < len(theirs):
        notes.append(
            f"The runs have different texts: {len(both)} are in both and compared; {len(ours) - len(both)} are only "
            f"in A and {len(theirs) - len(both)} only in B."
        )
    seeds = [sorted({clip.seed for clip in run.clips if clip.seed is not None}) for run in (a, b)]
    if seeds[0] != seeds[1] and all(seeds):
        shown = [", ".join(map(str, one)) for one in seeds]
        same = sorted(set(seeds[0]) & set(seeds[1]))
        left = f"compared are {', '.join(map(str, same))}" if same else "no generated clip is common to both"
        notes.append(f"The seeds differ ({shown[0]} in A, {shown[1]} in B): {left}.")
    spoken = [{clip.condition for clip in run.clips} for run in (a, b)]
    for run, missing in zip((a, b), (spoken[1] - spoken[0], spoken[0] - spoken[1]), strict=True):
        if missing:
            notes.append(f"{run.name} has no clips of {', '.join(sorted(missing))}.")
    return notes


@dataclass(frozen=True)
class Reported:
    """One figure of metrics.json as each run reported it; `refused`: why the two must not be set against each other."""

    condition: str
    figure: str
    a: str
    b: str
    refused: str


def reported(a: Run, b: Run) -> list[Reported]:
    """The figures of metrics.json side by side, over all clips of each run; intervals behind their figure."""

    def shown(figures, key: str) -> str:
        value = figures.get(key) if isinstance(figures, dict) else None
        if value is None or isinstance(value, dict | list):
            return "–"
        low, high = figures.get(f"{key}_low"), figures.get(f"{key}_high")
        return (
            f"{value:g} [{low:g} – {high:g}]"
            if _numbers(value, low, high)
            else f"{value:g}"
            if _numbers(value)
            else str(value)
        )

    order = [condition.name for condition in CONDITIONS]
    names = [name for name in {**a.metrics, **b.metrics} if name not in ("engines", "differences")]
    groups = [name for name in names if any(isinstance(run.metrics.get(name), dict) for run in (a, b))]
    lines = []
    for name in sorted(groups, key=lambda name: (order.index(name) if name in order else len(order), name)):
        figures = [run.metrics.get(name, {}) if isinstance(run.metrics.get(name), dict) else {} for run in (a, b)]
        keys = [key for key in {**figures[0], **figures[1]} if not key.endswith(("_low", "_high"))]
        for key in keys:
            refused = instrument(key, a, b) if key in figures[0] and key in figures[1] else ""
            lines.append(Reported(name, key, shown(figures[0], key), shown(figures[1], key), refused))
    for key in names:
        if key not in groups:
            lines.append(Reported("", key, shown(a.metrics, key), shown(b.metrics, key), ""))
    return lines


def _numbers(*values) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
