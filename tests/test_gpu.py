"""The real shapes on a GPU: `make test-gpu`. Not in the default run."""

import importlib.util
from pathlib import Path

import pytest
import torch

from tools import bench_gpu

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """CSM-1B's shapes with random weights: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("shapes") / "base"
    bench_gpu.write_base(folder, bench_gpu.published_shapes, "cuda")
    torch.cuda.empty_cache()
    return folder


@pytest.fixture(params=["peft", "unsloth"])
def engine(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed; `make setup-gpu`")
    return request.param


@pytest.mark.parametrize("preset", ["t4", "h100"])
def test_the_real_shapes_go_the_whole_way(base, engine, preset, monkeypatch):
    """Load, LoRA, train, save, merge and generate with the preset, in a process of its own; it fails where the T4's
    preset takes more memory than a T4 has."""
    monkeypatch.chdir(ROOT)
    report = bench_gpu.measure(preset, engine, base)
    assert report["trainable_parameters"] == 26_935_296  # rank 32 on backbone and depth decoder, none on the codec
    assert report["codes"]["last_loss"] < report["codes"]["first_loss"]
    assert report["merged_loss"] == pytest.approx(report["loss"], rel=0.02)
    assert report["codes"]["times_notebook"] > 1 and report["codes_amortised"]["times_notebook"] > 2
    assert report["codes"]["useful_positions"] > 0.8
