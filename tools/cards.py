"""The README.md of what goes to the hub: whose voice it is and by what right, what was measured, how to load it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import DatasetCardData, ModelCardData

from stages.files.settings import read_yaml
from stages.process.problem import Problem
from tools.hub import Base

MODEL_LICENCES = {"sesame/csm-1b": "Apache-2.0", "unsloth/csm-1b": "Apache-2.0"}
RIGHTS = "own-voice: the speaker published it; licence, consent: as the evidence says."
LIMITS = (
    "Use this voice only within those rights. Do not use it to pass as the speaker, to mislead, or for anything "
    "unlawful. Say that the speech is synthetic wherever it is heard."
)
LOAD_DATASET = """```python
from datasets import Audio, load_dataset

rows = load_dataset("{repo}")  # train, validation, test: split by time, no text in two of them
rows = rows.cast_column("audio", Audio(decode=False))  # bytes of 24 kHz mono FLAC; without this line: decoded
```"""
LOAD_MERGED = """```python
from transformers import AutoProcessor, CsmForConditionalGeneration

model = CsmForConditionalGeneration.from_pretrained("{repo}")
processor = AutoProcessor.from_pretrained("{repo}")
inputs = processor("[{speaker}]Good morning.", add_special_tokens=True, return_tensors="pt")
audio = model.generate(**inputs, output_audio=True)
processor.save_audio(audio, "hello.wav")
```"""
LOAD_ADAPTER = """```python
from peft import PeftModel
from transformers import AutoProcessor, CsmForConditionalGeneration

model = CsmForConditionalGeneration.from_pretrained("{base}"{revision})
# transformers 5 leaves this table random where the file holds it once: share it, as CSM does.
model.backbone_model.embed_tokens.embed_audio_tokens.weight = model.depth_decoder.model.embed_tokens.weight
model = PeftModel.from_pretrained(model, "{repo}").merge_and_unload()
processor = AutoProcessor.from_pretrained("{repo}")
```"""


def plain(text) -> str:
    """Text from outside (a title, a name) as one line of Markdown that is only text."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", " ".join(str(text).split()))


