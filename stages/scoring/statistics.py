"""How sure is a figure? Intervals and tests for clips that come in texts, each spoken with several seeds.

Clips of one text resemble each other, so the text is the unit that is drawn, flipped and counted: intervals over clips
as if they were independent would be too narrow. All draws are seeded: the same clips give the same numbers.
"""

from collections.abc import Iterator, Sequence

import numpy as np

LEVEL = 0.95  # of every interval
Z = 1.959963984540054  # the normal distribution's quantile at (1 + LEVEL) / 2
AT_ONCE = 200_000  # values drawn together: they fit a processor's cache, which is twice as fast as all at once


def wilson(successes: int, total: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927), good for few trials and rates near 0 or 1; 0 to 1 when nothing was tried.

    Raises ValueError when there are more successes than trials, or fewer than none.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} successes of {total}")
    if total == 0:
        return 0.0, 1.0
    rate, noise = successes / total, Z**2 / total
    middle = (rate + noise / 2) / (1 + noise)
    half = np.sqrt(rate * (1 - rate) * noise + noise**2 / 4) / (1 + noise)
    low = 0.0 if successes == 0 else float(middle - half)
    return low, 1.0 if successes == total else float(middle + half)


def bootstrap(errors: np.ndarray, weights: np.ndarray, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of sum(errors) / sum(weights), by drawing texts, then seeds within each drawn text.

    errors, weights: (texts, seeds); nan is no value, in either. With weights of 1 the figure is a mean. A drawn text
    brings as many clips as it has values; a text without any is not drawn. Both low and high are nan for fewer than two
    texts, which tell nothing about other texts.

    Drawing the seeds too is careful: where all variance is between seeds, the interval of three seeds is 29 % wider
    than it need be (Davison and Hinkley 1997, 3.8). Percentiles are narrow with few texts: with ten they hold the true
    mean about 90 % of the time, with thirty 93 %. No width at all says that no clip differed, not that none can.
    """
    errors, weights, counts = _values_first(errors, weights)
    if len(counts) < 2:
        return np.nan, np.nan
    found = np.concatenate(list(_resampled(errors, weights, counts, resamples, np.random.default_rng(seed))))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _values_first(errors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both arrays with the values of each text in front and 0 behind, and how many values each has; no empty texts."""
    errors, weights = (np.asarray(array, np.float64) for array in (errors, weights))
    valid = ~np.isnan(errors) & ~np.isnan(weights)
    order = np.argsort(~valid, axis=1, kind="stable")
    errors, weights = (np.take_along_axis(np.where(valid, array, 0.0), order, axis=1) for array in (errors, weights))
    counts = valid.sum(axis=1)
    kept = counts > 0
    return errors[kept], weights[kept], counts[kept]


def _resampled(errors, weights, counts, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The figure of each resample, some at a time."""
    texts, seeds = errors.shape
    errors, weights, even = errors.ravel(), weights.ravel(), bool((counts == seeds).all())
    at_once = max(1, AT_ONCE // (texts * seeds))
    for start in range(0, resamples, at_once):
        drawn = rng.integers(0, texts, (min(at_once, resamples - start), texts), dtype=np.int32)
        size = counts.astype(np.float32)[drawn][:, :, None]
        # uniform numbers below 1, rounded down: below `size`, in this precision too
        places = (rng.random((*drawn.shape, seeds), np.float32) * size).astype(np.int32) + (drawn * seeds)[:, :, None]
        clips, clip_weights = errors[places], weights[places]
        if not even:
            real = np.arange(seeds) < size
            clips, clip_weights = clips * real, clip_weights * real
        yield clips.sum(axis=(1, 2)) / clip_weights.sum(axis=(1, 2))


def paired_difference(
    first: np.ndarray, second: np.ndarray, weights: np.ndarray, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """The difference second - first of two such figures, and its 95 % interval, low and high.

    first, second, weights: (texts, seeds), the same texts and seeds, so that what makes a text hard cancels out. A clip
    with no value in one of them counts in neither. Difference nan: no pair; low and high nan: fewer than two texts.
    """
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    weights = np.asarray(weights, np.float64)
    valid = ~np.isnan(difference) & ~np.isnan(weights)
    total = weights[valid].sum()
    found = float(difference[valid].sum() / total) if total else np.nan
    return found, *bootstrap(difference, weights, resamples, seed)


def permutation(differences: np.ndarray, permutations: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of a mean difference of zero: how often random signs of the differences (n,) reach as far.

    One difference per text; nan is left out. Exact when there are no more than `permutations` ways to give signs, else
    by random draws, of which the observed one counts as one, so that p is never 0 (Phipson and Smyth 2010). 1 for
    nothing.
    """
    differences = np.asarray(differences, np.float64)
    differences = differences[~np.isnan(differences)]
    count, rng = len(differences), np.random.default_rng(seed)
    exact = 2**count <= permutations
    total, draws = differences.sum(), 2**count if exact else permutations
    reached = abs(total) - 1e-9 * np.abs(differences).sum()  # equal sums may differ in their last digits
    at_once, hits = max(1, AT_ONCE // max(count, 1)), 0
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        if exact:
            flips = np.arange(start, start + size)[:, None] >> np.arange(count) & 1
        else:
            flips = rng.integers(0, 2, (size, count), dtype=np.int8)
        hits += int((np.abs(total - 2 * (flips.astype(np.float64) @ differences)) >= reached).sum())
    return hits / draws if exact else (hits + 1) / (draws + 1)


def holm(p: Sequence[float]) -> list[float]:
    """p values of one family, corrected for their number (Holm 1979), in the order given; at most 1."""
    found, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        least = max(least, min(1.0, (len(p) - rank) * p[place]))
        found[place] = least
    return found


def equal_error_rate(genuine: Sequence[float], impostors: Sequence[float]) -> tuple[float, float]:
    """The threshold at which as many genuine scores fall below it as impostors' reach it, and that share.

    Tried are the middles between neighbouring scores; where none makes the shares equal, the one with the nearest
    shares, and their mean. Both are nan when either has no score.
    """
    genuine, impostors = (np.sort(np.asarray(scores, np.float64)) for scores in (genuine, impostors))
    genuine, impostors = genuine[~np.isnan(genuine)], impostors[~np.isnan(impostors)]
    if not len(genuine) or not len(impostors):
        return np.nan, np.nan
    scores = np.unique(np.concatenate([genuine, impostors]))
    tried = (scores[1:] + scores[:-1]) / 2 if len(scores) > 1 else scores
    refused = np.searchsorted(genuine, tried, side="left") / len(genuine)
    accepted = 1 - np.searchsorted(impostors, tried, side="left") / len(impostors)
    best = np.lexsort((refused + accepted, np.abs(refused - accepted)))[0]
    return float(tried[best]), float((refused[best] + accepted[best]) / 2)
