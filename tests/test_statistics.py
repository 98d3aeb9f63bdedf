"""Intervals and tests, against scipy, textbook results and simulations."""

import math
import time

import numpy as np
import pytest
import scipy.stats

from stages.scoring.statistics import bootstrap, equal_error_rate, holm, paired_difference, permutation, wilson


def ones(array):
    return np.ones_like(np.asarray(array, float))


# Rates


@pytest.mark.parametrize(("successes", "total"), [(0, 1), (0, 20), (3, 20), (17, 17), (299, 300), (150, 300)])
def test_wilson_is_scipys(successes, total):
    theirs = scipy.stats.binomtest(successes, total).proportion_ci(method="wilson")
    assert wilson(successes, total) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_a_rate_of_nothing_may_be_anything():
    assert wilson(0, 0) == (0.0, 1.0)
    for successes, total in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match=f"{successes} successes of {total}"):
            wilson(successes, total)


# Bootstrap


def test_with_one_seed_the_interval_is_scipys_interval_of_a_mean():
    values = np.random.default_rng(3).gamma(2, 1, 40)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=1)
    low, high = bootstrap(values[:, None], ones(values[:, None]))
    tolerance = 0.02 * (high - low)
    assert low == pytest.approx(theirs.confidence_interval.low, abs=2 * tolerance)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=2 * tolerance)


def test_a_rate_is_drawn_with_its_weights():
    noise = np.random.default_rng(0)
    words = noise.integers(3, 30, (60, 1)).astype(float)
    errors = noise.binomial(words.astype(int), 0.2).astype(float)
    pairs = (errors[:, 0], words[:, 0])
    theirs = scipy.stats.bootstrap(
        pairs, lambda e, w, axis: e.sum(axis) / w.sum(axis), paired=True, method="percentile", rng=1, vectorized=True
    )
    low, high = bootstrap(errors, words)
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.003)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.003)


def test_clips_of_one_text_do_not_count_as_independent():
    texts = np.random.default_rng(1).normal(0, 1, (30, 1))
    alone, repeated = (bootstrap(np.repeat(texts, seeds, 1), np.ones((30, seeds))) for seeds in (1, 3))
    assert repeated == pytest.approx(alone, abs=0.03)  # three copies of a text tell no more than one


def test_seeds_are_drawn_within_their_text():
    seeds = np.tile(np.random.default_rng(1).normal(0, 1, 3), (200, 1))  # texts alike: only the seeds differ
    low, high = bootstrap(seeds, ones(seeds))
    by_theory = 2 * 1.96 * seeds[0].std() / math.sqrt(600)
    assert high - low == pytest.approx(by_theory, rel=0.05)


def test_values_that_are_missing_are_not_drawn():
    noise = np.random.default_rng(5)
    values = noise.normal(10, 1, (40, 3))
    values[noise.random((40, 3)) < 0.3] = np.nan
    values[7] = np.nan  # a text without any
    low, high = bootstrap(values, ones(values))
    assert low < np.nanmean(values) < high and 9 < low and high < 11
    assert bootstrap(np.delete(values, 7, 0), np.ones((39, 3))) == (low, high)
    filled = np.where(np.isnan(values), 99.0, values)
    assert bootstrap(filled, np.where(np.isnan(values), np.nan, 1.0)) == (low, high)  # missing by weight is missing


@pytest.mark.parametrize("values", [np.empty((0, 0)), np.empty((0, 3)), [[1.0, 2.0]], [[1.0], [np.nan]]])
def test_one_text_tells_nothing_of_others(values):
    values = np.array(values)
    assert all(map(math.isnan, bootstrap(values, ones(values))))


def test_equal_values_have_an_interval_without_width():
    assert bootstrap(np.full((10, 2), 3.0), np.full((10, 2), 4.0)) == (0.75, 0.75)


def test_the_same_clips_give_the_same_interval():
    values = np.random.default_rng(2).normal(0, 1, (25, 3))
    assert bootstrap(values, ones(values)) == bootstrap(values, ones(values))
    assert bootstrap(values, ones(values)) != bootstrap(values, ones(values), seed=1)


