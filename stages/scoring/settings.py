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

    max_texts: int = Field(ge=1)
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
