"""The training recipe: every knob of `train` in params.yaml, checked before anything heavy is loaded."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from stages.files.settings import Settings


class Lora(Settings):
    """Low-rank adaptation: W + scale * B A, with A (rank, in) and B (out, rank)."""

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    rslora: bool
    dropout: float = Field(ge=0, lt=1)
    targets: list[str] = Field(min_length=1)

    @field_validator("targets")
    @classmethod
    def _plain_names(cls, targets: list[str]) -> list[str]:
        if wrong := [name for name in targets if not re.fullmatch(r"[a-z_]+", name)]:
            raise ValueError(f"{', '.join(wrong)}: name linear layers like q_proj")
        return targets


class Listen(Settings):
    """How a checkpoint is heard: held-out sentences, spoken and scored at every evaluation."""

    texts: int = Field(ge=0)
    seed: int = Field(ge=0)
    temperature: float = Field(ge=0)
    top_k: int = Field(ge=1)
    max_seconds: float = Field(ge=0.5)
    engine: Literal["faster-whisper", "openai-whisper"]
    model: str = Field(min_length=1)
    language: str


class Recipe(Settings):
    """See `train` in params.yaml."""

    backend: Literal["auto", "unsloth", "peft"]
    method: Literal["lora", "full"]
    processes: int = Field(ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    lora: Lora
    minutes: float | None = Field(gt=0)
    batch_size: int = Field(ge=1)
    batch_tokens: int | None = Field(ge=1)
    accumulation: int = Field(ge=1)
    epochs: float = Field(gt=0)
    max_steps: int | None = Field(ge=1)
    learning_rate: float = Field(gt=0)
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup_steps: int = Field(ge=0)
    optimizer: Literal["adamw_torch", "adamw_torch_fused", "adamw_8bit", "adafactor"]
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    codebook0_weight: float = Field(ge=0)
    acoustic_weight: float = Field(ge=0)
    depth_ratio: float = Field(gt=0, le=1)
    context_share: float = Field(ge=0, le=1)
    eval_steps: int = Field(ge=1)
    listen: Listen
    checkpoint: Literal["score", "loss", "last"]
    patience: int | None = Field(ge=1)
    gradient_checkpointing: bool
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _checkpoint_can_be_chosen(self) -> "Recipe":
        if self.checkpoint == "score" and not self.listen.texts:
            raise ValueError("checkpoint: score needs listen.texts of 1 or more, else there is nothing to score")
        if self.checkpoint == "last" and self.patience:
            raise ValueError("patience waits for a better checkpoint, so it needs checkpoint: score or loss")
        return self
