"""The settings of the speaking base: one class for each section of its params.yaml."""

from stages.files.settings import Settings


class VoicesSettings(Settings):
    """Voices of one synthesiser: so many `shards` of so many `sentences` each."""

    voices: list[str]
    shards: int
    sentences: int


class SynthesiseSettings(Settings):
    """The section `synthesise`. `styles` is Kokoro's archive, beside the data; `target` must be none of the voices."""

    hibari: VoicesSettings
    kokoro: VoicesSettings
    held_out: int
    styles: str
    target: str
    processes: int


class Size(Settings):
    """The transformers: `width` of the backbone, `layers`, `inner` of its MLP; the same of the depth decoder."""

    width: int
    layers: int
    inner: int
    depth_width: int
    depth_layers: int
    depth_inner: int


class NoiseSettings(Settings):
    """What the language model hears wrong in training; see language_model.Noise."""

    clips: float
    codes: float
    depth: float
    dropout: float


class SettleSettings(Settings):
    """The last phase of the language model, on the codes of the trained encoder: of hibari's voices the first
    `hibari_shards`, for coding them all takes longer than they are worth."""

    hibari_shards: int
    steps: int
    learning_rate: float
    rare: float


class LanguageSettings(Settings):
    """The section `language`."""

    size: Size
    noise: NoiseSettings
    settle: SettleSettings
    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    decay: int
    weight_decay: float
    average: float
    depth_ratio: float
    acoustic_weight: float
    acoustic_slope: float
    word_weight: float
    rare: float
    bfloat16: bool
    save_steps: int
    seed: int


class CodecSettings(Settings):
    """The section `codec`."""

    codebooks: int
    entries: int
    width: int
    filters: int
    ratios: list[int]
    layers: int
    inner: int
    content_steps: int
    decoder_steps: int
    encoder_steps: int
    batch_size: int
    seconds: float
    decoder_rate: float
    encoder_rate: float
    warmup: int
    decay: int
    average: float
    save_steps: int
    seed: int


class ExportSettings(Settings):
    """The section `export`: how the checkpoint speaks by default."""

    temperature: float
    top_k: int
    max_frames: int


class ReportSettings(Settings):
    """The section `report`: held-out sentences are spoken once with every seed."""

    seeds: list[int]
    temperature: float
    top_k: int
    draws: int
