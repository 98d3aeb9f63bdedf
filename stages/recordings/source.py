"""data/sources.yaml: which recordings there are, which part of them is used, and why that is allowed."""

import math
import re
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from stages.files.settings import Settings, parse, read_yaml
from stages.process.problem import Problem

SOURCES = "data/sources.yaml"
ONLINE = "data/online"  # the path of every recording that is on the net: DVC watches files, and cannot watch that
KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
CLOCK = re.compile(r"(?:(?P<hours>\d+):(?=\d\d:))?(?P<minutes>\d+):(?P<seconds>\d\d(?:\.\d+)?)")


def seconds_of(time) -> float:
    """Seconds from a number, or from "h:mm:ss", "mm:ss" (with or without a fraction). Raises ValueError."""
    if isinstance(time, (int, float)) and not isinstance(time, bool):
        seconds = float(time)
    elif isinstance(time, str) and (parts := CLOCK.fullmatch(time.strip())):
        minutes, rest = int(parts["minutes"]), float(parts["seconds"])
        if rest >= 60 or (parts["hours"] and minutes >= 60):
            raise ValueError(f"{time!r} is no time of the clock; minutes and seconds stay below 60")
        seconds = int(parts["hours"] or 0) * 3600 + minutes * 60 + rest
    else:
        raise ValueError(f'{time!r} is no time; write seconds (90.5) or "h:mm:ss" or "mm:ss" in quotes')
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{time!r} is before the recording begins or no number; times start at 0")
    return seconds


Time = Annotated[float | None, BeforeValidator(lambda time: None if time is None else seconds_of(time))]
Words = Annotated[str, Field(min_length=1, pattern=r"\S")]


class Rights(Settings):
    """Why this voice may be cloned."""

    basis: Literal["own-voice", "licence", "consent"]
    speaker: Words  # the person's name
    evidence: Words  # the licence and where it is stated, or where the consent is kept


class Source(Settings):
    """One recording."""

    path: Words
    url: str | None = None
    start: Time = None
    end: Time = None
    speaker: Annotated[int, Field(ge=0)] = 0
    rights: Rights

    @field_validator("path")
    @classmethod
    def check_path(cls, path: str) -> str:
        if "://" in path:
            raise ValueError(f"an address belongs under `url`; write path: {ONLINE} and url: {path}")
        if not path.isprintable():
            raise ValueError(f"{path!r} has control characters; rename the file")
        return path

    @field_validator("url")
    @classmethod
    def check_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ValueError(f"{url!r} is no address ({error})") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f\x7f]", url):
            raise ValueError(f"{url!r} is no http or https address; a file on this machine belongs under `path`")
        if parts.password:
            raise ValueError("a password would be kept under version control; use fetch.network.cookies_file instead")
        return url

    @model_validator(mode="after")
    def check_together(self):
        online = PurePosixPath(self.path) == PurePosixPath(ONLINE)
        if self.url and not online:
            raise ValueError(f"`url` and a local `path` exclude each other; write path: {ONLINE}, or remove `url`")
        if online and not self.url:
            raise ValueError(f"path {ONLINE} means a recording on the net; add its `url`")
        if self.end is not None and self.end <= (self.start or 0):
            raise ValueError(f"the range {self.start or 0:g}-{self.end:g} s is empty; `end` must be after `start`")
        return self


def _check_key(key, where: str) -> None:
    if not isinstance(key, str) or not KEY.fullmatch(key):
        rule = "use a-z, 0-9, - and _, at most 64, beginning with a letter or digit (no dots, slashes or spaces)"
        raise Problem(f"{where}: {key!r} cannot be the key of a recording; {rule}; quote a key of digits only")


def read_sources(path: str = SOURCES) -> dict[str, Source]:
    """The recordings by key, in the order of the file. Raises Problem that names the file, the key and the remedy."""
    content = read_yaml(path)
    sources = content.get("sources") if isinstance(content, dict) else None
    if not isinstance(sources, dict) or not sources:
        raise Problem(f"{path}: names no recording; add one under `sources:`, as its comment shows")
    for key, item in sources.items():
        _check_key(key, path)
        if isinstance(item, dict) and not item.get("rights"):
            remedy = "basis: own-voice, licence or consent; speaker: the name; evidence: where that is stated"
            raise Problem(f"{path}: sources.{key} has no `rights`, so it is not fetched; add rights with {remedy}")
    return {key: parse(Source, item, f"{path}: sources.{key}") for key, item in sources.items()}
