"""Measure the voice: four conditions beside the recordings and their codec round trip, on held-out sentences.

    python -m stages.evaluate

Reads data/rows, data/codes, data/codec, models/merged, reports/growth and the base; writes reports/metrics.json,
reports/clips.csv and the listening page reports/listen. A killed run goes on where it stopped.
"""

from stages.process.stage import run, work_folder  # isort: skip  (fixes the threads before torch is imported)

import gc
import sys
from collections.abc import Callable, Mapping, Sequence

import torch
from tqdm import tqdm

from stages.csm.base import BaseSettings, load_base, load_csm, resolved
from stages.csm.device import torch_device
from stages.files.atomic import write_json, write_text
from stages.files.settings import read_settings
from stages.page.listen import write_page
from stages.scoring.conditions import CONDITIONS
from stages.scoring.judge import base_speaks, doubts
from stages.scoring.listen import Listener
from stages.scoring.score import HeldOutVoices, Score, as_csv, as_metrics, as_table, score, summarise
from stages.scoring.sentences import Sentence, choose_context, read_sentences, spread
from stages.scoring.settings import EvaluateSettings
from stages.scoring.speak import Utterance, check_tuning_has_effect, recorded, speak
from stages.scoring.speaker import SpeakerEncoder
from stages.scoring.store import Store
from stages.scoring.words import Normaliser
from stages.speech.recognise import make_recogniser, public_name

METRICS, CLIPS, PAGE, GROWTH = "reports/metrics.json", "reports/clips.csv", "reports/listen", "reports/growth"


def speak_all(
    loaders: Mapping[str, Callable],
    sentences: Sequence[Sentence],
    contexts: Mapping[int, Sequence[Sentence]],
    settings: EvaluateSettings,
    store: Store,
) -> list[Utterance]:
    """The references and every generated condition; one model in memory at a time."""
    spoken = recorded(sentences)
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


def score_all(
    utterances: Sequence[Utterance], held_out: Sequence[Sentence], listener: Listener, normalise: Normaliser
) -> list[Score]:
    """A score for every clip, sorted by condition, row and seed. All of `held_out` is the reference of similarity."""
    recordings = [
        (sentence.row, listener.listen(sentence.recording()))
        for sentence in tqdm(held_out, desc="held-out voice", unit="clip")
    ]
    voices = HeldOutVoices(recordings)
    place = {condition.name: number for number, condition in enumerate(CONDITIONS)}
    ordered = sorted(utterances, key=lambda one: (place[one.condition], one.sentence.row, one.seed or 0))
    return [
        score(utterance, listener.listen(utterance.load()), voices, normalise)
        for utterance in tqdm(ordered, desc="score", unit="clip")
    ]


def main() -> None:
    settings = read_settings(EvaluateSettings, "evaluate")
    base = resolved(read_settings(BaseSettings, "base"))
    device = torch_device(settings.device)
    held_out, train = read_sentences("test"), read_sentences("train")
    sentences = spread(held_out, settings.max_texts)
    contexts = {
        source: choose_context(train, source, settings.context_seconds)
        for source in sorted({sentence.row.source for sentence in sentences})
    }
    store = Store(work_folder() / "evaluate")
    recogniser = make_recogniser(settings.engine, settings.model, settings.language, words=False)
    name = f"{settings.engine} {recogniser.engine.version} {public_name(settings.model)} ({settings.language})"
    encoder, normalise = SpeakerEncoder.load(), Normaliser(settings.language)
    listener = Listener(recogniser, name, encoder, store)  # before the long part: what is missing shows at once
    loaders = {
        "base": lambda: load_base(base, device=device),
        "merged": lambda: load_csm("models/merged", device=device),
    }
    utterances = speak_all(loaders, sentences, contexts, settings, store)
    check_tuning_has_effect(utterances)
    scores = score_all(utterances, held_out, listener, normalise)
    table = as_table(scores)
    summary = summarise(table)
    engines = {"recogniser": name, "speaker": encoder.name, "normaliser": normalise.name}
    warnings, speaks = doubts(summary), base_speaks(summary)

    write_page(PAGE, summary, scores, utterances, contexts, engines, settings, warnings, speaks, GROWTH)
    write_text(CLIPS, as_csv(table))
    verdict = {"evaluator_sound": not warnings} | ({} if speaks is None else {"base_speaks": speaks})
    write_json(METRICS, as_metrics(summary) | verdict | {"engines": engines})
    store.forget_others()
    for warning in warnings:
        print(f"evaluate: warning: {warning}", file=sys.stderr)
    print(f"evaluate: {len(scores)} clips measured; listen: {PAGE}/index.html")


if __name__ == "__main__":
    run(main, "evaluate")
