"""Learnt, or learnt by heart? What test texts share with train texts, and generated sound with train sound."""

from collections.abc import Mapping, Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from stages.speech.splitting import LEAK_WORDS, normal_words

FIRST_SIGN = 0x100  # codes become characters from here on, clear of the surrogates
AT_ONCE = 64  # clips compared with all of train together: bounds the memory


def word_runs(words: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[first : first + length]) for first in range(len(words) - length + 1)}


def longest_shared_run(texts: Sequence[Sequence[str]], train: Sequence[Sequence[str]]) -> int:
    """The length of the longest run of words that some text has in common with some train text."""
    low, high = 0, max(map(len, texts), default=0)
    while low < high:  # a run that is shared has shorter ones that are, too
        middle = (low + high + 1) // 2
        known = set().union(*(word_runs(words, middle) for words in train))
        if any(word_runs(words, middle) & known for words in texts):
            low = middle
        else:
            high = middle - 1
    return low


def text_overlap(texts: Sequence[str], train: Sequence[str]) -> dict[str, int | float]:
    """Test texts beside train texts, without case and punctuation. Counts of texts, a share, and a number of words."""
    spoken, trained = [normal_words(text) for text in texts], [normal_words(text) for text in train]
    known = set().union(*(word_runs(words, LEAK_WORDS) for words in trained))
    runs = [word_runs(words, LEAK_WORDS) for words in spoken]
    whole = {tuple(words) for words in trained}
    shared = [len(of_text & known) for of_text in runs]
    return {
        "texts": len(texts),
        "repeated_texts": sum(tuple(words) in whole for words in spoken),
        f"texts_sharing_{LEAK_WORDS}_words": sum(count > 0 for count in shared),
        f"shared_{LEAK_WORDS}_word_runs": sum(shared) / max(1, sum(map(len, runs))),
        "longest_shared_run": longest_shared_run(spoken, trained),
    }


def as_signs(codes: np.ndarray) -> str:
    """The first codebook of a clip (frames, codebooks), which carries what is said, as characters."""
    return "".join(map(chr, (codes[:, 0].astype(int) + FIRST_SIGN).tolist()))


def nearest(clips: Sequence[np.ndarray], train: Sequence[np.ndarray]) -> float | None:
    """The smallest edit distance of any clip to any train row, per frame of the longer one: 0 is a copy.

    clips, train: codes (frames, codebooks). None when either has none with frames. How far sound that is no copy lies
    depends on the codec: recordings that were not trained on show it.
    """
    spoken, trained = [as_signs(codes) for codes in clips if len(codes)], [as_signs(codes) for codes in train]
    if not spoken or not trained:
        return None
    parts = (spoken[start : start + AT_ONCE] for start in range(0, len(spoken), AT_ONCE))
    scorer = Levenshtein.normalized_distance
    return min(float(cdist(part, trained, scorer=scorer, dtype=np.float32, workers=-1).min()) for part in parts)


def overlap(
    texts: Sequence[str],
    codes: Mapping[str, Sequence[np.ndarray]],
    train_texts: Sequence[str],
    train_codes: Sequence[np.ndarray],
) -> dict[str, int | float]:
    """Figures for a report. `codes`: condition -> codes of its clips, among them those of the recordings."""
    distances = {f"nearest_{condition}": nearest(clips, train_codes) for condition, clips in codes.items()}
    known = {name: round(distance, 4) for name, distance in distances.items() if distance is not None}
    return {name: round(value, 4) for name, value in text_overlap(texts, train_texts).items()} | known
