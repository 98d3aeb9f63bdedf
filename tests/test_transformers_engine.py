"""Recognisers through transformers: tiny random models of every kind, saved in a folder and read like real ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
import transformers
from huggingface_hub import constants
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from stages.process.problem import Problem
from stages.speech import transformers_engine
from stages.speech.transformers_engine import TransformersRecogniser

RATE = 16_000
RECORDING = Path(__file__).parent / "recordings" / "workshop.mp3"
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ehlow"]


def clip(seconds=2.0):
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def wav2vec2(folder, rate=RATE, kind=transformers.Wav2Vec2ForCTC):
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(LETTERS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_kernel=(10, 8),
        conv_stride=(20, 16),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    kind(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({letter: number for number, letter in enumerate(LETTERS)}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=rate)
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    return str(folder)


def words_tokenizer(*special):
    vocabulary = {word: number for number, word in enumerate(["<unk>", *special, "▁oh", "▁yes", "▁no", "w"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return tokenizer, len(vocabulary)


def moonshine(folder):
    torch.manual_seed(0)
    tokenizer, size = words_tokenizer("<s>", "</s>")
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    config = transformers.MoonshineConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=16,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
    )
    transformers.MoonshineForConditionalGeneration(config).save_pretrained(folder)
    transformers.Wav2Vec2Processor(transformers.Wav2Vec2FeatureExtractor(), fast).save_pretrained(folder)
    return str(folder)


def parakeet(folder, kind):
    torch.manual_seed(0)
    tokenizer, size = words_tokenizer("<pad>", "<blank>")
    encoder = dict(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        subsampling_conv_channels=8,
        num_mel_bins=80,
    )
    if kind == "ctc":
        config = transformers.ParakeetCTCConfig(vocab_size=size, encoder_config=encoder, pad_token_id=1)
        transformers.ParakeetForCTC(config).save_pretrained(folder)
    else:
        config = transformers.ParakeetTDTConfig(
            vocab_size=size,
            encoder_config=encoder,
            decoder_hidden_size=16,
            num_decoder_layers=1,
            pad_token_id=1,
            blank_token_id=2,
        )
        model = transformers.ParakeetForTDT(config)
        model.generation_config.decoder_start_token_id = 2
        model.save_pretrained(folder)
    fast = transformers.ParakeetTokenizer(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", additional_special_tokens=["<blank>"]
    )
    transformers.ParakeetProcessor(transformers.ParakeetFeatureExtractor(), fast).save_pretrained(folder)
    return str(folder)


MAKERS = {
    "wav2vec2": wav2vec2,
    "moonshine": moonshine,
    "parakeet-ctc": lambda folder: parakeet(folder, "ctc"),
    "parakeet-tdt": lambda folder: parakeet(folder, "tdt"),
}


@pytest.fixture
def whole_clips(monkeypatch):
    """Noise is no speech: what is tested here is what comes after the search for speech."""
    monkeypatch.setattr(transformers_engine, "speech_pieces", lambda samples: [(0, len(samples))])


@pytest.mark.parametrize("kind", MAKERS)
def test_models_of_every_kind_give_the_same_text_twice(tmp_path, whole_clips, kind):
    folder = tmp_path / f"tiny-{kind}"
    folder.mkdir()
    recogniser = TransformersRecogniser(MAKERS[kind](folder))
    text = recogniser.text(clip())
    assert isinstance(text, str) and text == " ".join(text.split())
    assert "<" not in text  # no marks of the tokeniser
    assert TransformersRecogniser(str(folder)).text(clip()) == text
    assert recogniser.text(clip(0.1)) is not None  # shorter than any convolution wants
    assert recogniser.name.startswith(f"transformers {transformers.__version__} tiny-{kind}@")


def test_double_letters_survive_ctc(tmp_path):
    recogniser = TransformersRecogniser(wav2vec2(tmp_path))
    ids = [LETTERS.index(letter) for letter in "hheel"] + [0] + [LETTERS.index(letter) for letter in "llo|wwow"]
    assert recogniser._collapsed(torch.tensor([0, *ids, 0])) == "hello wow"


def test_a_decoder_that_never_stops_is_stopped(tmp_path, whole_clips):
    recogniser = TransformersRecogniser(moonshine(tmp_path))
    recogniser.model.generation_config.suppress_tokens = [0, 1, 2]  # never an end
    assert 10 < len(recogniser.text(clip(1.0)).split()) <= 20
    assert recogniser._limits(1.0)["max_new_tokens"] == 20


@pytest.mark.skipif(not RECORDING.exists(), reason="no recording")
def test_a_long_recording_is_heard_in_pieces(tmp_path, monkeypatch):
    recogniser = TransformersRecogniser(wav2vec2(tmp_path))
    lengths = []
    monkeypatch.setattr(recogniser, "_piece", lambda samples: lengths.append(len(samples) / RATE) or "oh ")
    samples, rate = soundfile.read(RECORDING, frames=48_000 * 40, dtype="float32")
    text = recogniser.text(soxr.resample(samples, rate, RATE))
    assert len(lengths) > 1 and max(lengths) <= 30 and sum(lengths) > 15
    assert text == " ".join(["oh"] * len(lengths))


def test_silence_says_nothing(tmp_path):
    assert TransformersRecogniser(wav2vec2(tmp_path)).text(np.zeros(RATE, np.float32)) == ""


def test_what_is_no_recogniser_ends_in_one_line(tmp_path):
    for name in ("slow", "bare", "encoder", "text"):
        (tmp_path / name).mkdir()
    with pytest.raises(Problem, match="takes sound at 8000 Hz, not at 16000"):
        TransformersRecogniser(wav2vec2(tmp_path / "slow", rate=8000))
    with pytest.raises(Problem, match=r"evaluate.second_model: .*for another task \(Wav2Vec2ForCTC needs lm_head"):
        TransformersRecogniser(wav2vec2(tmp_path / "encoder", kind=transformers.Wav2Vec2Model))
    with pytest.raises(Problem, match=r"evaluate.second_model: .*bare.*: cannot be loaded .*; check the name and"):
        TransformersRecogniser(str(tmp_path / "bare"))
    transformers.GPT2Config().save_pretrained(tmp_path / "text")
    with pytest.raises(Problem, match="a gpt2 model is no speech recogniser"):
        TransformersRecogniser(str(tmp_path / "text"))
    with pytest.raises(Problem, match="no such folder"):
        TransformersRecogniser("./absent")


def test_a_name_that_the_hub_does_not_give_ends_in_one_line(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Problem, match=r"^evaluate.second_model: 'nobody/no-such-ears': cannot be loaded .*$"):
        TransformersRecogniser("nobody/no-such-ears")
