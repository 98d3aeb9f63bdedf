"""What a revision holds of a run: parameters, replacements, figures, clips, and the hashes of what DVC keeps."""

import csv
import hashlib
import io
import json
import math
import re
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.process.problem import Problem
from tools import locked
from tools.comparing.revisions import Revision

PARAMS, SOURCES, REPLACEMENTS, LOCK = "params.yaml", "data/sources.yaml", "data/replacements.yaml", "dvc.lock"
METRICS, CLIPS, SOUNDS = "reports/metrics.json", "reports/clips.csv", "reports/listen"
NEEDED = ("condition", "row", "seed", "text")  # columns without which a clip cannot be told from another
SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True)
class Clip:
    """One line of clips.csv. `values`: its numbers by column, None where the cell is empty or no number."""

    condition: str
    row: str
    seed: int | None
    text: str
    heard: str
    failures: str
    values: dict[str, float | None]

    @property
    def sound(self) -> str:
        """Its file within reports/listen, as stages.page.listen names it; `read_clips` has checked the parts."""
        return f"audio/{self.condition}/{self.row}{'' if self.seed is None else f'-{self.seed}'}.mp3"

    @property
    def take(self) -> tuple[str, int | None]:
        return self.condition, self.seed


@dataclass(frozen=True)
class Run:
    """Everything of one revision but its sounds. `columns`: of clips.csv, which older revisions have fewer of."""

    name: str  # A or B
    revision: Revision
    params: dict[str, object]
    sources: dict[str, object]
    rules: tuple[str, ...]
    metrics: dict
    clips: tuple[Clip, ...]
    columns: frozenset[str]
    outputs: dict[str, str]  # path -> hash, of what dvc.lock names
    notes: tuple[str, ...] = field(default=())

    @property
    def engines(self) -> dict[str, str]:
        found = self.metrics.get("engines")
        return found if isinstance(found, dict) else {}

    @property
    def has_sounds(self) -> bool:
        return bool(self.clips) and SOUNDS in self.outputs


def flat(content, above: str = "") -> dict[str, object]:
    """Nested mappings as one: {"train": {"seed": 0}} -> {"train.seed": 0}. Lists are values."""
    if not isinstance(content, dict) or not content:
        return {above: content} if above else {}
    found = {}
    for key, value in content.items():
        found |= flat(value, f"{above}.{key}" if above else str(key))
    return found


def _yaml(revision: Revision, path: str):
    text = revision.read(path)
    try:
        return None if text is None else YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        reason = getattr(error, "problem", None) or type(error).__name__
        raise Problem(f"{path} of {revision.asked}: not valid YAML ({reason}); compare another revision") from None


def _json(revision: Revision, path: str) -> dict:
    try:
        found = json.loads(revision.read(path) or "{}")
    except json.JSONDecodeError as error:
        raise Problem(f"{path} of {revision.asked}: not valid JSON ({error}); compare another revision") from None
    return found if isinstance(found, dict) else {}


def _rules(content) -> tuple[str, ...]:
    """Replacement rules as one line each, in their order."""
    rules = content.get("rules") if isinstance(content, dict) else None
    lines = []
    for rule in rules if isinstance(rules, list) else []:
        options = {key: value for key, value in rule.items() if key not in ("find", "replace", "tests")}
        words = "".join(f", {key}: {str(value).lower()}" for key, value in options.items())
        lines.append(f"{rule.get('find')} → {rule.get('replace') or '(nothing)'}{words}")
    return tuple(lines)


def number(cell: str | None) -> float | None:
    """A cell of clips.csv as a number; None for an empty one, for NaN, and for words."""
    try:
        value = float(cell or "nan")
    except ValueError:
        value = {"true": 1.0, "false": 0.0}.get(str(cell).lower(), math.nan)
    return value if math.isfinite(value) else None


def read_clips(text: str, where: str) -> tuple[tuple[Clip, ...], frozenset[str]]:
    """Clips and columns of a clips.csv. Raises Problem for a file that has not what tells clips apart."""
    lines = list(csv.DictReader(io.StringIO(text)))
    columns = frozenset(lines[0]) - {None} if lines else frozenset()
    if lines and (lacking := [name for name in NEEDED if name not in columns]):
        raise Problem(f"{where}: has no column {', '.join(lacking)}; its clips cannot be told apart")
    clips = []
    for place, line in enumerate(lines, start=2):
        seed = number(line["seed"])
        if not SAFE_NAME.fullmatch(line["row"] or "") or not SAFE_NAME.fullmatch(line["condition"] or ""):
            raise Problem(f"{where}:{place}: {line['condition']!r} of {line['row']!r} names no clip")
        values = {name: number(line[name]) for name in columns - {*NEEDED, "heard", "heard_second", "failures"}}
        clips.append(
            Clip(
                condition=line["condition"],
                row=line["row"],
                seed=None if seed is None else int(seed),
                text=line["text"] or "",
                heard=line.get("heard") or "",
                failures=line.get("failures") or "",
                values=values,
            )
        )
    return tuple(clips), columns


def _not_run(now: dict[str, dict[str, object]], lock) -> list[str]:
    """Parameters that were changed after the last run; `now`: file -> parameter -> value."""
    changed = set()
    for path, values in locked.params(lock).items():
        found = now.get(path, {})
        changed |= {key for key, value in flat(values).items() if key in found and found[key] != value}
    return sorted(changed)


def read_run(name: str, revision: Revision) -> Run:
    """All that `revision` holds. Raises Problem where it holds nothing, or something that cannot be read."""
    params = _yaml(revision, PARAMS)
    if not isinstance(params, dict):
        raise Problem(
            f"{name}={revision.asked}: has no {PARAMS}, so there is nothing to compare; give another revision"
        )
    metrics, lock, text = _json(revision, METRICS), _yaml(revision, LOCK), revision.read(CLIPS)
    clips, columns = read_clips(text, f"{CLIPS} of {revision.asked}") if text else ((), frozenset())
    outputs, notes = {path: str(out.get("md5")) for path, out in locked.outputs(lock).items()}, []
    if not metrics:
        notes.append(f"{name} has no {METRICS}: nothing had been measured there.")
    if not clips:
        notes.append(f"{name} has no {CLIPS}: only the figures of whole conditions are compared, untested.")
    elif SOUNDS not in outputs:
        notes.append(f"{name} has no sounds: its {LOCK} names no {SOUNDS}.")
    elif outputs.get(CLIPS) != hashlib.md5(text.encode(), usedforsecurity=False).hexdigest():
        notes.append(f"{name}'s {CLIPS} is not the one its {LOCK} names, so its sounds are left out: run `make repro`.")
        outputs = {path: md5 for path, md5 in outputs.items() if path != SOUNDS}
    params, sources = flat(params), flat(_yaml(revision, SOURCES) or {})
    if changed := _not_run({PARAMS: params, SOURCES: sources}, lock):
        few = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        notes.append(f"{name}'s figures are from before {few} changed: run `make repro` there to measure them anew.")
    return Run(
        name=name,
        revision=revision,
        params=params,
        sources=sources,
        rules=_rules(_yaml(revision, REPLACEMENTS)),
        metrics=metrics,
        clips=clips,
        columns=columns,
        outputs=outputs,
        notes=tuple(notes),
    )