def read_json(path: str | Path) -> dict:
    """The content of a report, or nothing where there is none."""
    path = Path(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def provenance(folder: str | Path = "data/fetched") -> dict[str, dict]:
    """What fetch wrote down about every recording, by key. Raises Problem when it is not there or names no rights."""
    records = {path.stem: read_json(path) for path in sorted(Path(folder).glob("*.json"))}
    if not records:
        raise Problem(f"{folder}: says nothing of where the voice is from; run `make repro` or `make pull REMOTE=...`")
    for key, record in records.items():
        if not record.get("rights"):
            raise Problem(f"{folder}/{key}.json: names no rights; without them nothing goes to the hub")
    return records


def rights_section(records: Mapping[str, dict]) -> str:
    """A list of the recordings: speaker, basis, evidence, origin."""
    lines = ["## Whose voice, and by what right", ""]
    for key, record in records.items():
        rights = record["rights"]
        title = f"“{plain(record['title'])}”, " if record.get("title") else ""
        origin = plain(record.get("webpage_url") or record.get("source") or "origin not noted")
        licence = f", licence of the page: {plain(record['licence'])}" if record.get("licence") else ""
        lines.append(
            f"- {plain(key)}: {title}spoken by {plain(rights['speaker'])}; basis **{plain(rights['basis'])}**: "
            f"{plain(rights['evidence'])} ({origin}{licence}, sha256 {record.get('sha256', 'not noted')})"
        )
    return "\n".join([*lines, "", RIGHTS, LIMITS])


def number(value) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else plain(value)


def metrics_section(metrics: Mapping) -> str:
    """reports/metrics.json as a table: a row for every condition (a mapping of figures), a column for every figure."""
    engines = metrics.get("engines", {})
    conditions = {name: figures for name, figures in metrics.items() if isinstance(figures, dict) and name != "engines"}
    if not conditions:
        return "## Measured\n\nNothing: there was no reports/metrics.json when this was pushed."
    columns = list(dict.fromkeys(column for figures in conditions.values() for column in figures))
    lines = ["| condition | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, figures in conditions.items():
        lines.append(f"| {name} | " + " | ".join(number(figures.get(column, "")) for column in columns) + " |")
    lines += [
        "",
        "On held-out rows of the same recordings. gt: the recording; gt_codec: its codec round trip; ft: this voice.",
    ]
    lines += [f"{plain(role).capitalize()}: {plain(engine)}." for role, engine in engines.items()]
    lines += [f"{plain(name)}: {number(value)}." for name, value in metrics.items() if not isinstance(value, dict)]
    return "\n".join(["## Measured", "", *lines])


def recipe_section(params: Mapping) -> str:
    """The settings of training, as they stand in params.yaml."""
    settings = json.dumps(params.get("train", {}), indent=1, ensure_ascii=False)
    return f"## Trained with\n\n```json\n{settings}\n```"


def data_section(report: Mapping) -> str:
    """Rows and minutes of every split, and where that stands, from reports/data.json."""
    rows, seconds, stand = (report.get(name, {}) for name in ("rows", "seconds", "guidance"))
    lines = ["## Rows", "", "| split | rows | minutes |", "|---|---|---|"]
    for split in ("train", "validation", "test"):
        if split in rows and split in seconds:
            lines.append(f"| {split} | {rows[split]} | {seconds[split] / 60:.1f} |")
    if "train_rows_of_30_s" in stand:
        lines += ["", f"Training speech equals {stand['train_rows_of_30_s']:.1f} rows of 30 s."]
    columns = "`audio` (24 kHz mono FLAC), `text`, `source` (speaker id), `recording`, `start`, `end` (seconds)"
    return "\n".join([*lines, "", f"Columns: {columns}."])


def _page(data, *sections: str) -> str:
    return "\n\n".join([f"---\n{data.to_yaml()}\n---", *sections]) + "\n"


def dataset_card(repo: str) -> str:
    """The card of data/rows for the dataset repository `repo`."""
    records = provenance()
    data = DatasetCardData(
        license="other",
        license_name="see-rights-below",
        language=read_yaml("params.yaml").get("transcribe", {}).get("language"),
        task_categories=["text-to-speech"],
        tags=["audio", "one-voice", "timbre"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"{name}.parquet"} for name in ("train", "validation", "test")],
            }
        ],
    )
    title = f"# {repo.split('/')[1]}\n\nRecordings of one voice, cut into sentences with their text, made with Timbre."
    load = "## Load it\n\n" + LOAD_DATASET.format(repo=repo)
    return _page(data, title, rights_section(records), data_section(read_json("reports/data.json")), load)


def model_card(repo: str, kind: str) -> str:
    """The card of the `adapter` or the `merged` model for the model repository `repo`."""
    records, params = provenance(), read_yaml("params.yaml")
    base, speaker = Base.of(params), _speaker()
    revision = read_json("data/codes/base.json").get("revision") or base.revision
    data = ModelCardData(
        license="other",
        license_name="see-rights-below",
        language=params.get("transcribe", {}).get("language"),
        library_name="peft" if kind == "adapter" else "transformers",
        pipeline_tag="text-to-speech",
        tags=["csm", "voice", "timbre"] + (["lora"] if kind == "adapter" else []),
        base_model=base.name,
        base_model_relation=("adapter" if kind == "adapter" else "finetune") if base.name else None,
    )
    name = base.name or base.path
    at = f" at revision {revision}" if base.name and revision else ""
    licence = MODEL_LICENCES.get(base.name or "")
    what = "A LoRA adapter for" if kind == "adapter" else "A fine-tuned copy (16 bit) of"
    intro = f"# {repo.split('/')[1]}\n\n{what} {plain(name)}{at}, speaking with one voice, made with Timbre."
    intro += f" The base is under {licence}; the voice is not." if licence else " The base has its own licence."
    if not base.name:
        intro += " The base is a folder of the project that made this, not a model on the hub."
    if kind == "adapter":
        load = LOAD_ADAPTER.format(repo=repo, base=name, revision=f', revision="{revision}"' if at else "")
    else:
        load = LOAD_MERGED.format(repo=repo, speaker=speaker)
    metrics = metrics_section(read_json("reports/metrics.json"))
    sections = (intro, rights_section(records), metrics, recipe_section(params), f"## Load it\n\n{load}")
    return _page(data, *sections)


def _speaker() -> int:
    """The speaker id that the first recording has: what goes between the brackets before a text."""
    sources = read_yaml("data/sources.yaml").get("sources") or {}
    return next((source.get("speaker", 0) for source in sources.values()), 0)
