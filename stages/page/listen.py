"""The listening page: a folder with an HTML file and sounds that needs no network and no server."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.audio.mp3 import write_mp3
from stages.files.atomic import replacing_folder
from stages.files.rows import Row
from stages.page.figures import FIGURES, clock, percent
from stages.page.growth import DRAWING, copy_sounds, timeline
from stages.scoring.conditions import CONDITIONS, Condition
from stages.scoring.growth import read_growth
from stages.scoring.score import Score
from stages.scoring.sentences import Sentence
from stages.scoring.settings import EvaluateSettings
from stages.scoring.speak import Utterance

HERE = Path(__file__).parent
SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Player:
    """One clip on the page; `file` is None when it has no sound."""

    file: str | None
    label: str
    seed: int | None
    wer: str
    similarity: str | None
    heard: str
    badges: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One sentence: its text, where it is in its recording, and a cell of players for each condition."""

    text: str
    place: str
    cells: tuple[tuple[Player, ...], ...]


def environment() -> Environment:
    """Everything that is put into the page is escaped; a name that the template misspells is an error."""
    found = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters["percent"] = percent
    return found


def sound_file(folder: str, row: Row, seed: int | None = None) -> str:
    """`audio/<folder>/<row id>[-<seed>].mp3`, relative to the page."""
    if not SAFE_NAME.fullmatch(row.id):
        raise ValueError(f"row id {row.id!r} cannot be a file name")
    return f"audio/{folder}/{row.id}{'' if seed is None else f'-{seed}'}.mp3"


def place_of(row: Row) -> str:
    return f"{row.recording}, {clock(row.start)}–{clock(row.end)}"


def player(score: Score, condition: Condition, row: Row) -> Player:
    badges = ["no sound"] if score.empty else []
    if score.stopped is False:
        badges.append("did not stop")
    take = "" if score.seed is None else f", seed {score.seed}"
    return Player(
        file=None if score.empty else sound_file(condition.name, row, score.seed),
        label=f"{condition.title}{take}: {row.text}",
        seed=score.seed,
        wer=percent(score.wer),
        similarity=None if score.similarity is None else f"{score.similarity:.2f}",
        heard=score.heard,
        badges=tuple(badges),
    )


def lines(scores: Sequence[Score], rows: Mapping[str, Row]) -> list[Line]:
    """One line per sentence, in the order of the recordings; one cell per condition, one player per seed."""
    found: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        found.setdefault((score.row, score.condition), []).append(score)
    return [
        Line(
            row.text,
            place_of(row),
            tuple(
                tuple(player(score, condition, row) for score in found.get((row.id, condition.name), ()))
                for condition in CONDITIONS
            ),
        )
        for row in sorted(rows.values())
    ]


def write_sounds(folder: Path, utterances: Sequence[Utterance], scores: Sequence[Score]) -> None:
    """The sound of every clip that has one."""
    silent = {(score.condition, score.row, score.seed) for score in scores if score.empty}
    for utterance in utterances:
        row = utterance.sentence.row
        if (utterance.condition, row.id, utterance.seed) not in silent:
            write_mp3(folder / sound_file(utterance.condition, row, utterance.seed), utterance.load())


def render(**content) -> str:
    """The page's HTML; see listen.html.j2 for the names it needs."""
    template = environment().get_template("listen.html.j2")
    style, more, script = (
        Markup((HERE / name).read_text(encoding="utf-8")) for name in ("listen.css", "growth.css", "listen.js")
    )
    return template.render(
        style=style + more, script=script, figures=FIGURES, conditions=CONDITIONS, drawing=DRAWING, **content
    )


def write_page(
    folder: str | Path,
    summary: Mapping[str, Mapping[str, float | int | None]],
    scores: Sequence[Score],
    utterances: Sequence[Utterance],
    contexts: Mapping[int, Sequence[Sentence]],
    engines: Mapping[str, str],
    settings: EvaluateSettings,
    warnings: Sequence[str],
    speaks: bool | None,
    growth: str | Path,
) -> None:
    """Write `folder`/index.html and `folder`/audio, whole or not at all. `growth`: the folder reports/growth."""
    grown = timeline(read_growth(growth))
    rows = {utterance.sentence.row.id: utterance.sentence.row for utterance in utterances}
    heard_first = [sentence for source in sorted(contexts) for sentence in contexts[source]]
    with replacing_folder(folder) as temporary:
        write_sounds(temporary, utterances, scores)
        for sentence in heard_first:
            write_mp3(temporary / sound_file("context", sentence.row), sentence.recording())
        if grown:
            copy_sounds(grown, growth, temporary)
        page = render(
            summary=summary,
            lines=lines(scores, rows),
            context=[
                {"text": one.row.text, "place": place_of(one.row), "file": sound_file("context", one.row)}
                for one in heard_first
            ],
            engines=engines,
            settings=settings,
            warnings=warnings,
            speaks=speaks,
            growth=grown,
        )
        (temporary / "index.html").write_text(page, encoding="utf-8")
