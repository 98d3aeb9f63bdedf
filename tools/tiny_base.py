"""Make a tiny CSM with random weights, for tests and benchmarks: the real architecture with all 32 code books.

    python -m tools.tiny_base FOLDER

It cannot speak; the embedded default's base, which can, comes from bases/speaking. Only the codec's code books are
fitted, to latents of synthetic voiced sound: an untrained Mimi gives code 0 everywhere, and that frame means "end of
audio".
"""

import argparse
import random
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    CsmConfig,
    CsmDepthDecoderConfig,
    CsmForConditionalGeneration,
    CsmProcessor,
    EncodecFeatureExtractor,
    MimiConfig,
    PreTrainedTokenizerFast,
)

from stages.csm.base import save_csm
from stages.csm.codec import SAMPLING_RATE
from stages.files.atomic import replacing_folder

CODEBOOKS = 32
CODES = 64  # per code book; the published model has 2048
SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|AUDIO|>", "<|audio_eos|>", "<|finetune_right_pad_id|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|begin_of_text|>[' + message['role'] + ']' }}"
    "{% for item in message['content'] %}{% if item['type'] == 'text' %}{{ item['text'] + '<|end_of_text|>' }}"
    "{% elif item['type'] == 'audio' %}{{ '<|AUDIO|><|audio_eos|>' }}{% endif %}{% endfor %}{% endfor %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, then CSM's special tokens. The pad token is its own: `<|AUDIO|>` must never pad."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(SPECIALS)
    begin, end = SPECIALS[:2]
    raw.post_processor = TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, raw.token_to_id(begin)), (end, raw.token_to_id(end))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=begin, eos_token=end, pad_token=SPECIALS[-1])


def configuration(tok: PreTrainedTokenizerFast, size: int = 128) -> CsmConfig:
    """A CSM of width `size`; every ratio that the code relies on is the published model's."""
    vocabulary = CODES + 3
    codec = MimiConfig(
        hidden_size=64,
        num_filters=8,
        codebook_size=CODES,
        codebook_dim=16,
        vector_quantization_hidden_dimension=16,
        num_quantizers=CODEBOOKS,
        upsample_groups=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=128,
    )
    depth = CsmDepthDecoderConfig(
        num_codebooks=CODEBOOKS,
        backbone_hidden_size=size,
        vocab_size=vocabulary,
        hidden_size=size // 2,
        intermediate_size=size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CODEBOOKS + 1,
    )
    return CsmConfig(
        num_codebooks=CODEBOOKS,
        vocab_size=vocabulary,
        text_vocab_size=len(tok),
        hidden_size=size,
        intermediate_size=2 * size,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        pad_token_id=tok.pad_token_id,
        bos_token_id=tok.bos_token_id,
        eos_token_id=None,  # with one, finished rows are filled with ids that the codec cannot decode
        audio_token_id=tok.convert_tokens_to_ids("<|AUDIO|>"),
        audio_eos_token_id=tok.convert_tokens_to_ids("<|audio_eos|>"),
        codebook_pad_token_id=vocabulary - 1,
        codebook_eos_token_id=0,
        depth_decoder_config=depth,
        codec_config=codec,
    )


def voiced_sound(seconds: float, seed: int) -> np.ndarray:
    """(samples,) float32: syllables of a gliding harmonic tone in a moving pair of resonances, with noise between."""
    rng = np.random.default_rng(seed)
    sound = []
    while sum(map(len, sound)) < seconds * SAMPLING_RATE:
        time = np.arange(int(rng.uniform(0.08, 0.3) * SAMPLING_RATE)) / SAMPLING_RATE
        pitch = rng.uniform(90, 260) * (1 + rng.uniform(-0.2, 0.2) * time / time[-1])
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLING_RATE
        peaks = rng.uniform([300, 900], [900, 2600])
        harmonics = np.arange(1, 25)[:, None]
        weight = sum(np.exp(-(((harmonics * pitch.mean() - peak) / 250) ** 2)) for peak in peaks) + 0.02
        tone = (weight * np.sin(harmonics * phase)).sum(0) * np.hanning(len(time))
        sound += [0.2 * tone / np.abs(tone).max(), rng.normal(0, 0.02, len(time) // 2)]
    return np.concatenate(sound)[: int(seconds * SAMPLING_RATE)].astype(np.float32)


@torch.inference_mode()
def fit_code_books(codec, generator: torch.Generator) -> None:
    """Fill each residual level's code book with samples of what the levels before it left over.

    The samples are halved: whole ones would leave nothing of themselves for the levels after.
    """
    sound = torch.from_numpy(voiced_sound(60.0, seed=1))[None, None]
    latent = codec.encoder_transformer(codec.encoder(sound).transpose(1, 2))[0].transpose(1, 2)
    latent = codec.downsample(latent)
    quantizer = codec.quantizer
    for half in (
        quantizer.semantic_residual_vector_quantizer,
        quantizer.acoustic_residual_vector_quantizer,
    ):
        residual = half.input_proj(latent)[0].T  # (frames, code book size)
        for level in half.layers:
            picks = torch.randperm(len(residual), generator=generator)[: level.codebook.codebook_size]
            level.codebook.embed_sum.copy_(residual[picks] / 2)
            level.codebook._embed = None  # cached centroids of the zeros before
            residual = residual - level.codebook.decode(level.codebook.quantize(residual))


@torch.inference_mode()
def level_loudness(codec) -> None:
    """Scale the decoder's last layer, so that what it gives peaks where the sound that went in does."""
    sound = torch.from_numpy(voiced_sound(10.0, seed=2))[None, None]
    peak = codec.decode(codec.encode(sound).audio_codes).audio_values.abs().max()
    last = codec.decoder.layers[-1].conv
    last.weight *= sound.abs().max() / peak
    last.bias *= sound.abs().max() / peak


def make(folder: Path, size: int = 128, seed: int = 0) -> None:
    """Write model and processor to `folder`."""
    random.seed(seed)
    torch.manual_seed(seed)
    tok = tokenizer()
    model = CsmForConditionalGeneration(configuration(tok, size)).eval()
    fit_code_books(model.codec_model, torch.Generator().manual_seed(seed))
    level_loudness(model.codec_model)
    # The published checkpoint holds one table for both; here it is written twice, equal, for every reader.
    embedding = model.backbone_model.embed_tokens.embed_audio_tokens
    embedding.weight.data.copy_(model.depth_decoder.model.embed_tokens.weight.data)
    for generation in (model.generation_config, model.depth_decoder.generation_config):
        generation.do_sample, generation.top_k, generation.temperature = True, 50, 0.9
        generation.suppress_tokens = list(range(CODES, CODES + 3))
    model.generation_config.max_new_tokens = 125  # frames: 10 s
    processor = CsmProcessor(
        EncodecFeatureExtractor(feature_size=1, sampling_rate=SAMPLING_RATE), tok, chat_template=TEMPLATE
    )
    with replacing_folder(folder) as temporary:
        save_csm(model.to(torch.bfloat16), temporary)
        processor.save_pretrained(temporary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder)


if __name__ == "__main__":
    run(main, "tiny_base")
