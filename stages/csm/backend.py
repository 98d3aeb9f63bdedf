"""Unsloth on a GPU, plain PEFT anywhere: chosen before either is imported, the same from there on."""

import importlib
import importlib.util
import os

import torch

from stages.process.problem import Problem


def choose(name: str) -> str:
    """`auto`: unsloth where there is a GPU and the package, else peft. Raises Problem when unsloth cannot run."""
    gpu, installed = torch.cuda.is_available(), importlib.util.find_spec("unsloth") is not None
    if name == "auto":
        return "unsloth" if gpu and installed else "peft"
    if name == "unsloth" and not gpu:
        raise Problem(
            "train.backend is unsloth, but this machine has no GPU; run on one (`make doctor`), set train.backend to "
            "peft, or go back with `make preset NAME=embedded`"
        )
    if name == "unsloth" and not installed:
        raise Problem("train.backend is unsloth, but the package is missing; install it with `make setup-gpu`")
    return name


def activate(backend: str) -> None:
    """Import Unsloth if it is the back end. It patches transformers and peft, so it must be imported before them."""
    if backend == "unsloth":
        os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", ".work/unsloth_compiled_cache")
        importlib.import_module("unsloth")


def unwrapped(model):
    """The CSM inside a PeftModel; CSM itself as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def load_trainable(backend: str, base, recipe, dtype: str):
    """The base with a fresh LoRA adapter, or with every weight but the codec's to train; ready to take codes.

    `base` is a BaseSettings. Full training keeps its weights in float32: updates are small beside 16-bit rounding.
    """
    from stages.csm.base import load_base, tie
    from stages.csm.device import DTYPES
    from stages.csm.inputs import accept_codes
    from stages.csm.lora import add_adapter, lora_arguments

    torch.manual_seed(recipe.seed)  # the adapter's A matrices
    lora, device = recipe.lora, "cuda" if torch.cuda.is_available() else "cpu"
    if recipe.method == "full":
        model = load_base(base, torch.float32, device)
        model.requires_grad_(True)
    elif backend == "peft":
        model = add_adapter(load_base(base, DTYPES[dtype], device), lora)
    else:
        from transformers import CsmForConditionalGeneration
        from unsloth import FastModel

        model, _ = FastModel.from_pretrained(
            base.location,
            auto_model=CsmForConditionalGeneration,
            revision=base.revision,
            dtype=DTYPES[dtype],
            load_in_4bit=False,  # 4 bit would quantise the codec too
        )
        model = FastModel.get_peft_model(
            model,
            **lora_arguments(lora),
            use_gradient_checkpointing="unsloth" if recipe.gradient_checkpointing else False,
            random_state=recipe.seed,
        )
    csm = unwrapped(model)
    if csm.config.tie_codebooks_embeddings:
        tie(csm)
    csm.codec_model.requires_grad_(False)
    accept_codes(csm)
    return model
