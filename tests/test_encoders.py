"""Speaker encoders by name: the one of the package, and x-vector models of transformers, here tiny random ones."""

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector, WavLMModel

from stages.process.problem import Problem
from stages.scoring.encoders import LONGEST, XVector, load_encoder
from stages.scoring.speaker import SpeakerEncoder

RATE = 16_000
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 8),
    "conv_stride": (20, 16),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "tdnn_dim": (8, 8, 8),
    "tdnn_kernel": (5, 3, 1),
    "tdnn_dilation": (1, 2, 1),
    "xvector_output_dim": 12,
}


def save(folder, seed=0, rate=RATE, kind=WavLMForXVector):
    torch.manual_seed(seed)
    kind(WavLMConfig(**TINY)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=rate, do_normalize=True).save_pretrained(folder)
    return str(folder)


def clip(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def wavlm(tmp_path_factory):
    return XVector(save(tmp_path_factory.mktemp("models") / "tiny-sv"))


@pytest.mark.parametrize("seconds", [0.01, 0.31, 2.0, 25.0])
def test_clips_of_any_length_become_unit_vectors(wavlm, seconds):
    found = wavlm.embed(clip(seconds))
    assert found.shape == (12,) and found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(found, wavlm.embed(clip(seconds)))


def test_the_vector_is_that_of_the_model_itself(wavlm):
    inputs = wavlm.extractor(clip(3.0), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        theirs = torch.nn.functional.normalize(wavlm.network(**inputs).embeddings[0], dim=0).numpy()
    assert np.allclose(wavlm.embed(clip(3.0)), theirs, atol=1e-6)


def test_a_long_clip_is_the_mean_of_its_parts(wavlm):
    first, second = clip(LONGEST / RATE, 1), clip(LONGEST / RATE, 2)
    both = wavlm.embed(first) + wavlm.embed(second)
    assert np.allclose(wavlm.embed(np.concatenate([first, second])), both / np.linalg.norm(both), atol=1e-6)


def test_the_name_changes_with_the_weights(tmp_path, wavlm):
    other, same = XVector(save(tmp_path / "other" / "tiny-sv", 1)), XVector(save(tmp_path / "same" / "tiny-sv"))
    assert wavlm.name.startswith("WavLMForXVector (tiny-sv@") and same.name == wavlm.name != other.name


def test_ge2e_is_the_packages():
    assert isinstance(load_encoder("ge2e"), SpeakerEncoder)


def test_a_model_without_a_head_is_refused_not_run_with_random_numbers(tmp_path):
    with pytest.raises(Problem, match=r"evaluate.speaker_encoder: .*for another task \(WavLMForXVector needs"):
        load_encoder(save(tmp_path, kind=WavLMModel))


def test_what_is_no_encoder_ends_in_one_line(tmp_path):
    with pytest.raises(Problem, match="takes sound at 8000 Hz, not at 16000"):
        load_encoder(save(tmp_path / "slow", rate=8000))
    with pytest.raises(Problem, match="no such folder"):
        load_encoder(str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem, match=r"^evaluate.speaker_encoder: .*cannot be loaded .*check the name and the net.*$"):
        load_encoder(str(tmp_path / "empty"))
    Wav2Vec2Config().save_pretrained(tmp_path / "bare")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "bare")
    with pytest.raises(Problem, match="cannot be loaded"):
        load_encoder(str(tmp_path / "bare"))


def test_a_name_that_the_hub_does_not_give_ends_in_one_line(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Problem, match=r"^evaluate.speaker_encoder: 'nobody/no-such-voices': cannot be loaded .*$"):
        load_encoder("nobody/no-such-voices")
