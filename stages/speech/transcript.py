"""A transcript: Whisper's own JSON (segments, words with times and probabilities), checked on reading and writing.

A word keeps Whisper's leading space (" Dr.", and "-known" without one), so that the words of a segment joined are its
text. Times are seconds from the start of the recording, in order and within its duration.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stages.files.atomic import write_json
from stages.files.settings import parse
from stages.process.problem import Problem

KEY = re.compile(r"[A-Za-z0-9_-]+")
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Score = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    # More keys than these are let through and not kept: Whisper's own files have `tokens` and `seek`.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Word(Part):
    word: str
    start: Seconds
    end: Seconds
    probability: Score


class Segment(Part):
    """A stretch of speech. `words` is empty when the recogniser gave no word times."""

    id: int
    start: Seconds
    end: Seconds
    text: str
    temperature: Score | None = None
    avg_logprob: Score
    compression_ratio: Score
    no_speech_prob: Score
    words: list[Word] = []


class EngineInfo(Part):
    name: str
    version: str
    model: str


class Correction(Part):
    """How often a replacement rule changed something."""

    find: str
    replace: str
    hits: int


class Transcript(Part):
    text: str
    language: str
    duration: Seconds
    engine: EngineInfo
    segments: list[Segment]
    corrections: list[Correction] | None = None  # by the rules of data/replacements.yaml, once they were applied

    @model_validator(mode="after")
    def in_order(self):
        last = 0.0
        for segment in self.segments:
            if not last <= segment.start <= segment.end <= self.duration:
                raise ValueError(f"segment {segment.id} ({segment.start}-{segment.end} s) is not in order of time")
            last = segment.start
            for word in segment.words:
                if not last <= word.start <= word.end <= segment.end:
                    raise ValueError(f"{word.word!r} in segment {segment.id} is not in order of time")
                last = word.end
            last = segment.end
        return self

    @property
    def words(self) -> list[Word]:
        return [word for segment in self.segments for word in segment.words]


def text_of(words: Sequence[Word]) -> str:
    """What the words say, with single spaces."""
    return " ".join("".join(word.word for word in words).split())


def tidy(segments: Iterable[Segment], duration: float) -> list[Segment]:
    """Segments as an engine gives them, made fit for a Transcript: numbered, times in ms, in order and in range.

    Whisper's word times may overlap by hundredths of a second or pass the end; a word then begins where the one
    before it ends. Segments without text, which Whisper leaves where it changed its mind, are left out.
    """
    tidied: list[Segment] = []
    cursor = 0.0

    def place(start: float, end: float) -> tuple[float, float]:
        start = min(max(start, cursor), duration)
        return round(start, 3), round(min(max(end, start), duration), 3)

    for segment in segments:
        if not segment.text.strip():
            continue
        words = []
        for word in segment.words:
            start, cursor = place(word.start, word.end)
            words.append(word.model_copy(update={"start": start, "end": cursor}))
        if words:
            start, text = words[0].start, text_of(words)
        else:
            start, cursor = place(segment.start, segment.end)
            text = " ".join(segment.text.split())
        times = {"id": len(tidied), "start": start, "end": cursor, "text": text, "words": words}
        tidied.append(segment.model_copy(update=times))
    return tidied


def join(segments: Iterable[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def transcript_path(folder: str | Path, key: str) -> Path:
    """`folder`/`key`.json. Raises Problem for a key that is no plain name."""
    return Path(folder) / f"{check_key(key)}.json"


def check_key(key: str) -> str:
    if not KEY.fullmatch(key):
        raise Problem(f"{key!r} is not the key of a recording; give one of data/sources.yaml")
    return key


def read_transcript(path: str | Path) -> Transcript:
    """Read and check a transcript. Raises Problem if it is missing or damaged."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem(f"{path}: no such file; run `dvc repro` (or `dvc pull`) first") from None
    except ValueError as error:
        raise Problem(f"{path}: not JSON ({error}); remove it and run `dvc repro`") from None
    return parse(Transcript, content, str(path))


def write_transcript(path: str | Path, transcript: Transcript) -> None:
    write_json(path, transcript.model_dump(exclude_none=True))
