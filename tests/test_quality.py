"""Predictors of listeners' marks: DNSMOS to the number of its package, UTMOS by a network of one line."""

import numpy as np
import pytest
import torch

from stages.process.problem import Problem
from stages.scoring import quality
from stages.scoring.quality import WINDOW, Dnsmos, Utmos, load_quality, windows

RATE = 16_000


@pytest.fixture(scope="module")
def dnsmos():
    pytest.importorskip("speechmos")
    return Dnsmos()


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.05, round(seconds * RATE)).astype(np.float32)


def voiced(seconds):
    times = np.arange(round(seconds * RATE)) / RATE
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * times)
    return (0.1 * syllables * sum(np.sin(2 * np.pi * 150 * k * times) / k for k in range(1, 12))).astype(np.float32)


def test_the_mark_is_that_of_the_package(dnsmos):
    """Short clips that are said again, one window exactly, and more."""
    package = pytest.importorskip("speechmos.dnsmos")
    for samples in (voiced(1.3), noise(3.0), voiced(9.01), voiced(11.2)):
        assert dnsmos.mark(samples) == pytest.approx(float(package.run(samples, RATE)["ovrl_mos"]), abs=1e-4)
    assert dnsmos.name == "DNSMOS P.835 OVRL (speechmos 0.0.1.1)"


def test_noise_gets_a_worse_mark_and_a_clipped_sample_no_error(dnsmos):
    speech = voiced(3.0)
    assert dnsmos.mark(noise(3.0)) < dnsmos.limit
    assert dnsmos.mark(speech + noise(3.0)) < dnsmos.mark(speech)
    assert np.isfinite(dnsmos.mark(3 * speech / speech.max()))


@pytest.mark.parametrize(("seconds", "count"), [(0.3, 1), (8.0, 7), (9.0, 9), (9.01, 1), (12.0, 3)])
def test_windows_begin_every_second_of_a_clip_that_is_said_until_it_fills_one(seconds, count):
    clip = np.arange(round(seconds * RATE), dtype=np.float32)
    found = windows(clip)
    assert found.shape == (count, WINDOW)
    assert found[-1, 0] == (count - 1) * RATE % len(clip)


def test_without_the_package_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(quality.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Problem, match="speechmos is not installed; run `pip install --no-deps speechmos"):
        load_quality("dnsmos")


def test_no_predictor_is_a_choice():
    assert load_quality("none") is None


class Level(torch.nn.Module):
    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        return sound.abs().mean(dim=1)


def test_utmos_reads_a_scripted_network(tmp_path):
    path = tmp_path / "utmos.pt"
    torch.jit.script(Level()).save(path)
    predictor = Utmos(path)
    assert predictor.mark(np.full(RATE, 0.25, np.float32)) == 0.25
    assert predictor.limit is None and predictor.name == "UTMOS strong"


def test_utmos_that_cannot_be_had_ends_in_one_line(tmp_path, monkeypatch):
    def offline(*_):
        raise OSError("no net\nand more")

    monkeypatch.setattr(quality, "hf_hub_download", offline)
    with pytest.raises(Problem, match=r"^evaluate.quality: UTMOS cannot be downloaded \(no net\); check the net, .*$"):
        load_quality("utmos")
    (tmp_path / "utmos.pt").write_bytes(b"no network")
    with pytest.raises(Problem, match="utmos.pt: not a TorchScript file"):
        Utmos(tmp_path / "utmos.pt")
