"""From clips to figures: one set per condition, and the differences between conditions with what is known of them.

Similarity is a question about a voice, so a clip without sound has none: it is in no mean of similarities, and a pair
of clips of which one is silent is in no difference of similarities, so that both voices are compared on the same clips.
To count it as 0 would punish silence twice, and turn a measure of the voice into one of silence. Silence does not go
unseen: such a clip has all its words wrong and has failed, in every figure and test of word errors and of failures;
`empty` counts them; the number of texts that were paired stands beside each difference; and the verdict (judge.py)
names the silent clips whenever it speaks of similarity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from stages.scoring.conditions import CONDITIONS
from stages.scoring.failures import NAMES as FAILURES
from stages.scoring.statistics import bootstrap, holm, paired_difference, permutation, wilson

RESAMPLES = 10_000
SIGNIFICANT = 0.05
MARGIN = 0.05  # cosine: a ceiling no further above the floor leaves no room to place a voice in
REFERENCES = ("same_speaker", "other_speaker")
GENERATED = tuple(condition.name for condition in CONDITIONS if condition.generated)
COMPARED = ("wer", "similarity", "failed")
MEDIANS = {  # figure: decimals
    "duration_ratio": 4,
    "pitch_hz": 1,
    "pitch_spread_st": 2,
    "pace": 2,
    "pause_share": 4,
    "loudness_lufs": 1,
}

Figures = dict[str, float | int | None]


@dataclass(frozen=True)
class Comparison:
    """One figure of two conditions, on the same texts and seeds."""

    first: str
    second: str
    figure: str  # one of COMPARED
    difference: float  # second - first
    low: float  # 95 % interval of the difference
    high: float
    p: float  # that there is no difference; corrected for all pairs of this figure
    texts: int  # that have a value in both

    @property
    def significant(self) -> bool:
        """Whether test and interval agree that there is a difference."""
        return self.p < SIGNIFICANT and (self.low > 0 or self.high < 0)


def summarise(
    table: pd.DataFrame,
    references: Mapping[str, Mapping] | None = None,
    resamples: int = RESAMPLES,
    unjudged: Sequence[str] = (),
) -> dict[str, Figures]:
    """Condition -> figures, over all its clips; then the entries of `references`, empty where there are none.

    table: one line per clip with the fields of Score; references: same_speaker, with its similarity (the ceiling), and
    other_speaker, with its similarity (the floor); unjudged: failures that were not looked for (Limits.unjudged). What
    cannot be measured, or was not, is None.
    """
    references = references or {}
    found = {
        str(name): _figures(clips, references, resamples, unjudged)
        for name, clips in table.groupby("condition", sort=False)
    }
    return found | {name: _rounded_entry(references.get(name, {})) for name in REFERENCES}


def _figures(
    clips: pd.DataFrame, references: Mapping[str, Mapping], resamples: int, unjudged: Sequence[str]
) -> Figures:
    similarity = _rounded(_values(clips, "similarity").mean())
    figures: Figures = {"clips": len(clips), "texts": int(clips["row"].nunique())}
    figures |= _word_figures(clips, resamples)
    figures |= {"similarity": similarity} | _interval("similarity", clips, resamples)
    figures |= {
        "similarity_normalised": _normalised(similarity, references),
        "similarity_prompt": _rounded(_values(clips, "similarity_prompt").mean()),
        "similarity_seed_sd": _seed_sd(clips),
    }
    figures |= {name: _rounded(_values(clips, name).median(), decimals) for name, decimals in MEDIANS.items()}
    figures["quality"] = _rounded(_values(clips, "quality").mean(), 3)
    stopped = _values(clips, "stopped")
    figures["stop_rate"] = _rounded(stopped.mean()) if stopped.notna().all() else None
    return figures | _failure_figures(clips, unjudged) | {"empty": int(_values(clips, "empty").sum())}


def _word_figures(clips: pd.DataFrame, resamples: int) -> Figures:
    def per(errors: str, total: str) -> float | None:
        return _rounded(_values(clips, errors).sum(min_count=1) / _values(clips, total).sum(min_count=1))

    return {
        "wer": per("word_errors", "words"),
        **_interval("wer", clips, resamples),
        "wer_macro": _rounded(_values(clips, "wer").mean()),
        "wer_median": _rounded(_values(clips, "wer").median()),
        "wer_seed_tts": _rounded(_values(clips, "wer_seed_tts").mean()),
        "wer_second": _rounded(_values(clips, "wer_second").mean()),
        "cer": per("character_errors", "characters"),
        "insertion_rate": per("insertions", "words"),
        "deletion_rate": per("deletions", "words"),
    }


def _failure_figures(clips: pd.DataFrame, unjudged: Sequence[str]) -> Figures:
    """Shares of the clips that failed, in any way and in each way that was looked for.

    The Wilson interval takes clips as independent, which those of one text are not quite; the differences between
    conditions, which are drawn and tested by text, do not.
    """
    figures: Figures = dict.fromkeys(["failed", "failed_low", "failed_high", *(f"fail_{name}" for name in FAILURES)])
    if "failures" not in clips:
        return figures
    names = _failure_names(clips)
    failed = int((names.str.len() > 0).sum())
    low, high = wilson(failed, len(clips))
    figures |= {"failed": _rounded(failed / len(clips)), "failed_low": _rounded(low), "failed_high": _rounded(high)}
    recorded = not _values(clips, "stopped").notna().any()
    for name in FAILURES:
        if name not in unjudged and not (name == "no_stop" and recorded):
            figures[f"fail_{name}"] = _rounded(float(names.map(lambda found, name=name: name in found).mean()))
    return figures


def _failure_names(clips: pd.DataFrame) -> pd.Series:
    """A list of names for every clip; an empty field of a CSV is none."""
    if "failures" not in clips:
        return pd.Series([[] for _ in clips.index], index=clips.index, dtype=object)
    return clips["failures"].fillna("").astype(str).str.split()


def _normalised(similarity: float | None, references: Mapping[str, Mapping]) -> float | None:
    """Where between other people (0) and the speaker's own recordings (1) a voice stands; it may be above 1."""
    ceiling = references.get("same_speaker", {}).get("similarity")
    floor = references.get("other_speaker", {}).get("similarity")
    if similarity is None or ceiling is None or floor is None or ceiling - floor < MARGIN:
        return None
    return _rounded((similarity - floor) / (ceiling - floor))


