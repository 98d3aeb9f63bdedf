"""Where a recording came from, as it is kept beside the sound. Says nothing about this machine or this moment."""

import hashlib
import unicodedata
from dataclasses import asdict
from pathlib import Path, PurePath

from stages.audio.decode import Decoded
from stages.recordings.source import Source

LONGEST = 300  # characters of a title or name


def clean(text) -> str | None:
    """Text from outside as one short line: no control, format (bidirectional) or surrogate characters."""
    if text is None:
        return None
    kept = (" " if character.isspace() else character for character in str(text))
    plain = "".join(character for character in kept if unicodedata.category(character)[0] != "C")
    return " ".join(plain.split())[:LONGEST].rstrip() or None


def sha256_of(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(source: Source, decoded: Decoded, sha256: str, page: dict | None = None) -> dict:
    """The provenance of a fetched recording; `page` is what the site says of it (title, uploader, licence, ...)."""
    name = PurePath(source.path)
    page = page or {}
    return {
        "source": source.url or (name.name if name.is_absolute() else name.as_posix()),
        "sha256": sha256,
        "start": source.start,
        "end": source.end,
        "seconds": decoded.seconds,
        "original": {name: value for name, value in asdict(decoded).items() if name != "seconds"},
        "rights": source.rights.model_dump(),
    } | {name: page.get(name) for name in ("title", "uploader", "licence", "extractor", "id", "webpage_url")}
