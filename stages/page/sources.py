"""Where the speech came from, and what became of it: links to the very second, rows kept and dropped, corrections."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from stages.files.rows import SPLITS, Row
from stages.page.figures import clock, duration
from stages.scoring.texts import is_text, text_place
from stages.speech.ledger import REASONS

YOUTUBE = ("youtube.com", "youtu.be", "youtube-nocookie.com")
SPLIT_TITLES = {"train": "train", "validation": "validation", "test": "held out"}
SILENCE = "pause"  # the reason that loses no speech


@dataclass(frozen=True)
class Place:
    """Where a row can be heard. `link` is an http(s) address, or None."""

    title: str
    link: str | None = None


@dataclass(frozen=True)
class Recording:
    """One recording and what became of its time. `kept`: seconds by split; `lost`: seconds of speech in no row."""

    key: str
    place: Place
    about: tuple[str, ...]
    seconds: float
    kept: tuple[float, ...]
    silence: float
    lost: float


@dataclass(frozen=True)
class Part:
    """A stretch of the bar that all recordings make together; `start` and `share` of its length, 0 to 100."""

    key: str
    title: str
    start: float
    share: float


@dataclass(frozen=True)
class Dropped:
    reason: str
    pieces: int
    seconds: float


@dataclass(frozen=True)
class Rule:
    find: str
    total: int
    recordings: str


@dataclass(frozen=True)
class Material:
    """What data.html.j2 shows."""

    rows: Mapping[str, int]
    seconds: Mapping[str, float]
    parts: tuple[Part, ...]
    recordings: tuple[Recording, ...]
    dropped: tuple[Dropped, ...]
    never_dropped: tuple[str, ...]
    rules: tuple[Rule, ...]
    unused: tuple[str, ...]
    corrected: int


def address(origin: Mapping | None, second: float | None = None) -> str | None:
    """The web page of a recording, for YouTube at this second of the video; None for what is not on the web."""
    origin = origin or {}
    for found in (origin.get("webpage_url"), origin.get("source")):
        try:
            parts = urlsplit(found or "")
            host = parts.hostname
        except ValueError:  # brackets that are no IPv6 address
            continue
        if parts.scheme not in ("http", "https") or not host:
            continue
        if second is None or not any(host == name or host.endswith(f".{name}") for name in YOUTUBE):
            return parts.geturl()
        query = [(key, value) for key, value in parse_qsl(parts.query) if key not in ("t", "start")]
        return parts._replace(query=urlencode([*query, ("t", f"{int(second)}s")])).geturl()
    return None


def place_of(row: Row, origins: Mapping[str, Mapping]) -> Place:
    """Where a row was said, in the time of the original: a recording may be a part of one."""
    if is_text(row):
        return Place(text_place(row))
    origin = origins.get(row.recording) or {}
    start = origin.get("start") or 0.0
    span = f"{clock(start + row.start)}–{clock(start + row.end)}"
    link = address(origin, start + row.start)
    name = row.recording if link else origin.get("source") or row.recording
    return Place(f"{name}, {span}", link)


def recording(key: str, found: Mapping[str, float], origin: Mapping | None) -> Recording:
    origin = origin or {}
    rights = origin.get("rights") or {}
    about = [origin.get(name) for name in ("title", "uploader", "licence")]
    about += [rights.get("speaker"), rights.get("evidence") or rights.get("basis")]
    link = address(origin, origin.get("start"))
    return Recording(
        key=key,
        place=Place(origin.get("webpage_url") or origin.get("source") or key, link),
        about=tuple(str(one) for one in about if one),
        seconds=found.get("seconds", 0.0),
        kept=tuple(found.get(split, 0.0) for split in SPLITS),
        silence=found.get(SILENCE, 0.0),
        lost=sum(seconds for name, seconds in found.items() if name in REASONS and name != SILENCE),
    )


def bar(seconds: Mapping[str, float], silence: float, lost: float) -> tuple[Part, ...]:
    """All the time there is, from one end to the other."""
    lengths = [(split, SPLIT_TITLES[split], seconds.get(split, 0.0)) for split in SPLITS]
    lengths += [("silence", "silence between rows", silence), ("lost", "speech left out", lost)]
    total = sum(length for _, _, length in lengths)
    parts, start = [], 0.0
    for key, title, length in lengths:
        if length:
            part = 100 * length / total
            parts.append(Part(key, f"{title} {duration(length)} ({part:.0f} %)", round(start, 2), round(part, 2)))
            start += part
    return tuple(parts)


def material(data: Mapping, corrections: Mapping, origins: Mapping[str, Mapping]) -> Material | None:
    """From reports/data.json, reports/corrections.json and data/fetched/<key>.json; None when there is no data.json."""
    if not data:
        return None
    dropped = {name: data["dropped"][name] for name in REASONS if name in data["dropped"]}
    silence = dropped.get(SILENCE, {}).get("seconds", 0.0)
    lost = sum(found["seconds"] for name, found in dropped.items() if name != SILENCE)
    rules = corrections.get("rules", {})
    return Material(
        rows=data["rows"],
        seconds=data["seconds"],
        parts=bar(data["seconds"], silence, lost),
        recordings=tuple(
            recording(key, found, origins.get(key)) for key, found in sorted(data["by_recording"].items())
        ),
        dropped=tuple(
            Dropped(REASONS[name], found["pieces"], found["seconds"])
            for name, found in dropped.items()
            if found["seconds"] or found["pieces"]
        ),
        never_dropped=tuple(
            REASONS[name] for name, found in dropped.items() if not found["seconds"] and not found["pieces"]
        ),
        rules=tuple(
            Rule(find, hits["total"], ", ".join(key for key in sorted(hits) if key != "total" and hits[key]))
            for find, hits in sorted(rules.items(), key=lambda rule: (-rule[1]["total"], rule[0]))
            if hits["total"]
        ),
        unused=tuple(corrections.get("never_fired", ())),
        corrected=corrections.get("total", 0),
    )
