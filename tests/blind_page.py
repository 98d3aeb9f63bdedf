"""A page that holds the blind test alone, and the scores and sounds that it is about."""

from dataclasses import fields
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.audio.mp3 import write_mp3
from stages.files.rows import Row
from stages.page.blind import pairs
from stages.page.listen import sound_file
from stages.scoring.score import Score

PAGE = Path(__file__).parents[1] / "stages" / "page"
ENVIRONMENT = Environment(
    loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
TEMPLATE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Test</title>
<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width, initial-scale=1">
<style>{{ style }}</style><script>{{ before }}</script></head>
<body><main><audio id="other" controls src="other.mp3"></audio>{% include "blind.html.j2" %}</main>
<aside class="dock">Player</aside>
<script>{{ script }}</script></body></html>"""


def row(number, recording="talk"):
    return Row(recording, 5.0 * number, 5.0 * number + 1, f"Sentence {number}, said aloud.")


def score(condition, one, seed, empty=False, loudness=-20.0, text=None):
    """A score of which only what this page reads matters."""
    figures = {field.name: 0 for field in fields(Score)}
    named = {"condition": condition, "row": one.id, "seed": seed, "empty": empty, "text": text or one.text}
    words = {name: "" for name in ("heard", "heard_second", "failures") if name in figures}
    return Score(**{**figures, **words, **named, "seconds": 0.6, "loudness_lufs": loudness, "stopped": True})


def scored(count=3, seeds=(0,), conditions=("gt", "zero_shot", "ft"), empty=(), texts=None):
    """Scores of `count` texts; `empty`: (condition, number of the text)."""
    return [
        score(name, row(number), seed, (name, number) in empty, text=(texts or {}).get(number))
        for name in conditions
        for number in range(count)
        for seed in (seeds if not name.startswith("gt") else (None,))
    ]


def write_page(folder, scores, sounds=True, speakers=None, before=""):
    """The URL of a page with the test and one player of the rest of the page; `before`: a script that runs first."""
    style = "".join((PAGE / name).read_text(encoding="utf-8") for name in ("listen.css", "blind.css"))
    script = (PAGE / "blind.js").read_text(encoding="utf-8")
    plain = {name: Markup(value) for name, value in {"style": style, "script": script, "before": before}.items()}
    html = ENVIRONMENT.from_string(TEMPLATE).render(blind=pairs(scores, speakers), **plain)
    folder.mkdir()
    (folder / "index.html").write_text(html, encoding="utf-8")
    sound = (0.2 * np.sin(2 * np.pi * 220 * np.arange(14_400) / 24_000)).astype(np.float32)
    write_mp3(folder / "other.mp3", np.tile(sound, 5))
    rows = {row(number).id: row(number) for number in range(100)}
    for one in scores if sounds else ():
        if not one.empty:
            write_mp3(folder / sound_file(one.condition, rows[one.row], one.seed), sound)
    return (folder / "index.html").as_uri()
