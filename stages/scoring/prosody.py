"""How was it said? Pitch, pace and loudness of a clip, from the sound alone."""

import unicodedata
import warnings
from dataclasses import dataclass
from itertools import groupby

import librosa
import numpy as np
import pyloudnorm

PITCH_RANGE = (60.0, 500.0)  # Hz
PITCH_FRAME, PITCH_HOP = 1024, 320  # samples at 16 kHz: 64 ms, 20 ms
SPEECH_FRAME = 0.02  # s
SPEECH_DROP = 30.0  # dB below the clip's loud frames (95th percentile) that still counts as speech
PAUSE = 0.2  # s: shorter gaps are part of speech (stop consonants)
QUIET = -60.0  # dBFS: a clip whose loud frames are quieter holds no speech
VOWELS = set("aeiouyæœø")


@dataclass(frozen=True)
class Phrasing:
    """How a clip is divided into speech and silence, in seconds."""

    speech_seconds: float  # loud frames, and gaps between them shorter than PAUSE
    pause_share: float | None  # of the time from first to last speech; None where nobody speaks
    longest_pause: float  # between speech and speech; 0 where there is none
    trailing_silence: float  # after the last speech; all of the clip where nobody speaks


def pitch_track(samples: np.ndarray, rate: int = 16_000) -> np.ndarray:
    """Pitch (Hz) of a clip (n,), one value every 20 ms; nan where nothing is voiced. pYIN (Mauch and Dixon 2014)."""
    low, high = PITCH_RANGE
    found, voiced, _ = librosa.pyin(
        samples, fmin=low, fmax=high, sr=rate, frame_length=PITCH_FRAME, hop_length=PITCH_HOP, resolution=0.1
    )
    return np.where(voiced, found, np.nan)


def pitch(track: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Median (Hz) and spread (semitones) of the voiced frames of a pitch track; None when there are hardly any.

    Spread is half the distance between the 16th and the 84th percentile: the standard deviation of a normal
    distribution, but deaf to single octave errors.
    """
    hertz = track[~np.isnan(track)]
    if len(hertz) < 3:
        return None, None
    quiet, loud = np.percentile(12 * np.log2(hertz), [16, 84])
    return float(np.median(hertz)), float((loud - quiet) / 2)


def phrasing(samples: np.ndarray, rate: int = 16_000) -> Phrasing:
    """Speech and pauses of a clip (n,). A frame is loud when it is less than SPEECH_DROP below the clip's loud ones."""
    size = round(SPEECH_FRAME * rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    power = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    loudest = np.percentile(power, 95) if len(power) else -np.inf
    if loudest < QUIET:
        return Phrasing(0.0, None, 0.0, len(samples) / rate)
    loud = np.flatnonzero(power > loudest - SPEECH_DROP)
    gaps = (np.diff(loud) - 1) * SPEECH_FRAME
    pauses = gaps[gaps > PAUSE - SPEECH_FRAME / 2]  # whole frames: half of one tells apart what rounding blurs
    last = int(loud[-1]) + 1
    whole = (last - int(loud[0])) * SPEECH_FRAME
    return Phrasing(
        speech_seconds=whole - float(pauses.sum()),
        pause_share=float(pauses.sum()) / whole,
        longest_pause=float(pauses.max(initial=0.0)),
        trailing_silence=len(samples) / rate - last * SPEECH_FRAME,
    )


def syllables(text: str) -> int:
    """Roughly how many syllables a text has: groups of vowels in each word, without a silent e; a digit counts one.

    Good for comparing clips with recordings measured in the same way, in languages of the Latin alphabet; 0 in others.
    """
    return sum(_syllables(word) for word in text.lower().split())


def _syllables(word: str) -> int:
    signs = unicodedata.normalize("NFC", word)
    letters = "".join(sign for sign in signs if sign.isalpha())
    groups = sum(1 for vowel, _ in groupby(letters, key=_is_vowel) if vowel)
    return groups + sum(sign.isdigit() for sign in signs) - (groups > 1 and _ends_in_silent_e(letters))


def _is_vowel(letter: str) -> bool:
    return unicodedata.normalize("NFKD", letter)[0] in VOWELS  # without its accent


def _ends_in_silent_e(letters: str) -> bool:
    if not letters.endswith("e") or _is_vowel(letters[-2]):
        return False
    return not (letters[-2] == "l" and not _is_vowel(letters[-3]))  # "table" has two syllables, "whole" one


def loudness(samples: np.ndarray, rate: int) -> float | None:
    """Integrated loudness (LUFS, ITU-R BS.1770-4) of a clip (n,); None below 0.4 s, which the standard needs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the logarithm of silence
            found = float(pyloudnorm.Meter(rate).integrated_loudness(samples))
    except ValueError:
        return None
    return found if np.isfinite(found) else None
