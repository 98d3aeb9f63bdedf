"""The README.md of what goes to the hub: whose voice it is and by what right, what was measured, how to load it.

A card is written from the records of fetch, dvc.lock, the parameters and the reports of one run. It is checked against
what huggingface_hub knows of a card's schema here, and by the hub itself before it is pushed.
"""

import json
from collections.abc import Mapping

from huggingface_hub import DatasetCard, DatasetCardData, ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results
from yaml import YAMLError

from stages.process.problem import Problem
from tools.carding import loading, results
from tools.carding.facts import Facts, plain, read_facts

MODEL_LICENCES = {"sesame/csm-1b": "Apache-2.0", "unsloth/csm-1b": "Apache-2.0"}
RIGHTS = "own-voice: the speaker published it; licence, consent: as the evidence says."
INTENDED = (
    "Speech in this one voice within the rights above: reading texts aloud, prototypes, research on speech synthesis "
    "and on how to detect it."
)
PROHIBITED = (
    "Do not use it to pass as the speaker, to mislead or defraud, to get past voice identification, to put words into "
    "the speaker's mouth that they would not say, or for anything unlawful. Say that the speech is synthetic wherever "
    "it is heard. Whoever holds the rights can withdraw them; then stop."
)
LIMITS = (
    "One speaker, one language and the style of the recordings; elsewhere expect worse than the figures say. Like its "
    "base it can leave words out, repeat them, or run on: check what it says before anyone relies on it. The figures "
    "are of automatic instruments, which stand in for listeners and do not replace them."
)
DATA_LIMITS = (
    "The text is what a speech recogniser heard, corrected by rules and not by hand throughout: expect some wrong "
    "words. One speaker: nothing that holds for speakers in general can be learned or tested here."
)
SPLITS = ("train", "validation", "test")


def uses(limits: str) -> str:
    return f"## Use\n\n**Intended.** {INTENDED}\n\n**Prohibited.** {PROHIBITED}\n\n**Limits.** {limits}"


def rights_section(facts: Facts) -> str:
    """A list of the recordings: speaker, basis, evidence, origin."""
    lines = ["## Whose voice, and by what right", ""]
    for key, record in facts.records.items():
        rights = record["rights"]
        title = f"“{plain(record['title'])}”, " if record.get("title") else ""
        origin = plain(record.get("webpage_url") or record.get("source") or "origin not noted")
        licence = f", licence of the page: {plain(record['licence'])}" if record.get("licence") else ""
        lines.append(
            f"- {plain(key)}: {title}spoken by {plain(rights['speaker'])}; basis **{plain(rights['basis'])}**: "
            f"{plain(rights['evidence'])} ({origin}{licence}, sha256 {record.get('sha256', 'not noted')})"
        )
    return "\n".join([*lines, "", RIGHTS])


def recipe_section(params: Mapping) -> str:
    """The settings of training, as the run had them."""
    settings = json.dumps(params.get("train", {}), indent=1, ensure_ascii=False)
    return f"## Trained with\n\n```json\n{settings}\n```"


def data_section(facts: Facts) -> str:
    """Rows and minutes of every split, and where that stands, from reports/data.json."""
    rows, seconds, stand = (facts.data.get(name, {}) for name in ("rows", "seconds", "guidance"))
    lines = ["## Rows", "", "| split | rows | minutes |", "|---|---:|---:|"]
    for split in SPLITS:
        if split in rows and split in seconds:
            lines.append(f"| {split} | {rows[split]} | {seconds[split] / 60:.1f} |")
    if "train_rows_of_30_s" in stand:
        lines += ["", f"Training speech equals {stand['train_rows_of_30_s']:.1f} rows of 30 s."]
    return "\n".join(lines)


def making_section(facts: Facts) -> str:
    """How the rows were made of the recordings."""
    heard, words = facts.params.get("transcribe", {}), facts.data.get("recordings", {}).get("words_corrected")
    engine = f" by {plain(heard['engine'])} ({plain(heard.get('model'))})" if heard.get("engine") else ""
    corrected = f"; rules corrected {words} words" if words is not None else ""
    dropped = facts.data.get("seconds", {}).get("dropped")
    left = f" {dropped / 60:.1f} minutes were left out: pauses, and pieces without clear text." if dropped else ""
    columns = "`audio` (24 kHz mono FLAC), `text`, `source` (speaker id), `recording`, `start`, `end` (seconds)"
    return (
        f"## How it was made\n\nThe recordings were transcribed{engine}{corrected}, cut at the ends of sentences, and "
        f"split by blocks of time.{left} Columns: {columns}."
    )


def facts_section(facts: Facts, lines: Mapping[str, str | None], folder: str) -> str:
    """What identifies this run, as a table; what is not known is left out."""
    known = dict(lines) | {
        f"{folder} in dvc.lock": facts.hash_of(folder),
        "data/rows in dvc.lock": facts.hash_of("data/rows"),
        "commit of the project": facts.commit,
    }
    rows = [f"| {name} | {plain(value)} |" for name, value in known.items() if value]
    return "\n".join(["| | |", "|---|---|", *rows])


