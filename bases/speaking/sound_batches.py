"""Random pieces of speech for training the codec, with the analytic latents of their frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch

from bases.speaking.acoustics import HOP, RATE, STACK, WINDOW, log_mel
from bases.speaking.analytic import Analytic
from bases.speaking.utterances import held_out, read_shard
from stages.process.problem import Problem

FRAME_SAMPLES = HOP * STACK
FRAMES_BEFORE = 1 + -(-WINDOW // FRAME_SAMPLES)  # heard before a piece: its first latent depends on them
BEFORE = FRAMES_BEFORE * FRAME_SAMPLES
RESAMPLED, RESAMPLED_BY = 0.5, 0.18  # share of the pieces, and the largest logarithm: larger and smaller speakers


@dataclass(frozen=True, eq=False)
class Pieces:
    """`sound` (batch, BEFORE + samples); `latent` (batch, frames, numbers) and `codes` (batch, frames, codebooks) of
    the samples, without those of the frames before."""

    sound: torch.Tensor
    latent: torch.Tensor
    codes: torch.Tensor


def read_speech(folder: Path) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
    """Samples int16 by voice: those to train on and those held out."""
    voices: dict[str, tuple[list, list]] = {}
    for path in sorted(folder.glob("*/*.npz")):
        for utterance in read_shard(path):
            train, kept = voices.setdefault(path.parent.name, ([], []))
            (kept if held_out(utterance.text) else train).append(utterance.samples)
    if not voices:
        raise Problem(f"{folder}: no speech; run the stage synthesise first")
    return voices


def latents(analytic: Analytic, sound: torch.Tensor) -> torch.Tensor:
    """Analytic latents (batch, frames, numbers) of sound (batch, BEFORE + samples), for the samples alone."""
    mels = log_mel(sound)
    return torch.stack([analytic.latent(mel.numpy())[FRAMES_BEFORE:] for mel in mels])


class Sampler:
    """Draws pieces: every voice alike, at any offset, a little louder or softer, some of them resampled."""

    def __init__(self, voices: dict[str, list[np.ndarray]], analytic: Analytic, frames: int, seed: int):
        self.names, self.voices, self.analytic, self.frames = sorted(voices), voices, analytic, frames
        self.random = np.random.default_rng(seed)

    def piece(self) -> np.ndarray:
        """(BEFORE + frames * 1920,) float32; speech that is too short has silence after it."""
        draw = self.random
        clips = self.voices[self.names[draw.integers(len(self.names))]]
        clip = clips[draw.integers(len(clips))]
        factor = float(np.exp(draw.uniform(-RESAMPLED_BY, RESAMPLED_BY))) if draw.random() < RESAMPLED else 1.0
        wanted = BEFORE + self.frames * FRAME_SAMPLES
        taken = int(wanted * factor) + 32
        start = int(draw.integers(-BEFORE, max(1 - BEFORE, len(clip) - int(0.6 * self.frames * FRAME_SAMPLES))))
        part = clip[max(0, start) : max(0, start) + taken].astype(np.float32) / 32768
        part = np.pad(part, (max(0, -start), 0))
        if factor != 1.0:
            part = soxr.resample(part, RATE * factor, RATE).astype(np.float32)
        part = np.pad(part[:wanted], (0, max(0, wanted - len(part))))
        return part * np.float32(np.exp(draw.uniform(-0.5, 0.25)))

    def batch(self, size: int) -> Pieces:
        sound = torch.from_numpy(np.stack([self.piece() for _ in range(size)]))
        latent = latents(self.analytic, sound)
        codes = self.analytic.quantise(latent.flatten(0, 1)).reshape(size, self.frames, -1)
        return Pieces(sound, latent, torch.from_numpy(codes.astype(np.int64)))
