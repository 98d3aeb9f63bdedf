"""From scores to what the page shows: one line per sentence, one cell per condition, one player per seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.files.rows import Row
from stages.page.figures import MORE_OF_CLIP, OF_CLIP, Failure, Figure, kinds
from stages.page.marks import Marker, Transcript
from stages.page.pictures import Picture
from stages.page.sources import Place, place_of
from stages.scoring.conditions import CONDITIONS, Condition
from stages.scoring.score import Score
from stages.scoring.texts import is_text

CLIP = tuple[str, str, int | None]  # condition, row id, seed


@dataclass(frozen=True)
class Number:
    short: str
    meaning: str
    value: str


@dataclass(frozen=True)
class Player:
    """One clip on the page; `file` is None when it has no sound."""

    file: str | None
    label: str
    seed: int | None
    numbers: tuple[Number, ...]
    more: tuple[Number, ...]
    transcript: Transcript
    badges: tuple[Failure, ...]
    picture: Picture | None


@dataclass(frozen=True)
class Line:
    """One sentence: its text, where it is in its recording, and a cell of players for each condition."""

    text: str
    place: Place
    recorded: bool  # not so for a text of a list, which nobody has read aloud
    cells: tuple[tuple[Player, ...], ...]


def clip_of(score: Score) -> CLIP:
    return score.condition, score.row, score.seed


def numbers(score: Score, figures: Sequence[Figure]) -> tuple[Number, ...]:
    """Those figures of a clip that could be measured."""
    found = ((figure, getattr(score, figure.key)) for figure in figures)
    return tuple(
        Number(figure.short, figure.meaning, figure.write(value)) for figure, value in found if value is not None
    )


def player(
    score: Score, condition: Condition, text: str, file: str | None, marker: Marker, picture: Picture | None
) -> Player:
    take = "" if score.seed is None else f", seed {score.seed}"
    return Player(
        file=file,
        label=f"{condition.title}{take}: {text}",
        seed=score.seed,
        numbers=numbers(score, OF_CLIP),
        more=numbers(score, MORE_OF_CLIP),
        transcript=marker(text, score.heard),
        badges=kinds(score.failures),
        picture=picture,
    )


def lines(
    scores: Sequence[Score],
    rows: Mapping[str, Row],
    origins: Mapping[str, Mapping],
    files: Mapping[CLIP, str],
    pictures: Mapping[CLIP, Picture],
    marker: Marker,
) -> list[Line]:
    """In the order of the recordings, then the texts without one. `files` names the clips that have a sound."""
    found: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        found.setdefault((score.row, score.condition), []).append(score)

    def cell(row: Row, condition: Condition) -> tuple[Player, ...]:
        return tuple(
            player(score, condition, row.text, files.get(clip), marker, pictures.get(clip))
            for score in found.get((row.id, condition.name), ())
            for clip in [clip_of(score)]
        )

    return [
        Line(
            row.text, place_of(row, origins), not is_text(row), tuple(cell(row, condition) for condition in CONDITIONS)
        )
        for row in sorted(rows.values(), key=lambda row: (is_text(row), row))
    ]
