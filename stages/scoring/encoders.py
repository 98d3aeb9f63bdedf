"""Which speaker encoder measures similarity: the one that comes in a package, or an x-vector model of transformers.

Cosines of two encoders have nothing to do with each other, so one encoder measures everything of a run, and its name
stands beside every figure.
"""

from threading import Lock
from typing import Protocol

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioXVector

from stages.process.problem import Problem
from stages.scoring.speaker import SAMPLING_RATE, SpeakerEncoder, unit
from stages.speech.pretrained import loaded, loaded_model, public_name

GE2E = "ge2e"
KEY = "evaluate.speaker_encoder"
SHORTEST = SAMPLING_RATE  # samples: a shorter clip is said again, since the convolutions over time need some length
LONGEST = 10 * SAMPLING_RATE  # samples: a longer clip is heard in equal parts, as these models were trained on


class Encoder(Protocol):
    """Clips to unit vectors, the same length for all; the cosine of two is their similarity."""

    name: str

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """Unit vector (size,) float32 of a clip (n,) float32 at 16 kHz."""


class XVector:
    """A transformers model with an x-vector head (WavLM, UniSpeech-SAT, Wav2Vec2, ...), such as wavlm-base-plus-sv."""

    def __init__(self, model: str):
        """`model`: a hub name or a folder. Raises Problem when it cannot be had or has no such head."""
        self.extractor = loaded(AutoFeatureExtractor, model, KEY)
        if self.extractor.sampling_rate != SAMPLING_RATE:
            rate = self.extractor.sampling_rate
            raise Problem(f"{KEY}: {model!r}: takes sound at {rate} Hz, not at {SAMPLING_RATE}; give another encoder")
        self.network = loaded_model(AutoModelForAudioXVector, model, KEY)
        self.name = f"{type(self.network).__name__} ({public_name(model, self.network.config)})"
        self.lock = Lock()  # one clip at a time: GPU memory

    @torch.inference_mode()
    def embed(self, samples: np.ndarray) -> np.ndarray:
        samples = np.tile(samples, -(-SHORTEST // len(samples)))
        parts = np.array_split(samples, -(-len(samples) // LONGEST))
        with self.lock:
            return unit(np.mean([self._part(part) for part in parts], axis=0)).astype(np.float32)

    def _part(self, samples: np.ndarray) -> np.ndarray:
        inputs = self.extractor(samples, sampling_rate=SAMPLING_RATE, return_tensors="pt").to(self.network.device)
        return unit(self.network(**inputs).embeddings[0].float().cpu().numpy())


def load_encoder(name: str) -> Encoder:
    """ "ge2e", or the hub name or folder of an x-vector model. Raises Problem when it cannot be had."""
    return SpeakerEncoder.load() if name == GE2E else XVector(name)
