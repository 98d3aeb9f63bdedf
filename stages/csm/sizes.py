"""How large CSM's transformers and their LoRA adapters are, from the configuration alone."""

from stages.csm.recipe import Lora
from stages.process.problem import Problem


def linear_sizes(part) -> dict[str, tuple[int, int]]:
    """(in, out) of the linear layers of one transformer layer of `part`, the configuration of either transformer."""
    head = getattr(part, "head_dim", None) or part.hidden_size // part.num_attention_heads
    queries, values = part.num_attention_heads * head, part.num_key_value_heads * head
    hidden, inner = part.hidden_size, part.intermediate_size
    return {
        "q_proj": (hidden, queries),
        "k_proj": (hidden, values),
        "v_proj": (hidden, values),
        "o_proj": (queries, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


def adapter_weights(part, lora: Lora) -> int:
    """LoRA's weights on one of the two transformers: rank * (in + out) of every targeted layer."""
    sizes = linear_sizes(part)
    if unknown := set(lora.targets) - set(sizes):
        raise Problem(f"train.lora.targets: CSM has no {', '.join(sorted(unknown))}; known are {', '.join(sizes)}")
    return part.num_hidden_layers * lora.rank * sum(sum(sizes[name]) for name in lora.targets)
