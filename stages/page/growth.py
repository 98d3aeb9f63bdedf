"""How the voice grew: a timeline of what the checkpoints said, and the curves of score and loss."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.page.figures import percent
from stages.scoring.growth import Growth, Sample, Stage

MAX_STAGES, MAX_SENTENCES = 6, 3  # the timeline is a taste; reports/growth holds all
LEFT, RIGHT, TOP, BOTTOM = 44, 590, 14, 184  # the frame in the drawing, in the drawing's own units
DRAWING = {"width": 640, "height": 220, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
FILE = re.compile(r"\d+/[A-Za-z0-9_-]+\.mp3")
REASONS = {
    "score": "it sounds best",
    "loss": "its eval loss is the lowest",
    "last": "it is the last",
}


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    title: str
    chosen: bool


@dataclass(frozen=True)
class Curve:
    """A line through `dots`; `low` and `high` are what the lower and the upper edge of the frame stand for."""

    key: str
    title: str
    low: str
    high: str
    dots: tuple[Dot, ...]

    @property
    def points(self) -> str:
        return " ".join(f"{dot.x:g},{dot.y:g}" for dot in self.dots)


@dataclass(frozen=True)
class Cell:
    """A sentence as one checkpoint says it; `file` is None when there is nothing to hear."""

    file: str | None
    label: str
    score: str
    wer: str
    heard: str
    stopped: bool


@dataclass(frozen=True)
class Column:
    step: int
    title: str
    score: str
    chosen: bool


@dataclass(frozen=True)
class Timeline:
    """What growth.html.j2 shows: a table of `lines` (text, cells) under `columns`, and a drawing of `curves`.

    Where training did not listen there are no `lines`, and the loss is the only curve.
    """

    reason: str
    chosen: int
    columns: tuple[Column, ...]
    lines: tuple[tuple[str, tuple[Cell, ...]], ...]
    curves: tuple[Curve, ...]
    steps: tuple[Dot, ...]  # ticks of the horizontal axis
    sentences: int  # how many each score is the mean of


def title_of(step: int) -> str:
    return f"Step {step}" if step else "Untrained"


def few(stages: Sequence[Stage], chosen: int) -> list[Stage]:
    """At most MAX_STAGES, spread evenly: always the first, and always the one that became the voice."""
    last = len(stages) - 1
    count = min(MAX_STAGES, len(stages))
    places = [round(number * last / (count - 1)) for number in range(count)] if count > 1 else [0]
    wanted = next(place for place, stage in enumerate(stages) if stage.step == chosen)
    if wanted not in places:
        nearest = min(range(1, count), key=lambda number: abs(places[number] - wanted))
        places[nearest] = wanted
    return [stages[place] for place in sorted(places)]


def curve(stages: Sequence[Stage], chosen: int, key: str, title: str, limits: tuple[float, float] | None) -> Curve:
    """The line of one figure over the steps; without `limits` its own least and greatest value are the edges."""
    values = [stage.figures[key] for stage in stages]
    low, high = limits or (min(values), max(values))
    span, last = (high - low) or 1.0, stages[-1].step or 1
    dots = [
        Dot(
            x=round(LEFT + (RIGHT - LEFT) * stage.step / last, 1),
            y=round(BOTTOM - (BOTTOM - TOP) * (value - low) / span, 1),
            title=f"{title_of(stage.step)}: {title} {value:.3f}",
            chosen=stage.step == chosen,
        )
        for stage, value in zip(stages, values, strict=True)
    ]
    return Curve(key, title, f"{low:.3g}", f"{high:.3g}", tuple(dots))


def cell(sample: Sample, stage: Stage, text: str) -> Cell:
    return Cell(
        file=f"audio/growth/{sample.file}" if sample.file else None,
        label=f"{title_of(stage.step)}: {text}",
        score=f"{sample.score:.2f}",
        wer=percent(sample.words.rate),
        heard=sample.heard,
        stopped=sample.stopped,
    )


def timeline(growth: Growth) -> Timeline | None:
    """None when training neither listened nor was evaluated more than once."""
    if not growth.texts and len(growth.stages) < 2:
        return None
    shown = few(growth.stages, growth.chosen)
    columns = [
        Column(stage.step, title_of(stage.step), f"{stage.figures['score']:.2f}", stage.step == growth.chosen)
        for stage in (shown if growth.texts else [])
    ]
    lines = [
        (text, tuple(cell(sample, stage, text) for stage in shown for sample in stage.samples if sample.row == row))
        for row, text in sorted(growth.texts.items())[:MAX_SENTENCES]
    ]
    curves = [curve(growth.stages, growth.chosen, "loss", "eval loss", None)]
    if growth.texts:
        curves.insert(0, curve(growth.stages, growth.chosen, "score", "score", (0.0, 1.0)))
    marked = {stage.step for stage in shown}
    steps = tuple(
        Dot(dot.x, BOTTOM, str(stage.step), dot.chosen)
        for stage, dot in zip(growth.stages, curves[0].dots, strict=True)
        if stage.step in marked
    )
    reason = REASONS[growth.criterion]
    return Timeline(reason, growth.chosen, tuple(columns), tuple(lines), tuple(curves), steps, len(growth.texts))


def copy_sounds(shown: Timeline, growth_folder: str | Path, page_folder: Path) -> None:
    """The sounds that the timeline plays, into the page's folder."""
    for _, cells in shown.lines:
        for one in cells:
            if one.file is None:
                continue
            name = one.file.removeprefix("audio/growth/")
            if not FILE.fullmatch(name):
                raise ValueError(f"{name!r} is no sound of a checkpoint")
            (page_folder / one.file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(growth_folder) / name, page_folder / one.file)
