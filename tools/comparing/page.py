"""The page of a comparison: a folder with an HTML file and the clips of both runs, needing no network and no server."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.files.atomic import replacing_folder
from stages.page.figures import percent
from stages.scoring.conditions import CONDITIONS
from tools.comparing.differences import Change, Measure, Reported, Setting, common
from tools.comparing.runs import Clip, Run
from tools.comparing.sounds import fetch

HERE = Path(__file__).parent
LISTEN = HERE.parents[1] / "stages" / "page"  # its colours and letters; stages.page.listen itself would load torch
FOLDER = Path("reports/compare")
# Everything that is put into the page is escaped; a name that the template misspells is an error.
ENVIRONMENT = Environment(
    loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class Comparison:
    """All that the page shows, and that the terminal is told."""

    a: Run
    b: Run
    settings: Sequence[Setting]
    rules_only_a: Sequence[str]
    rules_only_b: Sequence[str]
    outputs: Sequence[Setting]
    code: Sequence[str]
    changes: Sequence[Change]
    reported: Sequence[Reported]
    notes: Sequence[str]


@dataclass(frozen=True)
class Player:
    """One clip; `file` is None when there is no sound to play, `why` then says so."""

    label: str
    file: str | None
    why: str
    numbers: str
    badges: tuple[str, ...]
    heard: str


@dataclass(frozen=True)
class Pair:
    """A condition and seed of one sentence in both runs."""

    title: str
    condition: str
    seed: int | None
    players: tuple[Player | None, Player | None]
    worse: float  # how many more errors per word B makes; 0 when not known


@dataclass(frozen=True)
class Sentence:
    text: str
    pairs: tuple[Pair, ...]

    @property
    def change(self) -> float:
        return max((abs(pair.worse) for pair in self.pairs), default=0.0)


@dataclass(frozen=True)
class Drawing:
    """A difference and its interval as places, in percent of the width of the cell; `zero`: no difference."""

    zero: float
    point: float
    low: float
    high: float


def drawings(changes: Sequence[Change]) -> list[Drawing | None]:
    """One per change; those of one figure are on one scale, symmetrical about zero."""
    reach: dict[Measure, float] = {}
    for one in changes:
        ends = [abs(value) for value in (one.difference, *one.interval) if math.isfinite(value)]
        reach[one.measure] = max([reach.get(one.measure, 0.0), *ends])
    found: list[Drawing | None] = []
    for one in changes:
        full = reach[one.measure]
        if not full or not all(map(math.isfinite, (one.difference, *one.interval))):
            found.append(None)
            continue
        places = [round(50 + 46 * value / full, 1) for value in (one.difference, *one.interval)]
        found.append(Drawing(50.0, *places))
    return found


def player(clip: Clip, run: Run, title: str, there: bool) -> Player:
    """`there`: its sound could be had."""
    empty = clip.values.get("empty") == 1
    wer, similarity, seconds = (clip.values.get(key) for key in ("wer", "similarity", "seconds"))
    numbers = [
        "" if wer is None else f"WER {percent(wer)}",
        "" if similarity is None else f"SIM {similarity:.2f}",
        "" if seconds is None else f"{seconds:.1f} s",
    ]
    take = "" if clip.seed is None else f", seed {clip.seed}"
    badges = clip.failures.split() or [
        *(["empty"] if empty else []),
        *(["no_stop"] if clip.values.get("stopped") == 0 else []),
    ]
    return Player(
        label=f"{run.name}, {title}{take}: {clip.text}",
        file=_place(run, clip) if there else None,
        why="" if there else "no sound in it" if empty else "not here",
        numbers=" · ".join(filter(None, numbers)),
        badges=tuple(badge.replace("_", " ") for badge in badges),
        heard=clip.heard,
    )


def sentences(a: Run, b: Run, folder: Path) -> list[Sentence]:
    """The texts that both runs have, with every condition and seed that either has; sounds: those below `folder`."""
    titles = {condition.name: condition.title for condition in CONDITIONS}
    order = list(titles)
    found = []
    for both in common(a, b):
        takes = sorted(
            {take for take in {**both[0], **both[1]} if take[0] in titles},
            key=lambda take: (order.index(take[0]), take[1] is not None, take[1]),
        )
        pairs = []
        for take in takes:
            title = titles[take[0]]
            clips = [side.get(take) for side in both]
            players = tuple(
                None if clip is None else player(clip, run, title, (folder / _place(run, clip)).is_file())
                for clip, run in zip(clips, (a, b), strict=True)
            )
            errors = [None if clip is None else clip.values.get("wer") for clip in clips]
            worse = 0.0 if None in errors else errors[1] - errors[0]
            pairs.append(Pair(title, *take, players, worse))
        found.append(Sentence(next(iter({**both[0], **both[1]}.values())).text, tuple(pairs)))
    return found


def _place(run: Run, clip: Clip) -> str:
    return f"{run.name.lower()}/{clip.sound}"


def fetch_sounds(a: Run, b: Run, folder: Path) -> list[str]:
    """Put the sounds of the texts that both runs have into `folder`/a and `folder`/b; return what is missing."""
    notes = []
    for side, run in enumerate((a, b)):
        clips = [clip for both in common(a, b) for clip in both[side].values() if clip.values.get("empty") != 1]
        if run.has_sounds and clips:
            names = [clip.sound for clip in clips]
            if missing := fetch(run.revision, names, folder / run.name.lower()):
                notes.append(f"{run.name}: {missing}.")
    return notes


def render(content: Comparison, lines: Sequence[Sentence], notes: Sequence[str]) -> str:
    """The page's HTML; see compare.html.j2."""
    style, own, early, script = (
        Markup(path.read_text(encoding="utf-8"))
        for path in (LISTEN / "listen.css", HERE / "compare.css", LISTEN / "theme.js", HERE / "compare.js")
    )
    present = {pair.condition for line in lines for pair in line.pairs}
    return ENVIRONMENT.get_template("compare.html.j2").render(
        style=style + own,
        early=early,
        script=script,
        notes=notes,
        compared=content,
        changes=list(zip(content.changes, drawings(content.changes), strict=True)),
        titles={condition.name: condition.title for condition in CONDITIONS},
        spoken=[condition for condition in CONDITIONS if condition.name in present],
        lines=lines,
    )


def write_page(content: Comparison, folder: Path = FOLDER) -> list[str]:
    """Write `folder`/index.html and the sounds beside it, whole or not at all; return notes on missing sounds."""
    with replacing_folder(folder) as temporary:
        missing = fetch_sounds(content.a, content.b, temporary)
        lines = sentences(content.a, content.b, temporary)
        page = render(content, lines, [*content.notes, *missing])
        (temporary / "index.html").write_text(page, encoding="utf-8")
    return missing
