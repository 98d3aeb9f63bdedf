"""Mimi: sound to codes and back, always in float32 (in 16 bit most codes of the later codebooks change)."""

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

SAMPLING_RATE = 24_000
FRAME_SAMPLES = 1920
FRAME_SECONDS = FRAME_SAMPLES / SAMPLING_RATE  # 0.08 s: 12.5 frames a second


def frames_of(samples: int) -> int:
    """Number of codec frames of a clip; the last one may be padded."""
    return -(-samples // FRAME_SAMPLES)


def _batches(lengths: Sequence[int], batch_seconds: float) -> list[list[int]]:
    """Indices grouped by length, so that a padded batch holds at most `batch_seconds` of sound (or one clip)."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        longest = frames_of(lengths[index]) * FRAME_SECONDS
        if batches and (len(batches[-1]) + 1) * longest <= batch_seconds:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


@torch.inference_mode()
def encode(model, clips: Sequence[np.ndarray], batch_seconds: float = 60.0) -> list[np.ndarray]:
    """Codes (frames, codebooks) int16 of clips (samples,) float32 at 24 kHz.

    The codec is causal: zeros after a clip change no earlier frame, so a batch gives the codes of single clips - but
    for rounding: sums of another shape differ in the last bit, and where two centroids are equally near, that decides.
    A CPU gains little from a batch, so there each clip is encoded alone and its codes depend on nothing else.
    """
    codec = model.codec_model
    device = next(codec.parameters()).device
    batch_seconds = 0.0 if device.type == "cpu" else batch_seconds
    codes: list[np.ndarray] = [np.zeros((0, 0), np.int16)] * len(clips)
    full = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)  # a GPU's default rounds float32 to 10 bits
    with full, tqdm(total=len(clips), desc="codes", unit="clip") as bar:
        for batch in _batches([len(clip) for clip in clips], batch_seconds):
            frames = [frames_of(len(clips[index])) for index in batch]
            padded = np.zeros((len(batch), 1, max(frames) * FRAME_SAMPLES), np.float32)
            for place, index in enumerate(batch):
                padded[place, 0, : len(clips[index])] = clips[index]
            found = codec.encode(torch.from_numpy(padded).to(device)).audio_codes  # (batch, codebooks, frames)
            for place, index in enumerate(batch):
                codes[index] = found[place, :, : frames[place]].T.cpu().numpy().astype(np.int16)
            bar.update(len(batch))
    return codes


@torch.inference_mode()
def decode(model, codes: np.ndarray) -> np.ndarray:
    """Samples (frames * 1920,) float32 at 24 kHz of codes (frames, codebooks); no frames give no samples."""
    if len(codes) == 0:
        return np.zeros(0, np.float32)
    codec = model.codec_model
    device = next(codec.parameters()).device
    tensor = torch.from_numpy(np.ascontiguousarray(codes.T)).long()[None].to(device)
    return codec.decode(tensor).audio_values[0, 0].float().cpu().numpy()
