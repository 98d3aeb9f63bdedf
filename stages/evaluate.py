"""Measure the voice: four conditions beside the recordings and their codec round trip, on texts it never trained on.

    python -m stages.evaluate

Reads data/rows, data/codes, data/codec, data/texts, models/merged, the base and the reports of the stages before;
writes reports/metrics.json, reports/clips.csv and the listening page reports/listen. A killed run goes on where it
stopped.
"""

from stages.process.stage import run, work_folder  # isort: skip  (fixes the threads before torch is imported)

import gc
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from stages.csm.base import BaseSettings, load_base, load_csm, load_processor, resolved
from stages.csm.device import torch_device
from stages.csm.turns import text_ids
from stages.files.atomic import write_json, write_text
from stages.files.settings import read_settings
from stages.page.listen import write_page
from stages.process.problem import Problem
from stages.scoring.conditions import CONDITIONS
from stages.scoring.judge import base_speaks, doubts, limits, verdict
from stages.scoring.measure import learnt_by_heart, measure, open_listener
from stages.scoring.score import as_csv, as_table
from stages.scoring.sentences import Sentence, choose_context, read_sentences, spread
from stages.scoring.settings import EvaluateSettings
from stages.scoring.speak import Utterance, check_tuning_has_effect, recorded, speak
from stages.scoring.store import Store
from stages.scoring.summary import as_metrics, comparisons, summarise
from stages.scoring.texts import listed_sentences

METRICS, CLIPS, PAGE = "reports/metrics.json", "reports/clips.csv", "reports/listen"
LIMITS = "limits.txt"  # in a base's folder: what it can and cannot do, for the page
DATA, CORRECTIONS, MERGE, GROWTH = (
    f"reports/{name}" for name in ("data.json", "corrections.json", "merge.json", "growth")
)


def read_report(path: str | Path) -> dict:
    """A report of an earlier stage."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem(f"{path}: no such file; run `dvc repro` from the start (or `dvc pull`) first") from None


def read_limits(base: BaseSettings) -> str:
    """What a base in a folder says of itself; nothing of one from the hub."""
    path = Path(base.path) / LIMITS
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def choose_sentences(
    held_out: Sequence[Sentence], train: Sequence[Sentence], base: BaseSettings, settings: EvaluateSettings
) -> list[Sentence]:
    """Held-out rows, and texts of lists up to max_texts; each spread evenly over what there is."""
    chosen = spread(held_out, settings.max_texts)
    missing = settings.max_texts - len(chosen)
    if not settings.texts or not missing:
        return chosen
    processor = load_processor(base.location, base.revision)
    listed = listed_sentences(
        settings.texts, train, lambda text, source: text_ids(processor, text, source), train[0].turn.codes.shape[1]
    )
    return chosen + spread(listed, missing)


def speak_all(
    loaders: Mapping[str, Callable],
    sentences: Sequence[Sentence],
    contexts: Mapping[int, Sequence[Sentence]],
    settings: EvaluateSettings,
    store: Store,
) -> list[Utterance]:
    """The references and every generated condition; one model in memory at a time."""
    spoken = recorded([sentence for sentence in sentences if sentence.flac is not None])
    for name, load in loaders.items():
        model = load()
        for condition in CONDITIONS:
            if condition.model == name:
                spoken += speak(model, condition, sentences, contexts, settings, store)
        del model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return spoken


def main() -> None:
    settings = read_settings(EvaluateSettings, "evaluate")
    base = resolved(read_settings(BaseSettings, "base"))
    device = torch_device(settings.device)
    data, corrections, merge = (read_report(path) for path in (DATA, CORRECTIONS, MERGE))
    held_out, train = read_sentences("test"), read_sentences("train")
    sentences = choose_sentences(held_out, train, base, settings)
    contexts = {
        source: choose_context(train, source, settings.context_seconds)
        for source in sorted({sentence.row.source for sentence in sentences})
    }
    store = Store(work_folder() / "evaluate")
    listener, engines = open_listener(settings, store)  # before the long part: what is missing shows at once
    loaders = {
        "base": lambda: load_base(base, device=device),
        "merged": lambda: load_csm("models/merged", device=device),
    }
    utterances = speak_all(loaders, sentences, contexts, settings, store)
    check_tuning_has_effect(utterances)
    measured = measure(utterances, held_out, contexts, listener, settings)
    table = as_table(measured.scores)
    summary = summarise(table, measured.references, settings.resamples, measured.limits.unjudged)
    compared = comparisons(table, settings.resamples)
    warnings, speaks = doubts(summary, merge), base_speaks(summary)

    write_page(
        PAGE,
        summary,
        measured.scores,
        utterances,
        contexts,
        engines,
        settings,
        warnings,
        speaks,
        GROWTH,
        heards=measured.heards,
        differences=compared,
        verdict=[*verdict(summary, compared), *limits(summary, compared)],
        data=data,
        corrections=corrections,
        limits=read_limits(base),
        origins={path.stem: read_report(path) for path in sorted(Path("data/fetched").glob("*.json"))},
    )
    write_text(CLIPS, as_csv(table))
    checks = {"evaluator_sound": not warnings} | ({} if speaks is None else {"base_speaks": speaks})
    found = {"engines": engines, "overlap": learnt_by_heart(utterances, sentences, train)}
    write_json(METRICS, as_metrics(summary, compared) | checks | found)
    store.forget_others()
    for warning in warnings:
        print(f"evaluate: warning: {warning}", file=sys.stderr)
    print(f"evaluate: {len(measured.scores)} clips measured; listen: {PAGE}/index.html")


if __name__ == "__main__":
    run(main, "evaluate")
