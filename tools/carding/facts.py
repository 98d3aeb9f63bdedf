"""What a card is written from: the records of fetch, dvc.lock, parameters, reports, and the commit."""

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.files.settings import read_yaml
from stages.process.problem import Problem
from tools import locked
from tools.experiments import command
from tools.hub import Base


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


@dataclass(frozen=True)
class Facts:
    """One run. `params` are those it ran with, by dvc.lock; params.yaml fills up what no stage depends on."""

    records: Mapping[str, dict]
    params: dict
    metrics: dict
    data: dict
    training: dict
    corrections: dict
    outputs: Mapping[str, dict]  # path -> its entry in dvc.lock
    commit: str | None
    base_revision: str | None
    speaker: int  # id of the first recording's voice: what stands between the brackets before a text

    @property
    def base(self) -> Base:
        return Base.of(self.params)

    @property
    def speakers(self) -> list[str]:
        """The names of the voices, each once."""
        return list(dict.fromkeys(str(record["rights"].get("speaker")) for record in self.records.values()))

    @property
    def train_minutes(self) -> float | None:
        """Minutes of speech that the voice was trained on, or that the rows hold."""
        seconds = self.data.get("seconds", {}).get("train")
        return self.training.get("minutes") or (seconds / 60 if seconds is not None else None)

    def hash_of(self, folder: str) -> str | None:
        """The hash that dvc.lock has for `folder`, if what lies there can be what it means (it has the same size)."""
        entry = self.outputs.get(folder, {})
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        return str(entry["md5"]) if entry.get("md5") and entry.get("size") == size else None


def _ran_with(params: dict, ran: Mapping[str, object]) -> dict:
    """`params` with the values that the last run had."""
    found = copy.deepcopy(params)
    for key, value in ran.items():
        *above, last = key.split(".")
        place = found
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    return found


def _commit() -> str | None:
    """The commit of the project, with a word on what is not in it; None where git keeps nothing."""
    try:
        head = command("git", "rev-parse", "--verify", "--quiet", "HEAD")
        changed = command("git", "status", "--porcelain", "--untracked-files=no").stdout.strip()
    except Problem:  # there is no git on this machine
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + (", with changes that were not committed" if changed else "")


def read_facts() -> Facts:
    """The facts of the run in the current folder. Raises Problem when nothing says whose voice it is."""
    lock = read_yaml("dvc.lock") if Path("dvc.lock").is_file() else None
    params = _ran_with(read_yaml("params.yaml") or {}, locked.params(lock).get("params.yaml", {}))
    sources = (read_yaml("data/sources.yaml") or {}).get("sources") or {}
    return Facts(
        records=provenance(),
        params=params,
        metrics=read_json("reports/metrics.json"),
        data=read_json("reports/data.json"),
        training=read_json("reports/train.json"),
        corrections=read_json("reports/corrections.json"),
        outputs=locked.outputs(lock),
        commit=_commit(),
        base_revision=read_json("data/codes/base.json").get("revision") or Base.of(params).revision,
        speaker=next((source.get("speaker", 0) for source in sources.values()), 0),
    )