def _hours(minutes: float | None) -> str | None:
    return None if minutes is None else f"{minutes / 60:.2f} hours ({minutes:.1f} minutes)"


def _page(data, *sections: str) -> str:
    return "\n\n".join([f"---\n{data.to_yaml()}\n---", *sections]) + "\n"


def check_card(text: str, repo_type: str) -> None:
    """Raise Problem unless the card's metadata read back as what was written, evaluation results included.

    The hub's own rules are asked for in tools.push, where the network is.
    """
    try:
        data = (ModelCard if repo_type == "model" else DatasetCard)(text).data
        if repo_type == "model" and data.eval_results:
            model_index_to_eval_results(data.to_dict()["model-index"])
    except (ValueError, KeyError, TypeError, YAMLError) as error:
        raise Problem(f"the card's metadata are not what the hub reads ({error}); please report this") from None
    if not data.to_dict().get("license"):
        raise Problem("the card's metadata could not be read back; please report this")


def dataset_card(repo: str) -> str:
    """The card of data/rows for the dataset repository `repo`."""
    facts = read_facts()
    name, total = repo.split("/")[1], facts.data.get("rows", {}).get("total")
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    data = DatasetCardData(
        license="other",
        license_name="see-rights-below",
        language=facts.params.get("transcribe", {}).get("language"),
        pretty_name=name,
        size_categories=None if total is None else next((size for most, size in sizes if total < most), "n>1M"),
        task_categories=["text-to-speech"],
        tags=["audio", "one-voice", "timbre"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}.parquet"} for split in SPLITS],
            }
        ],
    )
    title = f"# {name}\n\nRecordings of one voice, cut into sentences with their text, made with Timbre."
    kept = facts.data.get("seconds", {}).get("kept")
    known = {"speech": _hours(None if kept is None else kept / 60), "speaker": ", ".join(facts.speakers)}
    text = _page(
        data,
        title,
        facts_section(facts, known, "data/rows"),
        rights_section(facts),
        uses(DATA_LIMITS),
        data_section(facts),
        making_section(facts),
        "## Load it\n\n" + loading.DATASET.format(repo=repo),
    )
    check_card(text, "dataset")
    return text


def _model_data(facts: Facts, name: str, kind: str) -> ModelCardData:
    base = facts.base
    measured = results.eval_results(facts.metrics, ", ".join(facts.speakers))
    return ModelCardData(
        license="other",
        license_name="see-rights-below",
        language=facts.params.get("transcribe", {}).get("language"),
        library_name="peft" if kind == "adapter" else "transformers",
        pipeline_tag="text-to-speech",
        tags=["csm", "voice", "timbre"] + (["lora"] if kind == "adapter" else []),
        base_model=base.name,
        base_model_relation=("adapter" if kind == "adapter" else "finetune") if base.name else None,
        metrics=sorted({one.metric_type for one in measured}) or None,
        model_name=name if measured else None,
        eval_results=measured or None,
    )


def _introduction(facts: Facts, name: str, kind: str) -> str:
    base = facts.base
    at = f" at revision {facts.base_revision}" if base.name and facts.base_revision else ""
    licence = MODEL_LICENCES.get(base.name or "")
    what = "A LoRA adapter for" if kind == "adapter" else "A fine-tuned copy (16 bit) of"
    text = f"# {name}\n\n{what} {plain(base.name or base.path)}{at}, speaking with one voice, made with Timbre."
    text += f" The base is under {licence}; the voice is not." if licence else " The base has its own licence."
    if not base.name:
        text += " The base is a folder of the project that made this, not a model on the hub."
    return text


def model_card(repo: str, kind: str) -> str:
    """The card of the `adapter` or the `merged` model for the model repository `repo`."""
    facts = read_facts()
    base, name, train = facts.base, repo.split("/")[1], facts.params.get("train", {})
    revision = facts.base_revision if base.name else None
    lora = train.get("lora") or {}
    method = f"LoRA, rank {lora.get('rank')}" if train.get("method", "lora") == "lora" else "every weight"
    rows = facts.training.get("rows") or facts.data.get("rows", {}).get("train")
    known = {
        "base": base.name or base.path,
        "base revision": revision,
        "licence of the base": MODEL_LICENCES.get(base.name or ""),
        "speaker": ", ".join(facts.speakers),
        "trained on": _hours(facts.train_minutes),
        "rows": str(rows) if rows else None,
        "method": method if lora or "method" in train else None,
    }
    if kind == "adapter":
        pinned = f', revision="{revision}"' if revision else ""
        load = loading.ADAPTER.format(repo=repo, base=base.name or base.path, revision=pinned, speaker=facts.speaker)
    else:
        load = loading.MERGED.format(repo=repo, speaker=facts.speaker)
    text = _page(
        _model_data(facts, name, kind),
        _introduction(facts, name, kind),
        facts_section(facts, known, f"models/{kind}"),
        rights_section(facts),
        uses(LIMITS),
        results.section(facts.metrics),
        data_section(facts),
        recipe_section(facts.params),
        f"## Load it\n\n{load}",
    )
    check_card(text, "model")
    return text
