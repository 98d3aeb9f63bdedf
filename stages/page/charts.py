"""The summary drawn: estimates with their intervals on a common scale, failures by kind, and paired differences."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.page.figures import (
    FAILURES,
    HEADLINES,
    KINDS,
    NONE,
    VOICE,
    WORDS,
    Failure,
    Figure,
    percent,
    probability,
    signed,
    two,
)
from stages.scoring.conditions import BEFORE_AFTER, CONDITIONS

if TYPE_CHECKING:
    from stages.scoring.summary import Comparison

FLOOR, CEILING = "other_speaker", "same_speaker"  # entries of the summary
TITLES = {condition.name: condition.title for condition in CONDITIONS}

Summary = Mapping[str, Mapping[str, float | int | None]]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `at`, `low` and `high` are places on the scale, 0 to 100."""

    value: str
    interval: str
    at: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A tick of the scale, or a line to compare with."""

    at: float
    title: str
    key: str = "tick"


@dataclass(frozen=True)
class Chart:
    """One figure of all conditions. `estimates` by condition; `lines`: floor, threshold and ceiling, if it has them."""

    figure: Figure
    ticks: tuple[Line, ...]
    lines: tuple[Line, ...]
    estimates: dict[str, Estimate]


@dataclass(frozen=True)
class Kind:
    """How often one kind of failure happens; `shares` in the order of the conditions, 0 to 1."""

    failure: Failure
    shares: tuple[float | None, ...]


@dataclass(frozen=True)
class Difference:
    value: str
    interval: str
    p: str
    verdict: str
    clear: bool


@dataclass(frozen=True)
class Pair:
    """Two conditions; `differences` in the order of HEADLINES, None where it was not measured."""

    first: str
    second: str
    chosen: bool  # before and after tuning, all else equal
    texts: int
    differences: tuple[Difference | None, ...]


def ticks(low: float, high: float, wanted: int = 3) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, from one not above `low` to one not below `high`."""
    if high <= low:
        low, high = low - 0.05, high + 0.05
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def get(summary: Summary, condition: str, key: str) -> float | None:
    return summary.get(condition, {}).get(key)


def interval(low: float, high: float, write: Callable[[float], str]) -> str:
    """`8–17 %`: a unit is said once."""
    left, right = write(low), write(high)
    unit = " %" if left.endswith(" %") and right.endswith(" %") else ""
    return f"{left.removesuffix(unit)} to {right}" if low < 0 or high < 0 else f"{left.removesuffix(unit)}–{right}"


def references(summary: Summary) -> list[tuple[str, float, str]]:
    """What similarity is compared with: (key, value, words) of floor, threshold and ceiling, as far as measured."""
    voices = get(summary, FLOOR, "voices")
    others = f"{voices:g} other voices" if voices else "other voices"
    found = [
        ("floor", get(summary, FLOOR, "similarity"), f"{others} (floor)"),
        ("threshold", get(summary, FLOOR, "threshold"), "taken for another person below (threshold)"),
        ("ceiling", get(summary, CEILING, "similarity"), "the speaker's own recordings (ceiling)"),
    ]
    return [(key, value, words) for key, value, words in found if value is not None]


def chart(summary: Summary, figure: Figure) -> Chart:
    """One figure of every condition on one scale, which starts at 0 but for similarity."""
    keys = (figure.key, f"{figure.key}_low", f"{figure.key}_high")
    found = {name: [get(summary, name, key) for key in keys] for name in TITLES}
    marks = references(summary) if figure.key == VOICE else []
    numbers = [value for values in found.values() for value in values if value is not None]
    numbers += [value for _, value, _ in marks]
    numbers += [] if figure.key == VOICE else [0.0, 0.1]
    scale = ticks(min(numbers), max(numbers)) if numbers else [0.0, 1.0]

    def at(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - scale[0]) / (scale[-1] - scale[0]), 2)

    def estimate(value: float | None, low: float | None, high: float | None) -> Estimate:
        between = "" if low is None or high is None else interval(low, high, figure.write)
        return Estimate(NONE if value is None else figure.write(value), between, at(value), at(low), at(high))

    return Chart(
        figure,
        tuple(Line(at(value), figure.write(value)) for value in scale),
        tuple(Line(at(value), f"{figure.write(value)} {words}", key) for key, value, words in marks),
        {name: estimate(*values) for name, values in found.items()},
    )


def charts(summary: Summary) -> list[Chart]:
    return [chart(summary, figure) for figure in HEADLINES.values()]


def failures(summary: Summary) -> tuple[list[Kind], list[Failure]]:
    """The kinds of failure that happened, and those that were looked for and did not."""
    happened, never = [], []
    for failure in KINDS:
        shares = tuple(get(summary, name, f"fail_{failure.name}") for name in TITLES)
        if any(shares):
            happened.append(Kind(failure, shares))
        elif any(share is not None for share in shares):
            never.append(failure)
    return happened, never


def points(value: float) -> str:
    return f"{100 * value:.0f}"


def difference(found: "Comparison") -> Difference:
    write = two if found.figure == VOICE else points
    unit = "" if found.figure == VOICE else " points"
    value, low, high = (signed(write(number)) for number in (found.difference, found.low, found.high))
    better = (found.difference > 0) == (found.figure == VOICE)
    verdict = ("better" if better else "worse") if found.significant else "no clear difference"
    return Difference(value + unit, f"{low} to {high}", probability(found.p), verdict, found.significant)


def pairs(differences: Sequence["Comparison"]) -> list[Pair]:
    """One line per pair of conditions; those that differ by the tuning alone come first."""
    found: dict[tuple[str, str], dict[str, Comparison]] = {}
    for one in differences:
        found.setdefault((one.first, one.second), {})[one.figure] = one
    order = [pair for pair in BEFORE_AFTER if pair in found] + [pair for pair in found if pair not in BEFORE_AFTER]
    return [
        Pair(
            TITLES[pair[0]],
            TITLES[pair[1]],
            pair in BEFORE_AFTER,
            max(one.texts for one in found[pair].values()),
            tuple(difference(found[pair][key]) if key in found[pair] else None for key in (WORDS, VOICE, FAILURES)),
        )
        for pair in order
    ]


def share(value: float | None) -> str:
    return NONE if value is None else percent(value)
