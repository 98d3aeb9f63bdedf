"""Merge a preset into params.yaml, keeping its comments and the order of its keys.

    python -m tools.preset t4

A preset may only set keys that params.yaml has, to values of the same kind: a misspelled key would otherwise change
nothing, in silence. `embedded` gives back the committed default.
"""

import argparse
import copy
import difflib
import io
import re
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from stages.files.atomic import write_text
from stages.files.settings import read_yaml
from stages.process.problem import Problem
from stages.process.stage import run
from tools.machine import find_gpu

FOLDER = Path("presets")
PARAMS = Path("params.yaml")


@dataclass(frozen=True)
class Change:
    """One leaf that a preset sets: its dotted key, the value before and the value after."""

    key: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.old)} -> {shown(self.new)}"


def shown(value) -> str:
    """A value as it reads in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def kind_of(value) -> str:
    """The kind of a YAML value in words. A bool is no number here, though Python calls it one."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a whole number"}
    for kind in (dict, list, str, bool, int):
        if isinstance(value, kind):
            return names[kind]
    return "null" if value is None else "a number"


def fits(new, old) -> bool:
    """Whether `new` may replace `old`: the same kind, a whole number for any number, null for or in place of a leaf."""
    if new is None or old is None:
        return not isinstance(new, dict) and not isinstance(old, dict)
    return kind_of(new) == kind_of(old) or (kind_of(new), kind_of(old)) == ("a whole number", "a number")


def available() -> list[str]:
    """Names of the presets there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_preset(name: str) -> dict:
    """Read presets/<name>.yaml. Raises Problem for a name that is none, whatever it would point to."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name not in available():
        raise Problem(f"no preset {name!r}; there are {', '.join(available())} (make preset NAME=t4)")
    return read_mapping(FOLDER / f"{name}.yaml")


def read_mapping(path: Path) -> CommentedMap:
    """Read YAML with comments and the style of every value. Raises Problem for anything but a mapping."""
    content = read_yaml(path)  # for its messages: the editor's own errors are tracebacks
    if not isinstance(content, dict):
        raise Problem(f"{path}: is {kind_of(content)}, not sections with keys; restore it with `git checkout {path}`")
    return editor().load(path.read_text(encoding="utf-8"))


def merge(params: CommentedMap, preset: dict, where: str, above: str = "") -> list[Change]:
    """Set in `params` every leaf of `preset` and return those that changed. `where` names the preset's file.

    Raises Problem for a key that `params` has not, and for a value of another kind; `params` may then be half changed.
    """
    changes: list[Change] = []
    for key, new in preset.items():
        dotted = f"{above}{key}"
        if key not in params:
            near = difflib.get_close_matches(str(key), map(str, params), n=1)
            hint = f"did you mean {above}{near[0]}?" if near else f"known here are {', '.join(map(str, params))}"
            raise Problem(f"{where}: {PARAMS} has no key {dotted}; {hint}")
        old = params[key]
        if not fits(new, old):
            raise Problem(f"{where}: {dotted} is {kind_of(new)}, but {kind_of(old)} in {PARAMS}; mend the preset")
        if isinstance(old, dict):
            changes += merge(old, new, where, f"{dotted}.")
        elif new != old:
            changes.append(Change(dotted, copy.copy(old), new))
            if isinstance(old, list) and isinstance(new, list):
                old[:] = new  # in place: the comment behind a list hangs on the list
            elif kind_of(old) == "a number" and kind_of(new) == "a whole number":
                params[key] = float(new)  # 3 becomes 3.0: the stages ask for that kind
            else:
                params[key] = new
    return changes


def editor() -> YAML:
    """A YAML reader and writer that keeps comments, quotes, order and the word null."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def apply(name: str) -> list[Change]:
    """Merge the preset `name` into params.yaml, whole or not at all, and return what changed."""
    preset, params = read_preset(name), read_mapping(PARAMS)
    changes = merge(params, preset, f"{FOLDER / name}.yaml")
    if changes:  # a file that already says so keeps its bytes
        text = io.StringIO()
        editor().dump(params, text)
        write_text(PARAMS, text.getvalue())
    return changes


def needs_gpu() -> bool:
    """Whether params.yaml as it is now trains with Unsloth, which runs on a GPU only."""
    return (read_yaml(PARAMS).get("train") or {}).get("backend") == "unsloth"


def main() -> None:
    parser = argparse.ArgumentParser(description="Merge presets/<name>.yaml into params.yaml.")
    parser.add_argument("name", help="a preset: " + ", ".join(available()))
    name = parser.parse_args().name
    changes = apply(name)
    for change in changes:
        print(change)
    print(f"preset {name}: {len(changes)} values changed in {PARAMS}" if changes else f"preset {name}: already applied")
    if needs_gpu() and find_gpu() is None:
        print(
            "warning: this preset trains with Unsloth, which needs an NVIDIA GPU, and there is none here; "
            "run it on a GPU box, or go back with `make preset NAME=embedded`"
        )


if __name__ == "__main__":
    run(main, "preset")
