"""The cards: facts from dvc.lock, figures with intervals, results that the hub shows, code that runs as it stands."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import tiny
import torch
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from stages.audio.sound import sound_bytes
from stages.csm.base import save_csm
from stages.csm.lora import add_adapter
from stages.csm.recipe import Lora
from stages.files.rows import write_rows
from stages.process.problem import Problem
from tools import cards, push

FIGURES = {"wer": 0.0731, "wer_low": 0.051, "wer_high": 0.102, "similarity": 0.91, "similarity_low": 0.9}
FIGURES |= {
    "similarity_high": 0.92,
    "failed": 0.125,
    "failed_low": 0.04,
    "failed_high": 0.31,
    "quality": 3.217,
    "clips": 24,
}
CHANGE = {"difference": -0.041, "low": -0.061, "high": -0.02, "p": 0.0123, "texts": 12}
METRICS = {
    "gt": {"wer": 0.05, "clips": 12},
    "zero_shot": {"wer": 0.1141, "clips": 24},
    "ft": FIGURES,
    "ft_clone": {"wer": 0.08, "clips": 24},
    "same_speaker": {"similarity": 0.95, "clips": 12},
    "differences": {"zero_shot_to_ft": {"wer": CHANGE, "similarity": CHANGE | {"p": 0.4}}},
    "engines": {"recogniser": "whisper tiny.en", "second_recogniser": "parakeet *0.6b*", "speaker": "GE2E"},
    "base_speaks": True,
    "evaluator_sound": True,
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A finished run with the tiny base; dvc.lock says it had rank 4, params.yaml has been changed since."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    record = {"rights": {"basis": "consent", "speaker": "Ada", "evidence": "a letter"}, "source": "talk.mp3"}
    lock = {
        "schema": "2.0",
        "stages": {
            "segment": {"cmd": "x", "outs": [{"path": "data/rows", "md5": "ab12.dir", "size": 4}]},
            "train": {
                "cmd": "x",
                "params": {"params.yaml": {"train.lora.rank": 4}},
                "outs": [{"path": "models/adapter", "md5": "cd34.dir", "size": 7}],
            },
        },
    }
    data = {"rows": {"train": 40, "total": 46}, "seconds": {"train": 290.0, "kept": 338.0, "dropped": 60.0}}
    contents = {
        "data/fetched/talk.json": json.dumps(record),
        "data/rows/train.parquet": "rows",
        "models/adapter/weights": "weights",
        "reports/metrics.json": json.dumps(METRICS),
        "reports/data.json": json.dumps(data | {"recordings": {"words_corrected": 29}}),
        "reports/train.json": json.dumps({"minutes": 4.5, "rows": 39}),
        "dvc.lock": json.dumps(lock),
        "data/sources.yaml": "sources: {talk: {path: talk.mp3, speaker: 0}}\n",
        "params.yaml": "base: {path: bases/tiny, name: null, revision: null}\ntrain: {method: lora, lora: {rank: 8}}\n"
        "transcribe: {engine: faster-whisper, model: tiny.en, language: en}\n",
    }
    for name, text in contents.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    return tmp_path


def test_a_figure_has_its_interval_and_a_difference_its_p(project):
    text = cards.model_card("ada/my-voice", "adapter")
    assert (
        "| ft: the fine-tuned model | 7.3 [5.1 – 10.2] | 0.910 [0.900 – 0.920] | 12.5 [4.0 – 31.0] | 3.22 | 24 |"
        in text
    )
    assert "- zero_shot to ft, word errors: -4.1 points [-6.1 – -2.0], p 0.012\n" in text
    assert "similarity: -0.041 [-0.061 – -0.020], p 0.400 (no difference shown)" in text
    assert r"- second recogniser: parakeet \*0.6b\*" in text
    for word in ("**Intended.**", "**Prohibited.**", "**Limits.**", "basis **consent**: a letter", "How: Texts that"):
        assert word in text


def test_the_hub_shows_the_figures_of_the_tuned_voice(project):
    card = ModelCard(cards.model_card("ada/my-voice", "merged"))
    name, found = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert name == "my-voice"
    assert {(one.dataset_config, one.metric_type): one.metric_value for one in found} == {
        ("ft", "wer"): 7.31,
        ("ft", "speaker_similarity"): 0.91,
        ("ft", "failure_rate"): 12.5,
        ("ft", "speech_quality"): 3.217,
        ("ft_clone", "wer"): 8.0,
    }
    assert {one.task_type for one in found} == {"text-to-speech"} and found[0].metric_args == {
        "interval_95": [5.1, 10.2]
    }
    assert card.data.metrics == ["failure_rate", "speaker_similarity", "speech_quality", "wer"]
    assert str(ModelCard(str(card))) == str(card)  # the metadata survive being read and written


def test_what_a_run_was_made_with_comes_from_the_lock(project):
    text = cards.model_card("ada/my-voice", "adapter")
    assert "| method | LoRA, rank 4 |" in text and '"rank": 4' in text
    assert "| models/adapter in dvc.lock | cd34.dir |" in text and "| data/rows in dvc.lock | ab12.dir |" in text
    assert "| trained on | 0.07 hours (4.5 minutes) |" in text and "| rows | 39 |" in text
    Path("models/adapter/weights").write_text("other weights")
    assert "models/adapter in dvc.lock" not in cards.model_card("ada/my-voice", "adapter")


def test_an_older_run_has_a_card_too(project):
    Path("dvc.lock").unlink()
    old = {"gt": {"wer": 0.05, "clips": 12}, "ft": {"wer": 0.07, "clips": 12}, "base_speaks": False}
    Path("reports/metrics.json").write_text(json.dumps(old | {"engines": {}, "evaluator_sound": False}))
    text = cards.model_card("ada/my-voice", "adapter")
    assert "| ft: the fine-tuned model | 7.0 | 12 |" in text and "dvc.lock" not in text
    assert "**The base cannot speak**" in text and "mistrust the evaluator" in text
    Path("reports/metrics.json").unlink()
    card = ModelCard(cards.model_card("ada/my-voice", "adapter"))
    assert card.data.eval_results is None and "model-index" not in card.data.to_dict()


def test_the_data_set_card_says_how_much_there_is_and_how_it_was_made(project):
    card = DatasetCard(cards.dataset_card("ada/my-rows"))
    assert card.data.size_categories == "n<1K" and card.data.language == "en"
    assert "| speech | 0.09 hours (5.6 minutes) |" in card.text and "**Prohibited.**" in card.text
    assert "transcribed by faster-whisper (tiny.en); rules corrected 29 words" in card.text


@pytest.mark.parametrize(
    "text", ["---\nlicense: [\n---\n", "---\nlicense: other\nmodel-index: [{name: x}]\n---\n", "text"]
)
def test_a_card_that_the_hub_could_not_read_is_refused(text):
    with pytest.raises(Problem, match="the card's metadata"):
        cards.check_card(text, "model")


def code_of(card):
    return re.search(r"## Load it\n\n```python\n(.*?)```", card, re.DOTALL).group(1)


@pytest.fixture
def on_the_hub(project, monkeypatch):
    """Folders named as repositories, which every `from_pretrained` takes; nothing is asked of the network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    Path("bases").mkdir()
    Path("bases/tiny").symlink_to(tiny.BASE)
    Path("ada/my-voice").mkdir(parents=True)
    tiny.processor().save_pretrained("ada/my-voice")
    return Path("ada/my-voice")


