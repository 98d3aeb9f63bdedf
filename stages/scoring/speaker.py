"""Whose voice is it? The GE2E speaker encoder, with the weights that the Resemblyzer package carries.

The model is that of Wan et al. 2018, "Generalized End-to-End Loss for Speaker Verification", as trained by Resemble AI.
The package is not imported (it needs a C extension that no longer builds everywhere); its front end is followed
to the number, but for its voice activity detection: clips here are cut to speech already.
"""

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import librosa
import numpy as np
import torch
from torch import nn

from stages.process.problem import Problem

SAMPLING_RATE = 16_000
HOP = 160  # samples: 10 ms
WINDOW = 400  # samples: 25 ms
MEL_BANDS = 40
PARTIAL_FRAMES = 160  # frames of one partial utterance: 1.6 s
PARTIAL_STEP = 77  # frames between two partials: 1.3 of them a second
MIN_COVERAGE = 0.75  # share of the last partial that must be sound, not padding
LOUDNESS_DBFS = -30.0  # quieter clips are raised to this


class SpeakerEncoder(nn.Module):
    """Clips to unit vectors (256,); the cosine of two is their similarity, all components are >= 0."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(MEL_BANDS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        self.name = f"GE2E (Resemblyzer {version('Resemblyzer')})"

    @classmethod
    def load(cls) -> "SpeakerEncoder":
        package = importlib.util.find_spec("resemblyzer")
        if package is None or package.origin is None:
            raise Problem("the package Resemblyzer is not installed; run `make install`")
        state = torch.load(Path(package.origin).parent / "pretrained.pt", map_location="cpu", weights_only=True)
        encoder = cls()
        encoder.load_state_dict({name: state["model_state"][name] for name in encoder.state_dict()})
        return encoder.eval().requires_grad_(False)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """mels (partials, 160, 40) -> unit vectors (partials, 256)."""
        _, (hidden, _) = self.lstm(mels)
        return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)

    @torch.inference_mode()
    def embed(self, samples: np.ndarray) -> np.ndarray:
        """Unit vector (256,) float32 of a clip (n,) float32 at 16 kHz: the mean over its partial utterances."""
        samples = raise_volume(samples)
        starts = partial_starts(len(samples))
        needed = (starts[-1] + PARTIAL_FRAMES) * HOP
        samples = np.pad(samples, (0, max(0, needed - len(samples))))
        mel = librosa.feature.melspectrogram(
            y=samples, sr=SAMPLING_RATE, n_fft=WINDOW, hop_length=HOP, n_mels=MEL_BANDS
        ).T.astype(np.float32)
        partials = np.stack([mel[start : start + PARTIAL_FRAMES] for start in starts])
        return unit(self(torch.from_numpy(partials)).numpy().mean(0))


def raise_volume(samples: np.ndarray) -> np.ndarray:
    """Raise a clip (n,) to LOUDNESS_DBFS; a louder one, or silence, stays as it is."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    if power == 0:
        return samples
    gain = LOUDNESS_DBFS - 10 * np.log10(power)
    return samples * np.float32(10 ** (gain / 20)) if gain > 0 else samples


def partial_starts(samples: int) -> list[int]:
    """First frames of the partial utterances of a clip of so many samples; always at least one."""
    frames = int(np.ceil((samples + 1) / HOP))
    starts = list(range(0, max(1, frames - PARTIAL_FRAMES + PARTIAL_STEP + 1), PARTIAL_STEP))
    covered = (samples - starts[-1] * HOP) / (PARTIAL_FRAMES * HOP)
    return starts[:-1] if covered < MIN_COVERAGE and len(starts) > 1 else starts


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def centroid(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """The unit vector (256,) of a speaker: the mean of some of their clips' vectors."""
    return unit(np.mean(embeddings, axis=0))
