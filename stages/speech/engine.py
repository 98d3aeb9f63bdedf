"""What a speech recogniser's engine is: something that decodes one piece of sound."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stages.speech.transcript import Segment

RATE = 16_000  # Hz; Whisper hears nothing else


@dataclass(frozen=True)
class Decoding:
    """How to decode, the same for every engine.

    `temperature`: one number; or several, tried in turn when a text looks wrong to Whisper (repeats itself, or is
    improbable). `prompt`: text that Whisper takes for what was said before; names in it are spelt as there.
    """

    prompt: str | None = None
    temperature: float | tuple[float, ...] = 0.0
    beam_size: int = 5
    words: bool = True  # with the time of every word


class Engine(Protocol):
    name: str
    version: str

    def decode(self, samples: np.ndarray, language: str | None) -> tuple[str, Iterable[Segment]]:
        """The language of `samples` (float32 at 16 kHz; found out if None) and segments timed from their start."""
        ...