def _seed_sd(clips: pd.DataFrame) -> float | None:
    """How far apart the seeds of a text are: the mean over texts of their standard deviation."""
    spread = _values(clips, "similarity").groupby(clips["row"]).std()  # nan where a text has one value
    return _rounded(spread.mean())


def _interval(figure: str, clips: pd.DataFrame, resamples: int) -> Figures:
    low, high = bootstrap(*_grids(clips, figure), resamples)
    return {f"{figure}_low": _rounded(low), f"{figure}_high": _rounded(high)}


def comparisons(table: pd.DataFrame, resamples: int = RESAMPLES) -> list[Comparison]:
    """The six pairs of generated conditions, for each figure of COMPARED, in the order of CONDITIONS.

    A pair with fewer than two texts in common is left out: one text tells nothing of others.
    """
    by_condition = {name: table[table["condition"] == name] for name in GENERATED}
    found = []
    for figure in COMPARED:
        family = []
        for first, second in combinations(GENERATED, 2):
            difference, low, high, p, texts = paired(by_condition[first], by_condition[second], figure, resamples)
            if texts >= 2:
                numbers = [float(_rounded(number)) for number in (difference, low, high)]
                family.append(Comparison(first, second, figure, *numbers, p, texts))
        corrected = holm([one.p for one in family])
        found += [replace(one, p=float(_rounded(p))) for one, p in zip(family, corrected, strict=True)]
    return found


