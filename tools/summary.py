"""Show what the last run measured, and where to listen.

python -m tools.summary                 (`make repro` ends with it)
python -m tools.summary --markdown      (the table of README.md)
"""

import json
import sys
from pathlib import Path

from stages.process.stage import run  # isort: skip  (the frame of every tool)
from stages.scoring.conditions import CONDITIONS
from stages.scoring.judge import limits, verdict
from stages.scoring.summary import from_metrics
from tools.votes import stale

METRICS, TRAINING, PAGE = Path("reports/metrics.json"), Path("reports/train.json"), Path("reports/listen/index.html")
COLUMNS = {  # key in metrics.json -> heading, format, and that of the ends of its interval
    "wer": ("WER", "{:.0%}", "{:.0%}"),
    "cer": ("CER", "{:.0%}", None),
    "similarity": ("similarity", "{:.2f}", "{:.2f}"),
    "similarity_normalised": ("floor to ceiling", "{:.2f}", None),
    "failed": ("failed", "{:.0%}", "{:.0%}"),
    "stop_rate": ("stops", "{:.0%}", None),
    "duration_ratio": ("duration", "{:.2f}", None),
    "quality": ("quality", "{:.1f}", None),
    "clips": ("clips", "{:d}", None),
}


def read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.is_file() else {}


def lines(metrics: dict) -> list[list[str]]:
    """A heading and a line per condition, in the order of the page; what could not be measured is a dash."""
    table = [["condition", *(heading for heading, _, _ in COLUMNS.values())]]
    for condition in CONDITIONS:
        if found := metrics.get(condition.name):
            table.append([condition.name, *(cell(found, key) for key in COLUMNS)])
    return table


def cell(figures: dict, key: str) -> str:
    """A figure, with its 95 % interval where it has one."""
    _, shape, ends = COLUMNS[key]
    if key not in figures:
        return "-"
    low, high = figures.get(f"{key}_low"), figures.get(f"{key}_high")
    between = f" ({ends.format(low)} to {ends.format(high)})" if ends and None not in (low, high) else ""
    return shape.format(figures[key]) + between


def aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in table
    )


def markdown(root: Path = Path(".")) -> str:
    """The committed run's table as README.md shows it."""
    heading, *rest = lines(read(root / METRICS))
    return "\n".join(f"| {' | '.join(line)} |" for line in [heading, ["---"] + ["---:"] * len(COLUMNS), *rest])


def main() -> None:
    if sys.argv[1:] == ["--markdown"]:
        print(markdown())
        return
    metrics, training = read(METRICS), read(TRAINING)
    if not metrics:
        print("nothing has been measured yet; run `make repro`")
        return
    print(f"\n{aligned(lines(metrics))}\n")
    if training:
        print(f"eval loss {training['eval_loss_before']:.3f} before training, {training['eval_loss']:.3f} after")
    summary, compared = from_metrics(metrics)
    print("\n".join([*verdict(summary, compared), *limits(summary, compared)]))
    if not metrics.get("evaluator_sound", True):
        print("The recordings themselves score badly: mistrust the evaluator before the voice (stderr of evaluate).")
    if outdated := stale():
        print(outdated)
    print(f"Listen: {PAGE}" if PAGE.is_file() else f"The page {PAGE} is not here; run `make repro` or `make pull`.")


if __name__ == "__main__":
    run(main, "summary")
