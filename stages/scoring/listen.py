"""What one clip sounds like: the texts heard, the voice, pitch, phrasing and loudness. Each clip is heard once."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import soxr
import torch
from tqdm import tqdm

from stages.csm.codec import SAMPLING_RATE
from stages.files.atomic import write_json
from stages.scoring.empty import is_empty
from stages.scoring.encoders import Encoder
from stages.scoring.prosody import loudness, phrasing, pitch, pitch_track
from stages.scoring.quality import Quality
from stages.scoring.store import Store, code_digest

RATE = 16_000  # what recognisers, encoders and predictors take


class Recogniser(Protocol):
    def text(self, samples: np.ndarray) -> str:
        """What is said in a clip (n,) float32 at 16 kHz."""


class NamedRecogniser(Recogniser, Protocol):
    name: str


@dataclass(frozen=True)
class Heard:
    """Measured from the sound alone. An empty clip has no text, no voice and no pitch."""

    seconds: float
    empty: bool
    text: str = ""
    text_second: str | None = None  # by the second recogniser; None when there is none
    embedding: list[float] | None = None
    speech_seconds: float = 0.0
    pause_share: float | None = None  # of the time from first to last speech
    longest_pause: float = 0.0  # s
    trailing_silence: float = 0.0  # s
    pitch_hz: float | None = None
    pitch_spread_st: float | None = None
    pitch_track: list[float | None] = field(default_factory=list)  # Hz, 50 a second; None where nothing is voiced
    loudness_lufs: float | None = None
    quality: float | None = None  # the predictor's mark


class Listener:
    """Listens to clips and remembers, in the store, what it heard."""

    def __init__(
        self,
        recogniser: Recogniser,
        recogniser_name: str,
        encoder: Encoder,
        store: Store,
        second: NamedRecogniser | None = None,
        quality: Quality | None = None,
    ):
        self.recogniser, self.encoder, self.store = recogniser, encoder, store
        self.second, self.quality = second, quality
        self._locks: dict[Path, Lock] = {}
        device = "cuda" if torch.cuda.is_available() else "cpu"
        scoring = ("empty", "encoders", "listen", "prosody", "quality", "speaker")
        code = code_digest("stages.speech", *(f"stages.scoring.{name}" for name in scoring))
        self.voice_by = {"encoder": encoder.name, "device": device, "code": code}
        self.made_by = self.voice_by | {
            "recogniser": recogniser_name,
            "second": second and second.name,
            "quality": quality and quality.name,
        }

    def listen(self, samples: np.ndarray) -> Heard:
        """Measure a clip (n,) float32 at 24 kHz; n may be 0. Sound that is not a number counts as empty."""
        path = self.store.path("heard", self.made_by | _sound(samples), ".json")
        with self._locks.setdefault(path, Lock()):  # two clips may be the same sound, and then one file
            if not path.exists():
                write_json(path, asdict(self._measure(samples)))
        return Heard(**json.loads(path.read_text()))  # read back, so that a resumed run has the same digits

    def listen_all(
        self, loads: Sequence[Callable[[], np.ndarray]], label: str, workers: int | None = None
    ) -> list[Heard]:
        """`listen` to the clips that `loads` give, in their order, several at once; shows progress.

        The libraries that do the work let go of Python's lock; each clip is measured by itself, so that the number of
        workers (by default one per processor) changes no digit. An error in one clip ends all.
        """
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            waiting = [pool.submit(lambda load=load: self.listen(load())) for load in loads]
            try:
                return [one.result() for one in tqdm(waiting, desc=label, unit="clip")]
            finally:
                pool.shutdown(cancel_futures=True)

    def embed(self, samples: np.ndarray) -> np.ndarray | None:
        """The voice alone: unit vector of a clip (n,) float32 at 24 kHz; None when it is empty."""
        if is_empty(samples, SAMPLING_RATE):
            return None
        path = self.store.path("voices", self.voice_by | _sound(samples), ".json")
        if not path.exists():
            write_json(path, self.encoder.embed(soxr.resample(samples, SAMPLING_RATE, RATE)).tolist())
        return np.array(json.loads(path.read_text()))

    def _measure(self, samples: np.ndarray) -> Heard:
        seconds = len(samples) / SAMPLING_RATE
        if is_empty(samples, SAMPLING_RATE):
            return Heard(seconds, empty=True, text_second="" if self.second else None)
        low = soxr.resample(samples, SAMPLING_RATE, RATE)
        track = pitch_track(low, RATE)
        median, spread = pitch(track)
        return Heard(
            seconds=seconds,
            empty=False,
            text=self.recogniser.text(low).strip(),
            text_second=self.second.text(low).strip() if self.second else None,
            embedding=self.encoder.embed(low).tolist(),
            **asdict(phrasing(low, RATE)),
            pitch_hz=median,
            pitch_spread_st=spread,
            pitch_track=[None if np.isnan(hertz) else round(float(hertz), 1) for hertz in track],
            loudness_lufs=loudness(samples, SAMPLING_RATE),
            quality=self.quality.mark(low) if self.quality else None,
        )


def _sound(samples: np.ndarray) -> dict[str, str]:
    return {"sound": hashlib.sha256(samples.tobytes()).hexdigest()}
