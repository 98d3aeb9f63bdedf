"""The training recipe: every knob of `train` in params.yaml, checked before anything heavy is loaded."""

import re
from typing import Literal

from pydantic import Field, field_validator

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


class Recipe(Settings):
    """See `train` in params.yaml."""

    backend: Literal["auto", "unsloth", "peft"]
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    lora: Lora
    batch_size: int = Field(ge=1)
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
    eval_steps: int = Field(ge=1)
    checkpoint: Literal["loss", "last"]
    gradient_checkpointing: bool
    seed: int = Field(ge=0)
