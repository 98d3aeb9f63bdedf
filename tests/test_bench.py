"""The benchmarks compare like with like: same rows, same loss, same codes; and they run, both CPU's and GPU's."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from transformers import CsmConfig, default_data_collator

from stages.csm import backend
from stages.csm.base import BaseSettings
from stages.csm.batches import batch_sizes
from stages.csm.codec import encode
from stages.csm.inputs import accept_codes, collate
from stages.process.problem import Problem
from tools import bench, bench_gpu
from tools.benchmarks import gpu, speech
from tools.benchmarks.clock import compared
from tools.benchmarks.rows import make_speech, row_seconds, to_notebook, to_rows
from tools.benchmarks.training import token_budget, train
from tools.tiny_base import configuration, tokenizer

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with what the benchmarks read."""
    (tmp_path / "bases").symlink_to(ROOT / "bases")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def material():
    """The same eight rows as both ways take them."""
    said = make_speech(8, 1, longest=3.0)
    codes = encode(tiny.model(), [one.sound for one in said], 0.0)
    return to_rows(tiny.processor(), said, codes), to_notebook(tiny.processor(), said)


def test_both_ways_train_on_the_same_rows(material):
    rows, table = material
    model = tiny.model()
    accept_codes(model)
    ours, theirs = collate(rows.items, model.config), default_data_collator(list(table))
    assert theirs["input_ids"].shape == (8, 256) and theirs["input_values"].shape == (8, 1, 240_001)
    length = ours["labels"].shape[1]
    assert torch.equal(ours["labels"], theirs["labels"][:, :length])
    with torch.no_grad():
        losses = [float(model(**batch).loss) for batch in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_both_ways_optimise_the_same_loss(material, project):
    """Without the fix in `notebook` the stock trainer's loss would be 31 times off in its acoustic part."""
    recipe = bench.recipe_for(material[0], bench.Size(rows=8, epochs=1), 0)
    runs = []
    for rows in material:
        model = backend.load_trainable("peft", BaseSettings(path=str(tiny.BASE)), recipe, "float32")
        runs.append(train(model, rows, recipe, project, "float32", "cpu"))
    assert runs[0].losses == pytest.approx(runs[1].losses, abs=1e-3)
    assert runs[0].audio_seconds == pytest.approx(runs[1].audio_seconds)
    assert runs[0].useful > 2 * runs[1].useful


def test_lengths_are_those_of_short_clips():
    seconds = row_seconds(200, 7)
    assert 2 <= min(seconds) and max(seconds) <= 10 and 4 < np.mean(seconds) < 5
    assert all(len(one.sound) % 1920 == 0 for one in make_speech(3, 7, longest=3.0))


def test_the_token_budget_gives_as_many_updates_as_the_notebook(material):
    rows = material[0]
    budget = token_budget(rows, 2)
    assert len(batch_sizes(rows.lengths, 1, budget)) == 2 < len(batch_sizes(rows.lengths, 1, budget - 1))


def test_the_whole_benchmark_runs(project, monkeypatch, capsys):
    size = ["--rows=4", "--held-out=2", "--clips=2", "--epochs=1", "--repeats=1", "--frames=2"]
    monkeypatch.setattr("sys.argv", ["bench", *size])
    bench.main()
    report = json.loads(Path("reports/bench.json").read_text())
    assert report["training"]["codes"]["against_notebook"]["ratio"] > 1
    assert report["generation"]["batch_16"]["equal"] == 1
    assert report["cost"]["csm_1b"]["forward_ratio_1"]["total"] == pytest.approx(123.4, rel=0.01)
    assert "generation, ms / frame and utterance, batch 16" in capsys.readouterr().out
    assert str(ROOT) not in Path("reports/bench.json").read_text()


def test_other_codes_than_the_stock_loop_stop_the_benchmark(monkeypatch):
    model = tiny.model()
    monkeypatch.setattr(speech, "our_generate", lambda *_: [np.full((3, 32), 1)])
    with pytest.raises(Problem, match="1 of 1 texts got other codes"):
        speech.compare_generation(model, tiny.processor(), ["Hello."], 3, 1, "cpu")


def test_ratios_are_paired_and_held_against_their_target():
    found = compared([4.0, 6.0, 10.0], [2.0, 2.0, 1.0], target=3.5)
    assert found == {"ratio": 3.0, "least": 2.0, "most": 10.0, "target": 3.5, "met": False}


def test_the_gpu_benchmark_runs_the_whole_way_on_a_tiny_model(project):
    """Load, LoRA by the T4 preset, train both ways, save, merge, generate: all but the hardware."""
    bench_gpu.write_base(project / "base", lambda found: configuration(found, 32), "cpu")
    size = gpu.Size(8, long_rows=4, longest=2.0, updates=2, warm_up=1, frames=2, repeats=1, matrix=64, batches=(1, 2))
    report = gpu.whole_way("t4", "peft", project / "base", project / "scratch", size, "cpu")
    assert report["batch_size"] * report["accumulation"] == 8
    assert report["merged_loss"] == pytest.approx(report["loss"], abs=1e-3)
    assert report["codes"]["useful_positions"] > report["notebook"]["useful_positions"]
    assert "longest" in bench_gpu.table({"t4 peft": report})


def test_the_gpu_benchmark_has_the_published_shapes():
    found = bench_gpu.published_shapes(tokenizer())
    published = CsmConfig()
    ids = ("audio_token_id", "audio_eos_token_id", "pad_token_id", "bos_token_id")
    assert {name for name, value in found.to_dict().items() if value != published.to_dict()[name]} == set(ids)
    assert all(getattr(found, name) < found.text_vocab_size for name in ids)


def test_without_a_gpu_there_is_one_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench_gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Problem, match="no GPU is to be found"):
        bench_gpu.main()
