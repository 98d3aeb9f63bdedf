"""How was it said? Pitch, pace and loudness of a clip, from the sound alone."""

import unicodedata
import warnings
from itertools import groupby

import librosa
import numpy as np
import pyloudnorm

PITCH_RANGE = (60.0, 500.0)  # Hz
PITCH_FRAME, PITCH_HOP = 1024, 320  # samples at 16 kHz: 64 ms, 20 ms
SPEECH_FRAME = 0.02  # s
SPEECH_DROP = 30.0  # dB below the clip's loud frames (95th percentile) that still counts as speech
PAUSE = 0.2  # s: shorter gaps are part of speech (stop consonants)
VOWELS = set("aeiouyæœø")


def pitch(samples: np.ndarray, rate: int = 16_000) -> tuple[float, float] | tuple[None, None]:
    """Median (Hz) and spread (semitones) of the pitch of the voiced frames of a clip (n,); None when there are none.

    pYIN (Mauch and Dixon 2014). Spread is half the distance between the 16th and the 84th percentile: the standard
    deviation of a normal distribution, but deaf to single octave errors.
    """
    low, high = PITCH_RANGE
    found, voiced, _ = librosa.pyin(
        samples, fmin=low, fmax=high, sr=rate, frame_length=PITCH_FRAME, hop_length=PITCH_HOP, resolution=0.1
    )
    hertz = found[voiced]
    if len(hertz) < 3:
        return None, None
    quiet, loud = np.percentile(12 * np.log2(hertz), [16, 84])
    return float(np.median(hertz)), float((loud - quiet) / 2)


def speech_seconds(samples: np.ndarray, rate: int = 16_000) -> float:
    """Seconds of a clip (n,) in which someone speaks: its loud frames, and gaps between them shorter than PAUSE."""
    size = round(SPEECH_FRAME * rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    power = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    if not len(power) or np.percentile(power, 95) < -60:
        return 0.0
    loud = power > np.percentile(power, 95) - SPEECH_DROP
    runs = [(is_loud, len(list(run))) for is_loud, run in groupby(loud)]
    spoken = 0
    for place, (is_loud, length) in enumerate(runs):
        inside = 0 < place < len(runs) - 1
        if is_loud or (inside and length * SPEECH_FRAME < PAUSE):
            spoken += length
    return spoken * SPEECH_FRAME


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
