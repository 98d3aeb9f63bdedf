"""What one clip sounds like: the text heard, the voice, pitch, pace and loudness. Each clip is listened to once."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import soxr
import torch

from stages.csm.codec import SAMPLING_RATE
from stages.files.atomic import write_json
from stages.scoring.empty import is_empty
from stages.scoring.prosody import loudness, pitch, speech_seconds
from stages.scoring.speaker import SpeakerEncoder
from stages.scoring.store import Store, code_digest

RATE = 16_000  # what the recogniser and the speaker encoder take


class Recogniser(Protocol):
    def text(self, samples: np.ndarray) -> str:
        """What is said in a clip (n,) float32 at 16 kHz."""


@dataclass(frozen=True)
class Heard:
    """Measured from the sound alone. An empty clip has no text, no voice and no pitch."""

    seconds: float
    empty: bool
    text: str = ""
    embedding: list[float] | None = None
    speech_seconds: float = 0.0
    pitch_hz: float | None = None
    pitch_spread_st: float | None = None
    loudness_lufs: float | None = None


class Listener:
    """Listens to clips and remembers, in the store, what it heard."""

    def __init__(self, recogniser: Recogniser, recogniser_name: str, encoder: SpeakerEncoder, store: Store):
        self.recogniser, self.encoder, self.store = recogniser, encoder, store
        code = code_digest(
            "stages.speech",
            "stages.scoring.empty",
            "stages.scoring.listen",
            "stages.scoring.prosody",
            "stages.scoring.speaker",
        )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.made_by = {"recogniser": recogniser_name, "encoder": encoder.name, "device": device, "code": code}

    def listen(self, samples: np.ndarray) -> Heard:
        """Measure a clip (n,) float32 at 24 kHz; n may be 0. Sound that is not a number counts as empty."""
        sound = hashlib.sha256(samples.tobytes()).hexdigest()
        path = self.store.path("heard", self.made_by | {"sound": sound}, ".json")
        if not path.exists():
            write_json(path, asdict(self._measure(samples)))
        return Heard(**json.loads(path.read_text()))  # read back, so that a resumed run has the same digits

    def _measure(self, samples: np.ndarray) -> Heard:
        seconds = len(samples) / SAMPLING_RATE
        if is_empty(samples, SAMPLING_RATE):
            return Heard(seconds, empty=True)
        low = soxr.resample(samples, SAMPLING_RATE, RATE)
        median, spread = pitch(low, RATE)
        return Heard(
            seconds=seconds,
            empty=False,
            text=self.recogniser.text(low).strip(),
            embedding=self.encoder.embed(low).tolist(),
            speech_seconds=speech_seconds(low, RATE),
            pitch_hz=median,
            pitch_spread_st=spread,
            loudness_lufs=loudness(samples, SAMPLING_RATE),
        )
