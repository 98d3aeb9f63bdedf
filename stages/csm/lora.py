"""LoRA on the backbone and the depth decoder - and nowhere else: the codec never learns, its adapters would be dead."""

from peft import LoraConfig, get_peft_model
from torch import nn

from stages.csm.recipe import Lora, Recipe
from stages.csm.sizes import adapter_weights
from stages.process.problem import Problem


def target_pattern(targets: list[str]) -> str:
    """Regular expression for PEFT. Bare names like q_proj would match the codec's two transformers as well."""
    names = "|".join(targets)
    return rf"(?:.*\.)?(?:backbone_model|depth_decoder\.model)\.layers\.\d+\.(?:self_attn|mlp)\.(?:{names})"


def lora_arguments(lora: Lora) -> dict:
    """The adapter in the words that PEFT and Unsloth share."""
    return {
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "use_rslora": lora.rslora,
        "lora_dropout": lora.dropout,
        "target_modules": target_pattern(lora.targets),
        "bias": "none",
    }


def add_adapter(model, lora: Lora):
    """Wrap CSM in a PeftModel. Gradient checkpointing stays possible: transformers' own hook for it would also hook
    the depth decoder's embedding, whose output CSM overwrites in place."""
    model.enable_input_require_grads = lambda *_, **__: None
    return get_peft_model(model, LoraConfig(**lora_arguments(lora)))


def expected_parameters(config, lora: Lora) -> int:
    """Trainable parameters by arithmetic: rank * (in + out) of every targeted layer of both transformers."""
    return sum(adapter_weights(part, lora) for part in (config, config.depth_decoder_config))


def check_trainable(model: nn.Module, recipe: Recipe) -> tuple[int, int]:
    """(trainable, all) parameters. Raises Problem unless exactly what `recipe.method` says is trained."""
    if recipe.method == "lora":
        return check_adapter(model, recipe.lora)
    frozen = {name for name, tensor in model.named_parameters() if not tensor.requires_grad}
    codec = {name for name, _ in model.named_parameters() if name.startswith("codec_model.")}
    if stray := sorted(frozen ^ codec):
        raise Problem(f"{stray[0]}: full training trains every weight but the codec's, and this one differs")
    total = sum(tensor.numel() for tensor in model.parameters())
    return total - sum(tensor.numel() for tensor in model.codec_model.parameters()), total


def check_adapter(model: nn.Module, lora: Lora) -> tuple[int, int]:
    """(trainable, all) parameters. Raises Problem unless exactly backbone and depth decoder are adapted."""
    trainable = {name: tensor.numel() for name, tensor in model.named_parameters() if tensor.requires_grad}
    if stray := [name for name in trainable if "codec_model" in name or "lora_" not in name]:
        raise Problem(f"{stray[0]} would be trained, but only LoRA on backbone and depth decoder may be")
    expected = expected_parameters(model.config, lora)
    if sum(trainable.values()) != expected:
        raise Problem(f"LoRA trains {sum(trainable.values())} parameters, {expected} were expected; check lora.targets")
    return expected, sum(tensor.numel() for tensor in model.parameters())
