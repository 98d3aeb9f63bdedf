"""Check what a person edits before DVC looks at it: params.yaml, the sources, the replacement rules.

    python -m tools.check          (`make repro` begins with it)

A parameter that no stage depends on is a slip of the pen that DVC would ignore in silence.
"""

import difflib

from stages.process.stage import run  # isort: skip  (the frame of every tool)
from stages.files.settings import read_yaml
from stages.process.problem import Problem
from stages.recordings.source import read_sources
from stages.speech.replacements import read_rules

FREE = "fetch.network."  # how to reach the net: no result depends on it


def leaves(tree: dict, prefix: str = "") -> list[str]:
    """Dotted keys of all values that are not mappings themselves."""
    found = []
    for key, value in tree.items():
        found += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]
    return found


def declared(pipeline: dict) -> set[str]:
    """The parameters of params.yaml that some stage of dvc.yaml depends on."""
    bodies = (stage.get("do", stage) for stage in pipeline["stages"].values())
    return {name for body in bodies for name in body.get("params", []) if isinstance(name, str)}


def check_params(params: dict, known: set[str]) -> None:
    present = leaves(params)
    for name in present:
        if name not in known and not name.startswith(FREE):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Problem(f"params.yaml: {name} is a parameter of no stage{hint}")
    if missing := sorted(known - set(present)):
        raise Problem(f"params.yaml: {missing[0]} is missing; `git diff params.yaml` shows what it was")


def main() -> None:
    params = read_yaml("params.yaml")
    if not isinstance(params, dict):
        raise Problem("params.yaml: holds no parameters; `git checkout params.yaml` brings them back")
    check_params(params, declared(read_yaml("dvc.yaml")))
    read_sources()
    read_rules()


if __name__ == "__main__":
    run(main, "check")