def paired(
    first: pd.DataFrame, second: pd.DataFrame, figure: str, resamples: int = RESAMPLES
) -> tuple[float, float, float, float, int]:
    """A figure of COMPARED in the clips of two voices: difference second - first, low, high, p (not corrected), texts.

    Only clips of the same row and seed are paired; an absent clip or value leaves its pair out. difference is nan
    without a pair, low and high with fewer than two texts.
    """
    values, weights = zip(*(_grids(clips, figure) for clips in (first, second)), strict=True)
    rows = values[0].index.intersection(values[1].index)
    seeds = values[0].columns.intersection(values[1].columns)
    before, after, weight = (grid.loc[rows, seeds].to_numpy() for grid in (*values, weights[0]))
    difference = after - before
    has_value = ~np.isnan(difference).all(axis=1)
    # per text the sum over seeds, so that the statistic tested is the very difference that is reported
    p = permutation(np.nansum(difference[has_value], axis=1), resamples)
    return *paired_difference(before, after, weight, resamples), p, int(has_value.sum())


def _grids(clips: pd.DataFrame, figure: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values and weights of a figure, one line per text, one column per seed (recordings: one column); nan for none."""
    weights = pd.Series(1.0, clips.index)
    if figure == "wer":
        values, weights = _values(clips, "word_errors"), _values(clips, "words")
    elif figure == "failed":
        values = (_failure_names(clips).str.len() > 0).astype(float)
        values = values if "failures" in clips else values * np.nan
    else:
        values = _values(clips, figure)
    seeds = _values(clips, "seed").fillna(-1).astype(int)
    both = pd.DataFrame({"row": clips["row"], "seed": seeds, "value": values, "weight": weights})
    grid = partial(both.pivot, index="row", columns="seed")
    return grid(values="value"), grid(values="weight")


def _values(clips: pd.DataFrame, name: str) -> pd.Series:
    """A column as numbers, nan for None; all nan when an older table has no such column."""
    if name not in clips:
        return pd.Series(np.nan, clips.index)
    return pd.Series(clips[name].to_numpy(np.float64, na_value=np.nan), clips.index)


def _rounded(value: float, decimals: int = 4) -> float | None:
    """None for nan and infinity, which JSON does not have; 0 for -0."""
    return round(float(value), decimals) + 0.0 if np.isfinite(value) else None


def _rounded_entry(entry: Mapping[str, float | int | None]) -> Figures:
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in entry.items()}


def as_metrics(summary: Mapping[str, Mapping], compared: Sequence[Comparison] = ()) -> dict[str, dict]:
    """The summary without the figures that could not be measured (DVC compares numbers only), and "differences"."""
    found: dict[str, dict] = {
        name: {figure: value for figure, value in figures.items() if value is not None}
        for name, figures in summary.items()
    }
    differences: dict[str, dict] = {}
    for one in compared:
        numbers = {name: getattr(one, name) for name in ("difference", "low", "high", "p", "texts")}
        differences.setdefault(f"{one.first}_to_{one.second}", {})[one.figure] = numbers
    return {name: figures for name, figures in found.items() if figures} | {"differences": differences}


def from_metrics(metrics: Mapping) -> tuple[dict[str, Figures], list[Comparison]]:
    """Summary and comparisons as `as_metrics` wrote them, without what could not be measured."""
    names = [*(condition.name for condition in CONDITIONS), *REFERENCES]
    summary = {name: dict(metrics.get(name, {})) for name in names}
    differences = metrics.get("differences", {})
    return summary, [
        Comparison(first, second, figure, **differences[f"{first}_to_{second}"][figure])
        for figure in COMPARED
        for first, second in combinations(GENERATED, 2)
        if figure in differences.get(f"{first}_to_{second}", {})
    ]
