"""Files that are there whole or not at all, with the same bytes for the same content."""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DECIMALS = 6


def rounded(value, decimals: int = DECIMALS):
    """`value` (nested lists, tuples and dicts) with floats rounded, so that noise in the last bits changes no hash.

    Raises ValueError for NaN and infinity: JSON has no such numbers; use None for "not known".
    """
    if isinstance(value, dict):
        return {key: rounded(item, decimals) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, decimals) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):  # a NumPy or torch scalar
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be written as JSON")
        value = round(value, decimals)
        return 0.0 if value == 0 else value  # -0.0 and 0.0 are one number
    return value


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _replacing(path: str | Path) -> Iterator[Path]:
    """Yield `.<stem>.part<suffix>` beside `path`; it takes `path`'s place when the block ends without an error.

    The name is always the same, so what a killed run left is cleared by the next; `.dvcignore` names the pattern.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    _remove(temporary)
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)  # a folder cannot be renamed onto one that holds files
        temporary.replace(path)
    finally:
        _remove(temporary)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path for the file `path`: there whole when the block ends, or not at all."""
    with _replacing(path) as temporary:
        yield temporary


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder for the folder `path`: there whole when the block ends, or not at all."""
    with _replacing(path) as temporary:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)  # some libraries write files that only the owner can read


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content, decimals: int = DECIMALS) -> None:
    """Write sorted, rounded, indented JSON."""
    text = json.dumps(rounded(content, decimals), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
