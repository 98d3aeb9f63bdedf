"""Which clips have nothing to hear in them."""

import numpy as np

MIN_SECONDS = 0.3  # shorter than any sentence: such a clip counts as empty
MIN_PEAK = 1e-3  # -60 dBFS: below, a clip counts as silent, that is, as empty


def is_empty(samples: np.ndarray, rate: int) -> bool:
    """Whether a clip (n,) is too short or too quiet to hold speech; n may be 0. Sound that is not a number is none."""
    return len(samples) < MIN_SECONDS * rate or not np.isfinite(samples).all() or bool(np.abs(samples).max() < MIN_PEAK)
