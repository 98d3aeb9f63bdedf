"""Models of transformers by hub name or folder: loaded whole or refused, and named by what is in them."""

import hashlib
from pathlib import Path

import torch

from stages.process.problem import Problem

WEIGHTS = ("*.safetensors", "*.bin")


def loaded(kind, name: str, key: str, **options):
    """`kind`.from_pretrained(`name`). Raises Problem, beginning with `key` (a parameter), when it cannot be had."""
    place = f"{key}: {name!r}"
    if name.startswith(("/", ".", "~")) and not Path(name).expanduser().is_dir():
        raise Problem(f"{place}: no such folder; give one with a transformers model, or a name on the hub")
    folder = Path(name).expanduser()
    try:
        return kind.from_pretrained(str(folder) if folder.is_dir() else name, **options)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
        remedy = "check the name and the net, or give a folder with a transformers model"
        raise Problem(f"{place}: cannot be loaded ({reason}); {remedy}") from None


def loaded_model(kind, name: str, key: str) -> torch.nn.Module:
    """The same for a model: in float32, on a GPU if there is one, for use only; refused when any weight is not there.

    A checkpoint for another task would else run with random numbers in the layers that it has not got.
    """
    model, report = loaded(kind, name, key, output_loading_info=True, dtype=torch.float32)
    if missing := sorted(report["missing_keys"]):
        what = f"{type(model).__name__} needs {missing[0]}"
        raise Problem(f"{key}: {name!r}: its weights are for another task ({what}); give a model trained for this one")
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)


def public_name(name: str, config) -> str:
    """A model for a report: the hub's name with the commit, or the folder's with a hash of what is in it."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        commit = getattr(config, "_commit_hash", None)
        return f"{name}@{commit[:7]}" if commit else name
    sha = hashlib.sha256()
    for path in sorted(path for pattern in ("config.json", *WEIGHTS) for path in folder.glob(pattern)):
        sha.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha.update(block)
    return f"{folder.resolve().name}@{sha.hexdigest()[:7]}"
