"""Finished pieces of an evaluation, kept so that a killed run goes on, and found only by everything they depend on."""

import hashlib
import json
import sys
from pathlib import Path


def digest(recipe) -> str:
    """A name for plain data (nested dicts and lists of strings and numbers)."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]


def code_digest(*packages: str) -> str:
    """A hash of the source of every imported module in `packages` (dotted names): edited code finds nothing stale."""
    found = {}
    for name, module in list(sys.modules.items()):
        if any(name == package or name.startswith(package + ".") for package in packages):
            file = getattr(module, "__file__", None)
            if file:
                found[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return digest(found)


class Store:
    """Files in a scratch folder, named by the recipe they were made by."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._used: set[Path] = set()

    def path(self, kind: str, recipe, suffix: str) -> Path:
        """Where the piece made by `recipe` is, or belongs."""
        path = self.folder / kind / f"{digest(recipe)}{suffix}"
        self._used.add(path)
        return path

    def forget_others(self) -> None:
        """Remove what this run did not ask for, so that the scratch folder does not grow."""
        for path in self.folder.glob("*/*"):
            if path not in self._used:
                path.unlink()
