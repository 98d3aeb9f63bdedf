"""Find good settings by ear: train several voices, let each speak, and rank them by what is heard.

    python -m tools.sweep grid --learning-rate="0.001 0.002" --steps="20 60" --rank="8 16"
    python -m tools.sweep minutes --minutes="1 3 10 30 all"

Every run is an experiment of DVC beside the last commit, so `dvc exp show` lists it and `dvc exp apply` takes it over.
`grid` tries every combination, `minutes` gives the training less and less of the speech, for the same number of
updates. Both end in a table and a figure: reports/sweep.csv and .svg, or reports/data-curve.csv and .svg. A run that is
finished is not run again; after a new commit DVC's run cache gives back those whose code, data and parameters are the
same, in seconds.

The score of a run is the mean of the scores of its clips (stages.scoring.growth: understood, the speaker's voice, the
right pace, ended by itself), of `ft` and of `ft_clone` in equal parts. These are the clips of reports/clips.csv, the
held-out test sentences: the best of many runs is a little flattered by having been chosen on them.
"""

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

from tqdm import tqdm

from stages.files.atomic import rounded, write_text
from stages.files.rows import read_rows
from stages.files.settings import read_yaml
from stages.process.problem import Problem
from stages.scoring.growth import Sample
from stages.scoring.words import Errors
from tools.chart import Panel, Series, figure
from tools.experiments import RunFailed, at_revision, carry_out, check_committed, finished, private_copy

PRODUCTS = [f"reports/{name}.{kind}" for name in ("sweep", "data-curve") for kind in ("csv", "svg")]
CONDITIONS = {"ft": "fine-tuned", "ft_clone": "fine-tuned + cloned"}
PARAMETERS = {
    "learning_rate": "train.learning_rate",
    "steps": "train.max_steps",
    "rank": "train.lora.rank",
    "minutes": "train.minutes",
}
SHORT = {"learning_rate": "lr", "steps": "steps", "rank": "rank", "minutes": "minutes"}
TITLES = {"learning_rate": "learning rate", "steps": "steps", "rank": "rank", "minutes": "minutes of training speech"}
THIS_COMMIT = "(this commit)"
LUCK = 0.02  # differences of scores up to this say nothing, with the sentences there are (stages.scoring.growth)
MEASURES = ("stop_rate", "wer", "similarity")
ALL = "all"

Values = dict[str, float | int | None]  # swept quantity -> value; None: all the speech there is


@dataclass(frozen=True)
class Run:
    """One experiment: what it sets. The name says it all, so a name that is there is a run that is done."""

    kind: str  # grid or curve
    values: Values

    @property
    def name(self) -> str:
        return "-".join([self.kind, *(f"{SHORT[key]}{shown(value)}" for key, value in self.values.items())])

    @property
    def overrides(self) -> dict[str, str]:
        return {
            PARAMETERS[key]: "null" if value is None else shown(float(value) if key == "minutes" else value)
            for key, value in self.values.items()
        }


@dataclass(frozen=True)
class Result:
    """What became of a run: its figures, or why there are none."""

    name: str
    values: Values
    score: float | None = None
    by_condition: Mapping[str, Mapping[str, float | None]] | None = None  # ft, ft_clone -> score and MEASURES
    eval_loss: float | None = None
    steps: int | None = None
    rows: int | None = None
    minutes: float | None = None
    failed: str = ""


def shown(value: float | int | None) -> str:
    return ALL if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def numbers(words: str, what: str, kind: type = float) -> list:
    """Different numbers above 0 in ascending order, from words parted by blanks or commas. Raises Problem."""
    found = set()
    for word in re.split(r"[\s,]+", words.strip()):
        if not re.fullmatch(r"\d{1,9}" if kind is int else r"\d{0,9}\.?\d{1,9}([eE][+-]?\d{1,2})?", word, re.ASCII):
            raise Problem(f"{what}={words!r}: {word!r} is no {'whole ' if kind is int else ''}number; give e.g. 1 3 10")
        found.add(kind(word))
    if min(found) <= 0:
        raise Problem(f"{what}={words!r}: every number must be above 0")
    return sorted(found)


