"""Cached decoding of CSM's transformers, one position at a time, with as few operations as can be.

At these sizes an operation costs by its overhead, so projections are joined, the norms' weights are multiplied into
the matrices that follow them, and caches are allocated once. Greedy codes stay those of the stock loop.
"""

import torch
import torch.nn.functional as F


def _weight(linear) -> torch.Tensor:
    """The weight that a linear layer applies: with its LoRA adapter added, if it has one."""
    if not hasattr(linear, "base_layer"):
        return linear.weight
    deltas = [linear.get_delta_weight(name) for name in linear.active_adapters]
    return (linear.base_layer.weight + sum(deltas)).to(linear.base_layer.weight.dtype)


def _normed(hidden: torch.Tensor, epsilon: float) -> torch.Tensor:
    """RMS norm without its weight, in float32 as the model does it."""
    wide = hidden.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)).to(hidden.dtype)


class Layer:
    """A decoder layer's weights, and the keys and values (batch, pairs, positions, head size) it has seen."""

    def __init__(self, layer, config, batch: int, positions: int):
        attention, mlp = layer.self_attn, layer.mlp
        before, after = layer.input_layernorm, layer.post_attention_layernorm
        self.queries, self.pairs = config.num_attention_heads, config.num_key_value_heads
        self.head, self.epsilon = attention.head_dim, before.variance_epsilon
        qkv = torch.cat([_weight(part) for part in (attention.q_proj, attention.k_proj, attention.v_proj)])
        gate_up = torch.cat([_weight(mlp.gate_proj), _weight(mlp.up_proj)])
        self.qkv, self.gate_up = (qkv * before.weight).T, (gate_up * after.weight).T
        self.output, self.down = _weight(attention.o_proj).T, _weight(mlp.down_proj).T
        shape = (2, batch, self.pairs, positions, self.head)
        self.keys, self.values = torch.zeros(shape, dtype=qkv.dtype, device=qkv.device)

    def _attend(self, hidden: torch.Tensor, span: slice, cos, sin, mask) -> torch.Tensor:
        batch, length = hidden.shape[:2]
        joined = (_normed(hidden, self.epsilon) @ self.qkv).view(batch, length, -1, self.head)
        turned, value = joined.split([self.queries + self.pairs, self.pairs], dim=2)
        left, right = turned.chunk(2, dim=-1)
        turned = (turned * cos + torch.cat((right, left), -1) * sin).transpose(1, 2)
        query, key = turned.split([self.queries, self.pairs], dim=1)
        self.keys[:, :, span], self.values[:, :, span] = key, value.transpose(1, 2)
        keys, values = self.keys[:, :, : span.stop], self.values[:, :, : span.stop]
        if length > 1:
            mixed = F.scaled_dot_product_attention(query, keys, values, is_causal=True, enable_gqa=True).transpose(1, 2)
        else:  # one position sees all before it: the queries that share a key can stand where positions would
            mixed = F.scaled_dot_product_attention(query.reshape(batch, self.pairs, -1, self.head), keys, values, mask)
        return mixed.reshape(batch, length, -1) @ self.output

    def __call__(self, hidden: torch.Tensor, span: slice, cos, sin, mask=None) -> torch.Tensor:
        """Hidden states (batch, length, size) of the positions in `span`, turned by cos and sin
        (1 or batch, length, 1, head size); `mask` (batch, 1, 1, positions so far) hides padding from single ones."""
        hidden = hidden + self._attend(hidden, span, cos, sin, mask)
        gate, up = (_normed(hidden, self.epsilon) @ self.gate_up).chunk(2, dim=-1)
        return hidden + (F.silu(gate) * up) @ self.down


def rotation(rotary, like: torch.Tensor, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin (1, positions, 1, head size); sin with the sign of the halves that change places."""
    cos, sin = rotary(like, torch.arange(positions, device=like.device)[None])
    left, right = sin.chunk(2, dim=-1)
    return cos[:, :, None], torch.cat((-left, right), -1)[:, :, None]


class DepthLoop:
    """The depth decoder's 31 steps for a batch of frames."""

    def __init__(self, depth_decoder, batch: int):
        model, self.heads = depth_decoder.model, depth_decoder.codebooks_head.weight.unbind()
        self.codebooks, self.vocabulary = model.config.num_codebooks, model.config.vocab_size
        self.norm, self.projector = model.norm, model.inputs_embeds_projector
        self.embedded = self.projector(model.embed_tokens.weight)  # (codebooks * vocabulary, size), projected once
        self.layers = [Layer(layer, model.config, batch, self.codebooks) for layer in model.layers]
        cos, sin = rotation(model.rotary_emb, self.heads[0], self.codebooks)
        spans = [slice(0, 2), *(slice(place, place + 1) for place in range(2, self.codebooks))]
        self.steps = [(span, cos[:, span], sin[:, span]) for span in spans]

    def __call__(self, backbone_hidden: torch.Tensor, first: torch.Tensor, sampler) -> torch.Tensor:
        """Codes (batch, codebooks) of one frame from the backbone's hidden state (batch, size) and its codebook 0."""
        codes = [first]
        hidden = torch.stack([self.projector(backbone_hidden), self.embedded[first]], dim=1)
        for codebook, step in enumerate(self.steps, start=1):
            for layer in self.layers:
                hidden = layer(hidden, *step)
            codes.append(sampler(self.norm(hidden[:, -1]) @ self.heads[codebook - 1], codebook))
            hidden = self.embedded[codes[-1] + codebook * self.vocabulary][:, None]
        return torch.stack(codes, dim=1)


class BackboneLoop:
    """The backbone after its prompt: one frame's hidden state at a time, for rows padded on the left."""

    def __init__(self, backbone, cache, mask: torch.Tensor, frames: int):
        """`cache` holds the prompt's keys and values, `mask` (batch, prompt) is 0 at padding; `frames` follow."""
        batch, prompt = mask.shape
        self.norm, self.end = backbone.norm, prompt
        self.layers = [Layer(layer, backbone.config, batch, prompt + frames) for layer in backbone.layers]
        for layer, seen in zip(self.layers, cache.layers, strict=True):
            layer.keys[:, :, :prompt], layer.values[:, :, :prompt] = seen.keys, seen.values
        self.cos, self.sin = rotation(backbone.rotary_emb, self.layers[0].keys, prompt + frames)
        self.padding = prompt - mask.sum(-1)  # (batch,)
        seen = torch.cat([mask.bool(), mask.new_ones(batch, frames, dtype=torch.bool)], dim=1)
        self.mask = None if bool(mask.all()) else seen[:, None, None]

    def __call__(self, embeds: torch.Tensor) -> torch.Tensor:
        """Hidden state (batch, size) of the next position from its embedding (batch, 1, size)."""
        span = slice(self.end, self.end + 1)
        place = self.end - self.padding  # a row's own position
        cos, sin = self.cos[0, place][:, None], self.sin[0, place][:, None]
        mask = None if self.mask is None else self.mask[..., : span.stop]
        for layer in self.layers:
            embeds = layer(embeds, span, cos, sin, mask)
        self.end += 1
        return self.norm(embeds[:, -1])
