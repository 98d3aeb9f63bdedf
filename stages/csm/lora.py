"""LoRA on the backbone and the depth decoder - and nowhere else: the codec never learns, its adapters would be dead."""

from peft import LoraConfig, get_peft_model
from torch import nn

from stages.csm.recipe import Lora, Recipe
from stages.process.problem import Problem


def target_pattern(targets: list[str]) -> str:
    """Regular expression for PEFT. Bare names like q_proj would match the codec's two transformers as well."""
    names = "|".join(targets)
    return rf"(?:.*\.)?(?:backbone_model|depth_decoder\.model)\.layers\.\d+\.(?:self_attn|mlp)\.(?:{names})"


def lora_config(lora: Lora) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        use_rslora=lora.rslora,
        lora_dropout=lora.dropout,
        target_modules=target_pattern(lora.targets),
        bias="none",
    )


def add_adapter(model, lora: Lora):
    """Wrap CSM in a PeftModel. Gradient checkpointing stays possible: transformers' own hook for it would also hook
    the depth decoder's embedding, whose output CSM overwrites in place."""
    model.enable_input_require_grads = lambda *_, **__: None
    return get_peft_model(model, lora_config(lora))


def expected_parameters(config, lora: Lora) -> int:
    """Trainable parameters by arithmetic: rank * (in + out) of every targeted layer of both transformers."""

    def one_layer(part) -> int:
        head = getattr(part, "head_dim", None) or part.hidden_size // part.num_attention_heads
        queries, values = part.num_attention_heads * head, part.num_key_value_heads * head
        sizes = {
            "q_proj": part.hidden_size + queries,
            "k_proj": part.hidden_size + values,
            "v_proj": part.hidden_size + values,
            "o_proj": queries + part.hidden_size,
            "gate_proj": part.hidden_size + part.intermediate_size,
            "up_proj": part.hidden_size + part.intermediate_size,
            "down_proj": part.intermediate_size + part.hidden_size,
        }
        if unknown := set(lora.targets) - set(sizes):
            raise Problem(f"train.lora.targets: CSM has no {', '.join(sorted(unknown))}; known are {', '.join(sizes)}")
        return sum(sizes[name] for name in lora.targets)

    parts = (config, config.depth_decoder_config)
    return lora.rank * sum(part.num_hidden_layers * one_layer(part) for part in parts)


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