def spoken(code):
    """Run the code of a card, shortened to a few frames; return what it defines."""
    names = {}
    exec(code.replace("output_audio=True", "output_audio=True, max_new_tokens=3"), names)
    assert len(soundfile.read("hello.wav")[0]) > 0
    return names


def test_the_code_of_the_adapters_card_runs(on_the_hub):
    torch.manual_seed(0)  # of the adapter's first half
    model = add_adapter(tiny.model(), Lora(rank=4, alpha=4, rslora=True, dropout=0.0, targets=["q_proj"]))
    layer = model.base_model.model.backbone_model.layers[0].self_attn.q_proj
    layer.lora_B["default"].weight.data += 0.3
    model.save_pretrained(on_the_hub, save_embedding_layers=False)
    expected = layer.weight + layer.get_delta_weight("default")
    names = spoken(code_of(push.pack("adapter", "ada/my-voice").card))
    loaded = names["model"].backbone_model.layers[0].self_attn.q_proj.weight.float()
    assert torch.allclose(loaded, expected, atol=5e-3)  # the base is in bfloat16, and so is the sum
    assert (expected - layer.weight).abs().max() > 0.05


def test_the_code_of_the_merged_models_card_runs(on_the_hub):
    save_csm(tiny.model(), on_the_hub)
    spoken(code_of(cards.model_card("ada/my-voice", "merged")))


def test_the_code_of_the_data_sets_card_runs(on_the_hub, monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    Path("ada/my-rows").mkdir()
    Path("ada/my-rows/README.md").write_text(cards.dataset_card("ada/my-rows"))
    for split in ("train", "validation", "test"):
        audio = pa.array([{"bytes": sound_bytes(np.zeros(2400, np.float32)), "path": "x.flac"}] * 2)
        write_rows(Path(f"ada/my-rows/{split}.parquet"), tiny.rows_of(split, 2), {"audio": audio})
    names = {}
    exec(code_of(Path("ada/my-rows/README.md").read_text()), names)
    assert set(names["rows"]) == {"train", "validation", "test"} and names["rows"]["train"][0]["audio"]["bytes"]
