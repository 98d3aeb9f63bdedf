"""Loading and saving CSM: the tie, the generation settings, and bases that cannot be used."""

import json
import shutil

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, CsmForConditionalGeneration, LlamaConfig

from stages.csm.base import HUB_FOLDER, TIED, BaseSettings, load_base, load_csm, load_processor, save_csm
from stages.csm.inputs import accept_codes, collate
from stages.csm.lora import add_adapter
from stages.csm.recipe import Lora
from stages.process.problem import Problem

LORA = Lora(rank=4, alpha=8, rslora=True, dropout=0.0, targets=["q_proj", "v_proj", "down_proj"])


def loss_of(model):
    accept_codes(model)
    with torch.no_grad():
        return float(model(**collate([tiny.turns([6, 9])[1:]], model.config)).loss)


@pytest.fixture
def hub_like(tmp_path):
    """A checkpoint with one table for both embeddings, as the published one has it."""
    folder = shutil.copytree(tiny.BASE, tmp_path / "hub-like")
    tensors = load_file(folder / "model.safetensors")
    del tensors[TIED]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_embeddings_are_tied_on_load_even_when_the_file_holds_one_table(hub_like):
    plain = CsmForConditionalGeneration.from_pretrained(hub_like, dtype=torch.float32).eval()
    assert loss_of(load_csm(hub_like)) == loss_of(tiny.model())
    assert loss_of(plain) != loss_of(tiny.model())  # what a plain load does: a random table, and no error


def test_a_saved_model_is_right_for_every_reader(tmp_path):
    model = tiny.model()
    with torch.no_grad():
        model.depth_decoder.model.embed_tokens.weight += 0.1
    save_csm(model, tmp_path)
    assert loss_of(CsmForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()) == loss_of(model)
    assert model.backbone_model.embed_tokens.embed_audio_tokens.weight is model.depth_decoder.model.embed_tokens.weight


def test_generation_settings_survive_a_save(tmp_path):
    model = tiny.model()
    model.depth_decoder.generation_config.temperature = 0.5
    save_csm(model, tmp_path)
    assert load_csm(tmp_path).depth_decoder.generation_config.temperature == 0.5
    assert load_csm(tmp_path).generation_config.max_new_tokens == 125


def test_the_tiny_base_loads_like_the_real_one():
    assert type(AutoProcessor.from_pretrained(tiny.BASE)).__name__ == "CsmProcessor"
    assert type(AutoModel.from_pretrained(tiny.BASE)).__name__ in ("CsmBackboneModel", "CsmForConditionalGeneration")


def test_a_base_may_be_an_adapter_of_another_base(tmp_path):
    model = add_adapter(tiny.model(), LORA)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=0.1)
    model.save_pretrained(tmp_path)
    assert loss_of(load_csm(tmp_path)) == pytest.approx(loss_of(model.merge_and_unload()), abs=1e-6)


def test_hub_and_folder_are_not_mixed_up():
    with pytest.raises(Problem, match="base.name names no model"):
        load_base(BaseSettings(path=HUB_FOLDER))
    with pytest.raises(Problem, match="needs base.path: bases/hub"):
        load_base(BaseSettings(path="bases/tiny", name="unsloth/csm-1b"))


def test_a_base_that_is_not_csm_is_refused(tmp_path):
    LlamaConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(Problem, match="is a llama model, not CSM"):
        load_csm(tmp_path)


def test_a_checkpoint_with_weights_missing_is_refused(hub_like):
    tensors = load_file(hub_like / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, hub_like / "model.safetensors", {"format": "pt"})
    with pytest.raises(Problem, match="lacks the weights lm_head.weight"):
        load_csm(hub_like)


def test_a_tokenizer_without_audio_tokens_is_refused(tmp_path):
    folder = shutil.copytree(tiny.BASE, tmp_path / "base")
    text = (folder / "tokenizer.json").read_text().replace("<|audio_eos|>", "<|other|>")
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(Problem, match=r"no <\|audio_eos\|>"):
        load_processor(folder)


def test_an_unreachable_hub_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # at once, not after several tries
    with pytest.raises(Problem, match="check base.name and the network") as problem:
        load_csm("nobody/no-such-model")
    assert "\n" not in str(problem.value)


def test_a_missing_folder_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Problem, match="cannot load the configuration"):
        load_csm("bases/none")


def test_the_codec_is_frozen():
    assert not any(tensor.requires_grad for tensor in tiny.model().codec_model.parameters())


def test_configuration_of_the_tiny_base_is_csm():
    config = json.loads((tiny.BASE / "config.json").read_text())
    assert config["model_type"] == "csm" and config["num_codebooks"] == 32
