"""A small listening page for the tests: two sentences with clips of many kinds, and what it says of them."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np

from stages.csm.turns import Turn
from stages.files.atomic import write_json
from stages.files.rows import Row
from stages.page.listen import write_page
from stages.scoring.conditions import CONDITIONS
from stages.scoring.listen import Heard
from stages.scoring.score import Score, as_table
from stages.scoring.sentences import Sentence
from stages.scoring.settings import EvaluateSettings
from stages.scoring.speak import Utterance
from stages.scoring.summary import comparisons, summarise

HOSTILE = '</q><script>document.title="owned"</script> "it\'s" & <img src=x onerror=alert(1)>'
QUIET = "A quiet line."
ENGINES = {"recogniser": "parrot 1", "speaker": "ear 2", "normaliser": "none"}
SECONDS = 5.0
REFERENCES = {
    "same_speaker": {"similarity": 0.95, "clips": 2},
    "other_speaker": {"similarity": 0.5, "voices": 20, "threshold": 0.7, "eer": 0.02},
}
DATA = {
    "rows": {"train": 8, "validation": 1, "test": 2, "total": 11},
    "seconds": {"train": 40.0, "validation": 5.0, "test": 10.0, "kept": 55.0, "dropped": 8.0},
    "dropped": {
        "pause": {"pieces": 0, "seconds": 5.0},
        "text_leak": {"pieces": 1, "seconds": 3.0},
        "too_long": {"pieces": 0, "seconds": 0.0},
    },
    "by_recording": {
        "talk": {"seconds": 63.0, "train": 40.0, "validation": 5.0, "test": 10.0, "pause": 5.0, "text_leak": 3.0}
    },
}
CORRECTIONS = {"rules": {"<b>gr[oa]y": {"talk": 3, "total": 3}}, "total": 3, "never_fired": ["tea <i>"]}


def tone(seconds=SECONDS):
    return (0.2 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * 24_000)) / 24_000)).astype(np.float32)


class Spoken(Sentence):
    def recording(self):
        return tone()


def sentence(number, text, recording="talk"):
    row = Row(recording, 3590.0 + 8 * number, 3595.0 + 8 * number, text, 0, "test")
    return Spoken(row, Turn([1], np.zeros((1, 2))), b"")


def score(condition, row, seed=None, heard=None, **changes):
    """A score of a clip in which all was well, or what `changes` say."""
    empty = changes.get("empty", False)
    counts = {"words": 4, "word_errors": 4 * empty, "substitutions": 0, "deletions": 4 * empty, "insertions": 0}
    letters = {"characters": 20, "character_errors": 20 * empty, "wer": float(empty), "cer": float(empty)}
    sound = {"seconds": SECONDS, "duration_ratio": 1.0, "longest_pause": 0.2, "trailing_silence": 0.1, "empty": empty}
    measured = {"pitch_hz": 200.0, "pitch_spread_st": 2.0, "pace": 4.0, "pause_share": 0.1, "loudness_lufs": -23.0}
    voice = {"similarity": 0.91, "similarity_prompt": 0.9, "quality": 3.2}
    unmeasured = dict.fromkeys([*measured, *voice]) if empty else measured | voice
    said = "" if empty else row.text if heard is None else heard
    words = {"wer_seed_tts": float(empty), "wer_second": None, "heard_second": None, "text": row.text, "heard": said}
    named = {"condition": condition, "row": row.id, "seed": seed, "stopped": None if seed is None else True}
    failures = {"failures": "empty wer_gt_50" if empty else ""}
    return Score(**named | counts | letters | sound | unmeasured | words | failures | changes)


def clips(sentences, seeds):
    """The base's first clip is empty, its second did not stop and says other words; all else is well."""
    scores = []
    for one in sentences:
        for condition in CONDITIONS:
            for seed in seeds if condition.generated else (None,):
                changes = {}
                if condition.name == "zero_shot" and one is sentences[0] and seed == seeds[0]:
                    changes = {"empty": True}
                elif condition.name == "zero_shot" and one is sentences[-1] and seed == seeds[-1]:
                    changes = {"heard": "A quick lion roars.", "stopped": False, "failures": "no_stop"}
                scores.append((one, score(condition.name, one.row, seed, **changes)))
    return scores


def write(
    folder, texts=(HOSTILE, QUIET), seeds=(0, 1), warnings=(), speaks=True, heards=True, growth=None, **more
):  # fmt: skip
    """Write a page about `texts`; `more` goes to write_page as it is."""
    sentences = [sentence(number, text) for number, text in enumerate(texts)]
    scored = clips(sentences, seeds)
    utterances = [Utterance(one.condition, said, tone, one.seed) for said, one in scored]
    scores = [one for _, one in scored]
    settings = EvaluateSettings.model_construct(
        max_texts=2, seeds=list(seeds), temperature=0.9, top_k=50, max_seconds=8.0, language="en"
    )
    table = as_table(scores)
    if growth is None:
        growth = folder.parent / "growth"
        write_json(growth / "growth.json", {"criterion": "last", "chosen": 1, "texts": {}, "stages": []})
    track = [200.0 + (number % 50) for number in range(round(50 * SECONDS))]
    listened = [Heard(one.seconds, one.empty, one.heard, pitch_track=[] if one.empty else track) for one in scores]
    content = {"differences": comparisons(table, 100), "verdict": ["Tuning helps <b>."], "data": DATA} | {
        "corrections": CORRECTIONS,
        "origins": {"talk": {"source": "data/recordings/talk.ogg", "start": None}},
        "heards": listened if heards else (),
    }
    write_page(
        folder, summarise(table, REFERENCES, 100), scores, utterances, {0: sentences[1:]}, ENGINES, settings, warnings,
        speaks, growth, **content | more,
    )  # fmt: skip
    return folder


class Elements(HTMLParser):
    """Every element with its attributes, and the page's text without styles and scripts."""

    def __init__(self, html):
        super().__init__()
        self.found, self.words, self.skipped = [], [], False
        self.feed(html)
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.skipped = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.skipped = False

    def handle_data(self, data):
        if not self.skipped:
            self.words.append(data)

    def all(self, tag, *classes):
        """The attributes of the elements of this name that have all these classes."""
        found = (attributes for name, attributes in self.found if name == tag)
        return [one for one in found if set(classes) <= set((one.get("class") or "").split())]

    @property
    def players(self):
        return [button for button in self.all("button", "play") if "data-src" in button]


def read(folder):
    return Elements((folder / "index.html").read_text(encoding="utf-8"))


def parts_of_page(**content):
    """What render() wants, for a page of nothing."""
    settings = SimpleNamespace(seeds=[0], temperature=0.9, top_k=50, max_seconds=1.0)
    summary = {condition.name: {} for condition in CONDITIONS}
    empty = {"lines": [], "context": [], "warnings": [], "speaks": None, "summary": summary, "settings": settings}
    return empty | {"engines": ENGINES} | content