def grid_runs(asked: Mapping[str, str], params: Mapping, steps: int) -> list[Run]:
    """Every combination of what is asked for. What is left out: half and twice the committed learning rate, a quarter
    and all of the `steps` of the last training, the committed rank."""
    train = params["train"]
    rate = train["learning_rate"]
    if train.get("method") == "full" and asked["rank"]:
        raise Problem("RANKS has no effect: train.method is full, which trains no adapter; leave it out")
    rates = numbers(asked["learning_rate"], "LR") if asked["learning_rate"] else [rate / 2, rate * 2]
    lengths = numbers(asked["steps"], "STEPS", int) if asked["steps"] else sorted({max(1, steps // 4), steps})
    ranks = numbers(asked["rank"], "RANKS", int) if asked["rank"] else [train["lora"]["rank"]]
    chosen = product(rates, lengths, ranks)
    return [Run("grid", {"learning_rate": rate, "steps": length, "rank": rank}) for rate, length, rank in chosen]


def minutes_runs(asked: Mapping[str, str], available: float, steps: int) -> tuple[list[Run], list[float]]:
    """Runs by growing size, and the sizes above the `available` minutes, which are left out."""
    words = (asked["minutes"] or f"1 3 10 30 {ALL}").split()
    sizes = numbers(" ".join(word for word in words if word != ALL), "MINUTES") if set(words) - {ALL} else []
    lengths = numbers(asked["steps"], "STEPS", int) if asked["steps"] else [steps]
    if len(lengths) > 1:
        raise Problem("STEPS: the data curve takes one number, so that its runs differ in nothing but the speech")
    fitting = [size for size in sizes if size <= available]
    chosen = [*fitting, *([None] if ALL in words else [])]
    if not chosen:
        raise Problem(
            f"MINUTES: all sizes are above the {available:.1f} minutes there are; give smaller ones, or {ALL}"
        )
    return [Run("curve", {"minutes": size, "steps": lengths[0]}) for size in chosen], sizes[len(fitting) :]


def clip_score(clip: Mapping[str, str]) -> float:
    """The score of one line of reports/clips.csv, by the formula that chooses checkpoints."""
    counted = (int(clip[name]) for name in ("substitutions", "deletions", "insertions", "words"))
    return Sample(
        row=clip["row"],
        words=Errors(*counted),
        characters=Errors(int(clip["character_errors"]), 0, 0, int(clip["characters"])),
        similarity=float(clip["similarity"] or 0),
        duration_ratio=float(clip["duration_ratio"]),
        stopped=clip["stopped"] == "1",
        heard=clip["heard"],
        file=None if clip["empty"] == "1" else clip["row"],
    ).score


def measured(name: str, values: Values, read: Callable[[str], str]) -> Result:
    """The figures of a run from its reports; `read` gives the text of a file as the run left it."""
    clips = list(csv.DictReader(io.StringIO(read("reports/clips.csv"))))
    metrics, training = json.loads(read("reports/metrics.json")), json.loads(read("reports/train.json"))
    found = {
        condition: {"score": fmean(clip_score(clip) for clip in clips if clip["condition"] == condition)}
        | {measure: metrics[condition].get(measure) for measure in MEASURES}
        for condition in CONDITIONS
    }
    return Result(
        name=name,
        values=values,
        score=fmean(figures["score"] for figures in found.values()),
        by_condition=found,
        eval_loss=training["eval_loss"],
        steps=training["steps"],
        rows=training["rows"],
        minutes=training.get("minutes"),
    )


def ranked(results: Sequence[Result]) -> list[Result]:
    """Best first: by score, then by eval loss; failed runs last."""
    return sorted(results, key=lambda one: (bool(one.failed), -(one.score or 0), one.eval_loss or 0, one.name))


def as_records(results: Sequence[Result], kind: str) -> list[dict]:
    """One flat record per run, in the order given. A figure that is missing is None."""
    records = []
    for result in results:
        record: dict = {"name": result.name}
        if kind == "grid":
            record |= {key: result.values.get(key) for key in ("learning_rate", "steps", "rank")}
        else:
            record |= {"minutes": result.minutes, "rows": result.rows, "steps": result.values.get("steps")}
        record["score"] = result.score
        for condition in CONDITIONS:
            figures = (result.by_condition or {}).get(condition, {})
            record |= {f"{condition}_{measure}": figures.get(measure) for measure in MEASURES}
        records.append(record | {"eval_loss": result.eval_loss, "failed": result.failed})
    return records


def as_csv(records: Sequence[dict]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rounded(list(records), 4))
    return text.getvalue()


def as_table(records: Sequence[dict]) -> str:
    """The records for a terminal, aligned; figures of `ft` and `ft_clone` share a column as `a / b`."""
    styles = {"stop_rate": ("stops", "{:.0%}"), "wer": ("WER", "{:.0%}"), "similarity": ("similarity", "{:.3f}")}
    own = [name for name in records[0] if not name.startswith("ft") and name not in ("name", "score", "eval_loss")]
    own.remove("failed")
    heads = [*(SHORT.get(name, name) for name in own), "score"]
    lines = [["", *heads, *(f"{title} ft / +clone" for title, _ in styles.values()), "eval loss"]]

    def cell(value, style: str) -> str:
        return "-" if value is None else style.format(value)

    for record in records:
        both = [" / ".join(cell(record[f"{one}_{key}"], styles[key][1]) for one in CONDITIONS) for key in styles]
        first = [cell(record[name], "{:.4g}") for name in own] + [cell(record["score"], "{:.3f}")]
        lines.append([record["name"], *first, *both, cell(record["eval_loss"], "{:.3f}")])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def draw_grid(results: Sequence[Result], committed: Result) -> str:
    """Score and eval loss over the quantity with the most values, a line for every combination of the others."""
    counts = {key: len({result.values[key] for result in results}) for key in ("learning_rate", "steps", "rank")}
    across = max(counts, key=lambda key: counts[key])
    others = [key for key in counts if key != across]
    varied = [key for key in others if counts[key] > 1]
    fixed = ", ".join(f"{TITLES[key]} {shown(results[0].values[key])}" for key in others if key not in varied)

    def lines(figure_of: Callable[[Result], float | None]) -> list[Series]:
        points: dict[str, list] = {}
        for result in sorted(results, key=lambda one: [one.values[key] for key in (*others, across)]):
            words = ", ".join(f"{TITLES[key]} {shown(result.values[key])}" for key in varied) or "all runs"
            if figure_of(result) is not None:
                points.setdefault(words, []).append((result.values[across], figure_of(result)))
        return [Series(words, spots) for words, spots in points.items()]

    panels = [
        Panel(
            "Score", "of generated speech; higher is better", lines(lambda one: one.score), committed.score, span=0.1
        ),
        Panel("Eval loss", "beside it; it does not choose", lines(lambda one: one.eval_loss), committed.eval_loss),
    ]
    subtitle = "Each point is a voice: trained, merged and heard." + (f" All with {fixed}." if fixed else "")
    return figure(f"What {TITLES[across]} does to the voice", subtitle, panels, TITLES[across], True, "this commit")


def draw_minutes(results: Sequence[Result], committed: Result) -> str:
    """Score, word errors, similarity and eval loss over minutes of speech, on a logarithmic axis."""

    def lines(measure: str) -> list[Series]:
        found = []
        for condition, words in CONDITIONS.items():
            points = [(one.minutes, one.by_condition[condition][measure]) for one in results]
            found.append(Series(words, sorted(point for point in points if point[1] is not None)))
        return found

    losses = Series("eval loss", sorted((one.minutes, one.eval_loss) for one in results))
    panels = [
        Panel("Score", "of generated speech; higher is better", lines("score"), span=0.1),
        Panel("Word errors", "lower is better", lines("wer"), percent=True, span=0.2),
        Panel("Similarity", "to the speaker's recordings; higher is better", lines("similarity"), span=0.1),
        Panel("Eval loss", "beside it; lower is better", [losses]),
    ]
    subtitle = f"Each point is a voice trained for {results[0].steps} updates; a smaller set is part of the larger one."
    return figure("What more speech does to the voice", subtitle, panels, "minutes of training speech", True)


def run_all(runs: Sequence[Run], commit: str) -> list[Result]:
    """Carry out the runs that are not finished, and return the result of each. A failed run stops no other."""
    done, failed = finished(commit), {}
    todo = [one for one in runs if one.name not in done]
    print(
        f"{len(runs)} runs, {len(runs) - len(todo)} of them finished before; logs: .work/sweep/<name>.log", flush=True
    )
    if todo:
        with private_copy() as copy, tqdm(todo, unit="run") as bar:
            for one in bar:
                bar.set_description(one.name)
                try:
                    carry_out(copy, one.name, one.overrides)
                except RunFailed as problem:
                    failed[one.name] = str(problem)
                    tqdm.write(f"{one.name} failed: {problem}", file=sys.stderr)
        done = finished(commit)
    results = []
    for one in runs:
        if one.name in failed:
            results.append(Result(one.name, one.values, failed=failed[one.name]))
        else:
            results.append(measured(one.name, one.values, lambda path, name=one.name: at_revision(done[name], path)))
    return results


def conclude(kind: str, results: Sequence[Result], committed: Result, speaks: bool | None) -> None:
    """Write table and figure, print the table and what follows from it. Raises Problem when runs failed."""
    good = [result for result in results if not result.failed]
    order = ranked([*results, committed]) if kind == "grid" else list(results)
    stem = Path("reports/sweep" if kind == "grid" else "reports/data-curve")
    records = as_records(order, kind)
    write_text(stem.with_suffix(".csv"), as_csv(records))
    if good:
        write_text(stem.with_suffix(".svg"), (draw_grid if kind == "grid" else draw_minutes)(good, committed))
    print(f"\n{as_table(records)}\n")
    if speaks is False:
        print("This base cannot speak: its weights are random. The table shows the way, not which settings are good.")
    if kind == "grid" and good:
        best = order[0]
        if best is committed:
            print("Nothing scored better than this commit.")
        else:
            settings = ", ".join(f"{PARAMETERS[key]} {shown(value)}" for key, value in best.values.items())
            print(f"Best: {settings}. Take it over, without training again:\n  dvc exp apply {best.name}")
            if best.score - committed.score <= LUCK:
                print(f"It is ahead of this commit by {best.score - committed.score:.3f}, which may well be luck.")
    print(f"Table: {stem}.csv" + (f"   figure: {stem}.svg" if good else ""))
    if len(good) < len(results):
        count = len(results) - len(good)
        raise Problem(f"{count} of {len(results)} runs failed, for the reasons in {stem}.csv; run again to retry them")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train several voices and rank them by what is heard.")
    parser.add_argument("kind", choices=("grid", "minutes"))
    for option in SHORT:
        parser.add_argument(f"--{option.replace('_', '-')}", default="", help="numbers, parted by blanks")
    asked = {key: value.strip() for key, value in vars(parser.parse_args()).items()}
    commit = check_committed(PRODUCTS)
    params = read_yaml("params.yaml")
    if not all(Path(f"reports/{name}").is_file() for name in ("train.json", "metrics.json", "clips.csv")):
        raise Problem("reports/ holds no results; run `make repro` and commit first")
    committed = measured(THIS_COMMIT, {}, lambda path: Path(path).read_text())
    values = {"learning_rate": params["train"]["learning_rate"], "rank": params["train"]["lora"]["rank"]}
    committed.values.update(values | {"steps": committed.steps})
    if asked["kind"] == "grid":
        runs = grid_runs(asked, params, committed.steps)
    else:
        available = sum(row.seconds for row in read_rows("data/codes/train.parquet")) / 60
        runs, above = minutes_runs(asked, available, committed.steps)
        if above:
            sizes = ", ".join(map(shown, above))
            print(f"left out: {sizes} minutes; the training rows hold {available:.1f} minutes of speech")
    speaks = json.loads(Path("reports/metrics.json").read_text()).get("base_speaks")
    conclude(asked["kind"], run_all(runs, commit), committed, speaks)


if __name__ == "__main__":
    run(main, "sweep")
