"""Log mel spectra at 100 frames a second that never look ahead, and a way back to sound without a trained model."""

import functools

import librosa
import numpy as np
import torch

RATE = 24_000
HOP = 240  # samples: 10 ms
WINDOW = 1024  # samples; a window ends where its frame ends
BANDS = 80
FLOOR = 0.01  # magnitudes below it are silence: they would take part of every code book
STACK = 8  # mel frames in a frame of codes: 80 ms, 1920 samples


@functools.cache
def filters() -> torch.Tensor:
    """(BANDS, WINDOW / 2 + 1): bands of equal area on the mel scale, 0 to 12 kHz."""
    bank = librosa.filters.mel(sr=RATE, n_fft=WINDOW, n_mels=BANDS, norm=None)
    with torch.inference_mode(False):  # whoever asks first: what is kept must serve training too
        return torch.from_numpy(bank / bank.sum(1, keepdims=True)).float()


def log_mel(samples: torch.Tensor) -> torch.Tensor:
    """(batch, samples) -> (batch, samples // HOP, BANDS) natural logarithms. Differentiable."""
    padded = torch.nn.functional.pad(samples, (WINDOW - HOP, 0))
    spectrum = torch.stft(padded, WINDOW, HOP, window=torch.hann_window(WINDOW), center=False, return_complex=True)
    magnitude = spectrum.abs().clamp(min=1e-7)
    return torch.log((filters() @ magnitude).clamp(min=FLOOR)).transpose(1, 2)


@torch.inference_mode()
def mel_of(sound: np.ndarray) -> np.ndarray:
    """(frames * STACK, BANDS) float32 of samples (n,): padded to whole frames of codes."""
    step = HOP * STACK
    padded = np.pad(sound, (0, -len(sound) % step))
    return log_mel(torch.from_numpy(padded)[None])[0].numpy()


@functools.cache
def _inverse() -> np.ndarray:
    return np.linalg.pinv(filters().numpy())


def griffin_lim(mel: np.ndarray, iterations: int = 32) -> np.ndarray:
    """Samples whose log mel (frames, BANDS) is about `mel`."""
    magnitude = np.maximum(_inverse() @ np.exp(mel.T), 0)
    sound = librosa.griffinlim(
        magnitude, n_iter=iterations, hop_length=HOP, win_length=WINDOW, n_fft=WINDOW, random_state=0, momentum=0.9
    )
    return sound.astype(np.float32)
