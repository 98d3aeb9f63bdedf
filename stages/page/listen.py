"""The listening page: a folder with an HTML file and sounds that needs no network and no server."""

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from tqdm import tqdm

from stages.audio.mp3 import write_mp3
from stages.files.atomic import replacing_folder
from stages.files.rows import Row
from stages.page import charts, figures, pictures
from stages.page.blind import pairs as blind_pairs
from stages.page.clips import CLIP, clip_of, lines
from stages.page.growth import DRAWING, copy_sounds, timeline
from stages.page.marks import Marker
from stages.page.sources import material, place_of
from stages.scoring.conditions import BEFORE_AFTER, CONDITIONS
from stages.scoring.growth import read_growth
from stages.scoring.listen import Heard
from stages.scoring.score import Score
from stages.scoring.sentences import Sentence
from stages.scoring.settings import EvaluateSettings
from stages.scoring.speak import Utterance
from stages.scoring.words import Normaliser

if TYPE_CHECKING:
    from stages.scoring.summary import Comparison

HERE = Path(__file__).parent
SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+")
STYLES = ("listen.css", "summary.css", "sentences.css", "dock.css", "growth.css", "data.css", "blind.css")
SCRIPTS = ("listen.js", "keys.js", "search.js", "blind.js")
EARLY = "theme.js"  # runs before anything is drawn


def environment() -> Environment:
    """Everything that is put into the page is escaped; a name that a template misspells is an error."""
    found = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters |= {"percent": figures.percent, "duration": figures.duration, "share": charts.share}
    found.globals["picture_size"] = pictures.DRAWING
    found.globals["clips"] = found.get_template("clip.html.j2").module
    return found


def sound_file(folder: str, row: Row, seed: int | None = None) -> str:
    """`audio/<folder>/<row id>[-<seed>].mp3`, relative to the page."""
    if not SAFE_NAME.fullmatch(row.id):
        raise ValueError(f"row id {row.id!r} cannot be a file name")
    return f"audio/{folder}/{row.id}{'' if seed is None else f'-{seed}'}.mp3"


def write_sounds(
    folder: Path, utterances: Sequence[Utterance], files: Mapping[CLIP, str], heards: Mapping[CLIP, Heard]
) -> dict[CLIP, pictures.Picture]:
    """Write the sound of every clip of `files`; return the pictures. Each clip is read once."""
    limits = pictures.pitch_range(heard.pitch_track for heard in heards.values())

    def write(utterance: Utterance) -> tuple[CLIP, pictures.Picture] | None:
        clip = (utterance.condition, utterance.sentence.row.id, utterance.seed)
        if clip not in files:
            return None
        samples = utterance.load()
        write_mp3(folder / files[clip], samples)
        track = heards[clip].pitch_track if clip in heards else ()
        return clip, pictures.Picture(pictures.wave(samples), pictures.pitch(track, limits))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the encoder lets other threads run
        drawn = tqdm(pool.map(write, utterances), total=len(utterances), desc="page", unit="clip")
        return dict(one for one in drawn if one)


def write_context(folder: Path, sentences: Sequence[Sentence], origins: Mapping[str, Mapping]) -> list[dict]:
    """What the cloned conditions hear first: its sounds, and what the page says of them."""
    shown = []
    for sentence in sentences:
        samples, file = sentence.recording(), sound_file("context", sentence.row)
        write_mp3(folder / file, samples)
        picture = pictures.Picture(pictures.wave(samples))
        place = place_of(sentence.row, origins)
        shown.append({"text": sentence.row.text, "place": place, "file": file, "picture": picture})
    return shown


def read_all(names: Sequence[str]) -> Markup:
    return Markup("\n".join((HERE / name).read_text(encoding="utf-8") for name in names))


def render(summary: charts.Summary, differences: Sequence["Comparison"] = (), **content) -> str:
    """The page's HTML. `content`: lines, context, engines, settings, warnings, speaks, and if there is any of them
    verdict, limits, growth, material and blind.
    """
    happened, never = charts.failures(summary)
    has_pitch = any(
        one.picture and one.picture.pitch for line in content["lines"] for cell in line.cells for one in cell
    )
    optional = {"verdict": (), "limits": "", "growth": None, "material": None, "blind": None}
    return (
        environment()
        .get_template("listen.html.j2")
        .render(
            style=read_all(STYLES),
            script=read_all(SCRIPTS),
            early=read_all((EARLY,)),
            conditions=CONDITIONS,
            before_after=BEFORE_AFTER,
            drawing=DRAWING,
            kinds=figures.KINDS,
            all_figures=figures.ALL_FIGURES,
            summary=summary,
            charts=charts.charts(summary),
            happened=happened,
            never=never,
            pairs=charts.pairs(differences),
            has_pitch=has_pitch,
            **optional | content,
        )
    )


def write_page(
    folder: str | Path,
    summary: charts.Summary,
    scores: Sequence[Score],
    utterances: Sequence[Utterance],
    contexts: Mapping[int, Sequence[Sentence]],
    engines: Mapping[str, str],
    settings: EvaluateSettings,
    warnings: Sequence[str],
    speaks: bool | None,
    growth: str | Path,
    *,
    heards: Sequence[Heard] = (),
    differences: Sequence["Comparison"] = (),
    verdict: Sequence[str] = (),
    data: Mapping | None = None,
    corrections: Mapping | None = None,
    origins: Mapping[str, Mapping] | None = None,
    limits: str = "",
) -> None:
    """Write `folder`/index.html and `folder`/audio, whole or not at all.

    growth: the folder reports/growth; heards: what was heard of each of `scores`, in their order; data, corrections:
    reports/data.json and reports/corrections.json; origins: data/fetched/<key>.json by key; limits: what the base
    says of itself.
    """
    grown, origins = timeline(read_growth(growth)), origins or {}
    rows = {utterance.sentence.row.id: utterance.sentence.row for utterance in utterances}
    files = {
        clip_of(score): sound_file(score.condition, rows[score.row], score.seed) for score in scores if not score.empty
    }
    heard = {clip_of(score): one for score, one in zip(scores, heards, strict=True)} if heards else {}
    with replacing_folder(folder) as temporary:
        drawn = write_sounds(temporary, utterances, files, heard)
        heard_first = [sentence for source in sorted(contexts) for sentence in contexts[source]]
        if grown:
            copy_sounds(grown, growth, temporary)
        page = render(
            summary,
            differences,
            lines=lines(scores, rows, origins, files, drawn, Marker(Normaliser(settings.language))),
            context=write_context(temporary, heard_first, origins),
            engines=engines,
            settings=settings,
            warnings=warnings,
            speaks=speaks,
            growth=grown,
            verdict=verdict,
            limits=limits,
            material=material(data or {}, corrections or {}, origins),
            blind=blind_pairs(scores, {name: row.source for name, row in rows.items()}),
        )
        (temporary / "index.html").write_text(page, encoding="utf-8")
