"""What `evaluate` in params.yaml may say."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stages.files.settings import Settings


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"{seeds} names a seed twice")
    return seeds


class EvaluateSettings(Settings):
    """How the voice is heard and measured: the same for every condition."""

    max_texts: int = Field(ge=1)  # held-out rows first, then lines of `texts`
    texts: list[str]  # lists data/texts/<name>.txt that fill up
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(_distinct)]
    temperature: float = Field(ge=0)
    top_k: int = Field(ge=1)
    max_seconds: float = Field(ge=0.5)
    context_seconds: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    device: Literal["auto", "cpu", "cuda"]
    engine: Literal["faster-whisper", "openai-whisper"]
    model: str
    language: str
    second_model: Annotated[str, Field(min_length=1)] | None  # a recogniser of transformers: hub name or folder
    speaker_encoder: Annotated[str, Field(min_length=1)]  # ge2e, or an x-vector model of transformers
    quality: Literal["dnsmos", "utmos", "none"]
    others: Annotated[str, Field(min_length=1)]  # a folder with clips of other people, one file a voice
    resamples: int = Field(ge=100)  # of the bootstrap and of the permutation tests