@pytest.mark.parametrize(("texts", "seeds", "between", "within"), [(30, 1, 1.0, 0.0), (30, 3, 1.0, 0.5), (30, 3, 0, 1)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(texts, seeds, between, within):
    """Simulated: the true mean is 0. Where all the variance is between seeds the interval is careful, as documented."""
    held = 0
    for trial in range(300):
        noise = np.random.default_rng(trial)
        values = noise.normal(0, between, (texts, 1)) + noise.normal(0, within, (texts, seeds))
        low, high = bootstrap(values, ones(values), resamples=400, seed=trial)
        held += low <= 0 <= high
    assert 0.90 <= held / 300 <= (0.97 if between else 1.0)


def test_a_hundred_texts_with_three_seeds_take_no_time():
    values = np.random.default_rng(0).normal(0, 1, (100, 3))
    values[0, 0] = np.nan
    start = time.perf_counter()
    bootstrap(values, ones(values), 10_000)
    permutation(np.nansum(values, axis=1), 10_000)
    assert time.perf_counter() - start < 1


# Differences


def test_what_makes_a_text_hard_cancels_out():
    noise = np.random.default_rng(4)
    hard = noise.normal(0, 5, (50, 1))
    first, second = hard + noise.normal(0, 0.1, (50, 3)), hard + 0.5 + noise.normal(0, 0.1, (50, 3))
    difference, low, high = paired_difference(first, second, ones(first))
    assert difference == pytest.approx(np.mean(second - first))
    assert 0.4 < low < difference < high < 0.6
    assert paired_difference(second, first, ones(first))[0] == -difference


def test_a_clip_without_value_in_one_counts_in_neither():
    first = np.array([[1.0, 9.0], [2.0, 3.0]])
    second = np.array([[2.0, np.nan], [4.0, 5.0]])
    assert paired_difference(first, second, np.array([[1.0, 1.0], [2.0, 2.0]]))[0] == pytest.approx(5 / 5)


def test_no_pair_has_no_difference():
    first, second = np.array([[1.0, np.nan]]), np.array([[np.nan, 1.0]])
    assert all(map(math.isnan, paired_difference(first, second, ones(first))))


# Tests


def scipys(differences):
    return scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue


@pytest.mark.parametrize("count", [2, 5, 10, 13])
def test_few_texts_are_tested_exactly(count):
    differences = np.random.default_rng(count).normal(0.5, 1, count)
    assert permutation(differences) == pytest.approx(scipys(differences), abs=1e-12)


def test_many_texts_are_tested_by_draws():
    differences = np.random.default_rng(1).normal(0.4, 1, 16)
    assert permutation(differences) == pytest.approx(scipys(differences), abs=0.01)
    assert permutation(np.full(100, 0.3)) == pytest.approx(1 / 10_001)  # never 0


def test_fishers_darwin_data():
    # Fisher 1935, section 21: Darwin's fifteen pairs of plants, 1726 of 32768 sums of differences reach 314
    pairs = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
    assert permutation(pairs, 2**15) == pytest.approx(1726 / 2**15)


def test_equal_sums_count_as_equal_whatever_their_last_digits():
    assert permutation(np.array([0.1, 0.2, -0.3])) == 1
    assert permutation(np.array([0.1, 0.7, 0.2])) == 0.25  # all signs alike, either way: 2 of 8


@pytest.mark.parametrize("differences", [[], [np.nan], [0.0] * 5, [0.0] * 50, [2.0]])
def test_without_evidence_p_is_1(differences):
    assert permutation(np.array(differences)) == 1


def test_half_of_nothing_is_significant_by_chance():
    p = [permutation(np.random.default_rng(trial).normal(0, 1, 20), 500) for trial in range(300)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_holm_of_the_usual_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_keeps_order_and_bounds():
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.6, 0.9, 0.5]) == [1, 1, 1]
    assert holm([0.01, 0.0101]) == pytest.approx([0.02, 0.02])  # never below one with a smaller p


# Threshold


def test_apart_the_threshold_lies_in_between():
    assert equal_error_rate([0.8, 0.9, 0.95], [0.3, 0.6, 0.2]) == (pytest.approx(0.7), 0)


def test_overlapping_voices_share_the_errors():
    # one of four recordings below, one of four strangers at or above
    assert equal_error_rate([0.5, 0.8, 0.85, 0.9], [0.1, 0.2, 0.3, 0.6]) == (pytest.approx(0.55), 0.25)


def test_normal_scores_have_the_rate_of_theory():
    noise = np.random.default_rng(0)
    threshold, rate = equal_error_rate(noise.normal(2, 1, 20_000), noise.normal(0, 1, 20_000))
    assert threshold == pytest.approx(1, abs=0.03)
    assert rate == pytest.approx(scipy.stats.norm.cdf(-1), abs=0.005)


def test_scores_that_say_nothing():
    assert equal_error_rate([0.5, 0.5], [0.5]) == (0.5, 0.5)
    assert all(map(math.isnan, equal_error_rate([], [0.5])))
    assert all(map(math.isnan, equal_error_rate([np.nan], [0.5])))
