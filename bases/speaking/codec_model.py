"""Mimi at the size of the speaking base, with the analytic codes in its quantiser."""

import torch
from torch.nn import functional as F
from transformers import MimiConfig, MimiModel

from bases.speaking.analytic import CONTENT, FAR, SOUND, Analytic
from bases.speaking.settings import CodecSettings

WINDOW = 24  # latents that attention looks back on, 0.96 s: no more than the pieces it is trained on


def codec_config(settings: CodecSettings) -> MimiConfig:
    """Stride 1920 like the published codec; one dimension more than the latent, where entry 0 lies out of reach."""
    return MimiConfig(
        hidden_size=settings.width,
        num_filters=settings.filters,
        upsampling_ratios=settings.ratios,
        codebook_size=settings.entries,
        codebook_dim=SOUND + 1,
        vector_quantization_hidden_dimension=SOUND + 1,
        num_quantizers=settings.codebooks,
        num_semantic_quantizers=1,
        upsample_groups=settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.width // 64,
        num_key_value_heads=settings.width // 64,
        head_dim=64,
        intermediate_size=settings.inner,
        layer_scale_initial_scale=0.1,
        residual_kernel_size=7,  # the latent holds no phase: the decoder must make one up, and needs to see more
        sliding_window=WINDOW,
    )


def make_codec(settings: CodecSettings, analytic: Analytic) -> MimiModel:
    """An untrained Mimi whose quantiser is the analytic one."""
    codec = MimiModel(codec_config(settings))
    set_books(codec, analytic.books)
    level(codec, analytic.books)
    return codec


@torch.no_grad()
def level(codec: MimiModel, books: torch.Tensor) -> None:
    """Begin with projections between the latent, whose first dimensions are fifty times as large as its last, and
    hidden numbers of one size: else training hears little but the loudness."""
    spreads = books[0, 1:, :CONTENT].std(0), books[1:, 1:].var(1).sum(0).sqrt()
    quantizer = codec.quantizer
    halves = quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer
    start = 0
    for half, spread in zip(halves, spreads, strict=True):
        half.input_proj.weight.zero_()
        half.output_proj.weight.zero_()
        for place, size in enumerate(spread.clamp(min=1e-3)):
            half.input_proj.weight[place, start + place] = size
            half.output_proj.weight[start + place, place] = 1 / size
        start += len(spread)


@torch.no_grad()
def set_books(codec: MimiModel, books: torch.Tensor) -> None:
    """Put code books (codebooks, entries, SOUND) into the quantiser.

    The last dimension of its space is 0 for every latent and FAR for entry 0, so that this entry is never the nearest.
    """
    quantizer = codec.quantizer
    halves = quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer
    layers = [layer for half in halves for layer in half.layers]
    for layer, book in zip(layers, books, strict=True):
        wide = F.pad(book, (0, 1))
        wide[0, -1] = FAR
        layer.codebook.embed_sum.copy_(wide)
        layer.codebook._embed = None  # a cache of the numbers before
    for half in halves:
        half.input_proj.weight[-1] = 0
        half.output_proj.weight[:, -1] = 0
    halves[0].input_proj.weight[CONTENT:] = 0


def encoder_latent(codec: MimiModel, sound: torch.Tensor) -> torch.Tensor:
    """Latents (batch, frames, CONTENT + SOUND) that the encoder computes from samples (batch, samples)."""
    hidden = codec.encoder_transformer(codec.encoder(sound[:, None]).transpose(1, 2))[0].transpose(1, 2)
    hidden = codec.downsample(hidden)
    quantizer = codec.quantizer
    content = quantizer.semantic_residual_vector_quantizer.input_proj(hidden)[:, :CONTENT]
    acoustic = quantizer.acoustic_residual_vector_quantizer.input_proj(hidden)[:, :SOUND]
    return torch.cat([content, acoustic], 1).transpose(1, 2)


def decoded(codec: MimiModel, codes: torch.Tensor) -> torch.Tensor:
    """Samples (batch, frames * 1920) of codes (batch, frames, codebooks); differentiable in the decoder's weights."""
    hidden = codec.upsample(codec.quantizer.decode(codes.transpose(1, 2)))
    hidden = codec.decoder_transformer(hidden.transpose(1, 2))[0].transpose(1, 2)
    return codec.decoder(hidden)[:, 0]


def decoder_part(codec: MimiModel) -> list[torch.nn.Parameter]:
    quantizer = codec.quantizer
    halves = quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer
    modules = [codec.upsample, codec.decoder_transformer, codec.decoder, *(half.output_proj for half in halves)]
    return [weight for module in modules for weight in module.parameters()]


def encoder_part(codec: MimiModel) -> list[torch.nn.Parameter]:
    quantizer = codec.quantizer
    halves = quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer
    modules = [codec.encoder, codec.encoder_transformer, codec.downsample, *(half.input_proj for half in halves)]
    return [weight for module in modules for weight in module.parameters()]
