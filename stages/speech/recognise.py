"""Speech to text: one recogniser over two engines, faster-whisper and openai-whisper.

A recording is cut in its pauses into pieces that fit Whisper's window (stages.speech.pieces), so both engines hear the
same; each piece is decoded by itself, and its times are moved back to where it stood.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from stages.files.settings import Settings
from stages.speech.engine import RATE, Decoding, Engine
from stages.speech.package_weights import PREFIX
from stages.speech.pieces import speech_pieces
from stages.speech.transcript import EngineInfo, Segment, Transcript, join, tidy

EngineName = Literal["faster-whisper", "openai-whisper"]
Temperature = Annotated[float, Field(ge=0, le=1)]


class RecogniserSettings(Settings):
    """The section `transcribe` of params.yaml."""

    engine: EngineName
    model: Annotated[str, Field(min_length=1)]
    language: str | None  # Whisper's code; null: find it out from the first piece of speech
    prompt: str | None
    temperature: Temperature | Annotated[list[Temperature], Field(min_length=1)]
    beam_size: Annotated[int, Field(ge=1)]
    vad: bool


class Recogniser:
    """Transcribes samples at 16 kHz with an engine."""

    def __init__(self, engine: Engine, model: str, language: str | None, vad: bool = True):
        self.engine, self.model, self.language, self.vad = engine, model, language, vad

    def transcribe(self, samples: np.ndarray, progress: Callable[[float], None] = lambda seconds: None) -> Transcript:
        """Transcribe `samples` (float32, one channel, 16 kHz). `progress` is told how many seconds are done, in all.

        The transcript has no segments when nobody speaks.
        """
        duration = len(samples) * 1000 // RATE / 1000
        segments: list[Segment] = []
        language = self.language
        for start, end in speech_pieces(samples) if self.vad else whole(samples):
            found, decoded = self.engine.decode(samples[start:end], language)
            language = language or found
            for segment in decoded:
                segments.append(moved(segment, start / RATE, end / RATE))
                progress(segments[-1].end)
            progress(end / RATE)
        progress(duration)
        segments = tidy(segments, duration)
        return Transcript(
            text=join(segments),
            language=language or "",
            duration=duration,
            engine=EngineInfo(name=self.engine.name, version=self.engine.version, model=public_name(self.model)),
            segments=segments,
        )

    def text(self, samples: np.ndarray) -> str:
        """What is said in `samples` (float32, 16 kHz); empty when nothing is."""
        return self.transcribe(samples).text


def make_recogniser(
    engine: EngineName,
    model: str,
    language: str | None,
    prompt: str | None = None,
    temperature: float | Sequence[float] = 0.0,
    beam_size: int = 5,
    vad: bool = True,
    words: bool = True,
) -> Recogniser:
    """Load an engine with a model: package:<name>, a path, or a name that the engine downloads.

    On a GPU when one is here. Raises Problem with a remedy when the model cannot be had.
    """
    several = temperature if isinstance(temperature, (int, float)) else tuple(temperature)
    decoding = Decoding(prompt, several, beam_size, words)
    # Imported where chosen: each brings a large library.
    if engine == "faster-whisper":
        from stages.speech.faster_whisper_engine import FasterWhisper as chosen
    else:
        from stages.speech.openai_whisper_engine import OpenaiWhisper as chosen
    return Recogniser(chosen(model, decoding), model, language, vad)


def whole(samples: np.ndarray) -> list[tuple[int, int]]:
    return [(0, len(samples))] if len(samples) else []


def moved(segment: Segment, by: float, limit: float) -> Segment:
    """`segment` later by `by` seconds; no time in it passes `limit`, the end of its piece."""

    def shift(part):
        return part.model_copy(update={"start": min(part.start + by, limit), "end": min(part.end + by, limit)})

    return shift(segment.model_copy(update={"words": [shift(word) for word in segment.words]}))


def public_name(model: str) -> str:
    """The model as a transcript names it: no folders of this machine."""
    return model if model.startswith(PREFIX) or not Path(model).expanduser().exists() else Path(model).name
