"""What CSM costs: floating-point operations by part, for any CsmConfig, by arithmetic alone.

A multiplication and an addition count as two operations; what is not a matrix product or a convolution (norms,
softmax, embeddings) is left out, as is usual: under one per cent. `tests/test_cost.py` holds the figures against a
count of what torch really runs.
"""

from dataclasses import dataclass

from stages.csm.recipe import Lora
from stages.csm.sizes import adapter_weights, linear_sizes

TEXT_RATE = 3.3  # text tokens per second of speech with the published model's tokenizer
ROW_SECONDS = 5.0  # length of a typical row; it only sets how far attention reaches


@dataclass(frozen=True)
class Work:
    """How much a model is run over.

    positions: of the backbone, padding included; depth_frames: frames through the depth decoder; context: length of a
    sequence, which each of its positions attends to; codec_seconds: sound through the codec's encoder, in clips of
    clip_seconds.
    """

    positions: float
    depth_frames: float
    context: float
    codec_seconds: float = 0.0
    clip_seconds: float = ROW_SECONDS


@dataclass(frozen=True)
class Cost:
    """Floating-point operations by part; `adapters` is what LoRA adds to backbone and depth decoder."""

    backbone: float
    depth_decoder: float
    heads: float
    codec: float
    adapters: float = 0.0

    @property
    def total(self) -> float:
        return self.backbone + self.depth_decoder + self.heads + self.codec + self.adapters


def second_of_audio(
    config,
    depth_ratio: float = 1.0,
    text_rate: float = TEXT_RATE,
    row_seconds: float = ROW_SECONDS,
    codec_in_loop: bool = False,
) -> Work:
    """One second of speech: its frames and `text_rate` text tokens on the backbone, `depth_ratio` of the frames on the
    depth decoder, and its sound through the codec unless the codes are there already."""
    rate = config.codec_config.frame_rate
    positions = rate + text_rate
    return Work(positions, rate * depth_ratio, positions * row_seconds, float(codec_in_loop), row_seconds)


def _weights(part) -> int:
    return part.num_hidden_layers * sum(fan_in * fan_out for fan_in, fan_out in linear_sizes(part).values())


def _attention(part, context: float) -> float:
    """Scores and weighted sum of one position over `context` positions; kernels compute the masked half too."""
    return part.num_hidden_layers * 4 * context * linear_sizes(part)["q_proj"][1]


def _projector(config) -> int:
    depth = config.depth_decoder_config
    return depth.backbone_hidden_size * depth.hidden_size


def _heads(config, work: Work) -> float:
    depth = config.depth_decoder_config
    acoustic = (depth.num_codebooks - 1) * depth.hidden_size * depth.vocab_size
    return 2.0 * (work.positions * config.hidden_size * config.vocab_size + work.depth_frames * acoustic)


def forward(config, work: Work) -> Cost:
    """Operations of a forward pass over `work`. A depth frame is one sequence of as many positions as codebooks."""
    depth = config.depth_decoder_config
    per_position = 2 * _weights(config) + _attention(config, work.context)
    per_depth = 2 * (_weights(depth) + _projector(config)) + _attention(depth, depth.num_codebooks)
    return Cost(
        backbone=work.positions * per_position,
        depth_decoder=work.depth_frames * depth.num_codebooks * per_depth,
        heads=_heads(config, work),
        codec=work.codec_seconds * codec_second(config.codec_config, work.clip_seconds),
    )


def training_step(config, work: Work, lora: Lora | None, checkpointing: bool = False) -> Cost:
    """Operations of forward and backward pass over `work`; without `lora` all weights train, with it only the adapter.

    Backward, a linear layer's gradient costs one more forward for its input and, where its weights train, one for
    them. Attention costs twice its forward. Checkpointing runs the layers forward once more. The codec never trains.
    """
    depth, once = config.depth_decoder_config, forward(config, work)
    positions, depth_positions = work.positions, work.depth_frames * depth.num_codebooks
    passes = (3 if lora is None else 2) + checkpointing
    # Attention has two products forward and four backward, whatever trains.
    more = 3 + checkpointing - passes
    backbone = passes * once.backbone + more * positions * _attention(config, work.context)
    depth_decoder = passes * once.depth_decoder + more * depth_positions * _attention(depth, depth.num_codebooks)
    adapters = 0.0
    if lora is not None:
        # Frozen embeddings need no gradient, so the first layer's projections of them give none.
        sizes = linear_sizes(config)
        backbone -= 2 * positions * sum(sizes[name][0] * sizes[name][1] for name in ("q_proj", "k_proj", "v_proj"))
        adapted = positions * adapter_weights(config, lora) + depth_positions * adapter_weights(depth, lora)
        adapters = (3 + checkpointing) * 2 * adapted
    # What is recomputed are the layers; the projector into the depth decoder is not one of them.
    depth_decoder -= checkpointing * 2 * depth_positions * _projector(config)
    return Cost(backbone, depth_decoder, (3 if lora is None else 2) * once.heads, once.codec, adapters)


def codec_second(codec, clip_seconds: float = ROW_SECONDS) -> float:
    """Operations of Mimi's encoder per second of sound: convolutions, transformer, downsampling, code book search."""
    rate, channels = codec.sampling_rate, codec.num_filters
    total = 2.0 * rate * codec.kernel_size * codec.audio_channels * channels
    for stride in reversed(codec.upsampling_ratios):
        inner = channels // codec.compress
        residual = codec.num_residual_layers * channels * inner * (codec.residual_kernel_size + 1)
        total += 2 * rate * residual
        rate /= stride
        total += 2 * rate * (2 * stride * channels) * (2 * channels)  # twice as many channels, a window of 2 strides
        channels *= 2
    hidden, bins = codec.hidden_size, codec.vector_quantization_hidden_dimension
    total += 2 * rate * codec.last_kernel_size * channels * hidden
    queries, values = codec.num_attention_heads * codec.head_dim, codec.num_key_value_heads * codec.head_dim
    layer = hidden * (2 * queries + 2 * values + 2 * codec.intermediate_size)
    attention = 4 * (rate * clip_seconds) * queries
    total += rate * codec.num_hidden_layers * (2 * layer + attention)
    if codec.frame_rate != rate:
        total += 2 * codec.frame_rate * 2 * int(rate / codec.frame_rate) * hidden * hidden
    if bins != hidden:
        total += 2 * codec.frame_rate * 2 * hidden * bins  # one projection for each half of the quantizer
    return total + 2 * codec.frame_rate * codec.num_quantizers * codec.codebook_size * codec.codebook_dim
