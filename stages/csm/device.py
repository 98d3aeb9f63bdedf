"""Which device and number format a model runs in."""

import torch

from stages.process.problem import Problem

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def torch_device(name: str) -> str:
    """`auto` is the GPU where there is one. Raises Problem for a device this machine has not got."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise Problem(f"device {name} in params.yaml, but no GPU is to be found; use auto, or `make doctor` for more")
    return name


def training_dtype(name: str, device: str) -> str:
    """`auto`: float32 on a CPU; on a GPU bfloat16 where it has it (Ampere and later), else float16 (T4)."""
    if name != "auto":
        return name
    if device == "cpu":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
