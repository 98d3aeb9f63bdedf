"""Speech from a CSM model, in batches.

The loop is ours because the stock one spends nine tenths of its time in the overhead of a nested `generate` per
frame; greedy codes are the same (tests/test_generate.py). Noise is drawn per row, so that a row's speech depends on
its seed but not on the rows that share its batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm
from transformers import DynamicCache
from transformers.models.csm.modeling_csm import apply_rotary_pos_emb

from stages.csm.inputs import _merge_codes, lay_out, pad
from stages.csm.turns import Prompt


@dataclass(frozen=True, eq=False)
class Clip:
    """Generated codes (frames, codebooks) int16 without the end frame; `stopped` by itself or cut at the limit."""

    codes: np.ndarray
    stopped: bool


class Sampler:
    """Greedy at temperature 0, else top-k sampling by the Gumbel-max method with one generator per row."""

    def __init__(self, seeds: Sequence[int], codebooks: int, allowed: int, temperature: float, top_k: int, device):
        self.temperature, self.top_k, self.allowed = temperature, top_k, allowed
        self.shape = (codebooks, allowed)
        self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self.device = device
        self.noise = None

    def next_frame(self) -> None:
        """Draw the noise of one frame: (batch, codebooks, allowed ids)."""
        if self.temperature > 0:
            uniform = torch.stack([torch.rand(self.shape, generator=generator) for generator in self.generators])
            self.noise = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7))).to(self.device)

    def __call__(self, logits: torch.Tensor, codebook: int) -> torch.Tensor:
        """Ids (batch,) from logits (batch, vocabulary); ids that the codec cannot decode are never chosen."""
        logits = logits[:, : self.allowed].float()
        if self.temperature == 0:
            return logits.argmax(-1)
        if self.top_k < self.allowed:
            logits = logits.masked_fill(logits < logits.topk(self.top_k).values[:, -1:], -torch.inf)
        return (logits / self.temperature + self.noise[:, codebook]).argmax(-1)


class DepthLoop:
    """The depth decoder's 31 steps for a batch of frames, on caches allocated once."""

    def __init__(self, depth_decoder, batch: int):
        self.decoder, self.model = depth_decoder, depth_decoder.model
        config, weight = self.model.config, depth_decoder.codebooks_head.weight
        self.codebooks, self.vocabulary = config.num_codebooks, config.vocab_size
        positions = torch.arange(self.codebooks, device=weight.device)[None]
        self.cos, self.sin = self.model.rotary_emb(weight, positions)  # (1, codebooks, head size)
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (len(self.model.layers), 2, batch, config.num_key_value_heads, self.codebooks, head)
        self.cache = torch.zeros(shape, dtype=weight.dtype, device=weight.device)

    def _attend(self, layer: int, attention, hidden: torch.Tensor, start: int) -> torch.Tensor:
        end = start + hidden.shape[1]
        shape = (*hidden.shape[:2], -1, attention.head_dim)
        query, key, value = (
            projection(hidden).view(shape).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, self.cos[:, start:end], self.sin[:, start:end])
        keys, values = self.cache[layer]
        keys[:, :, start:end], values[:, :, start:end] = key, value
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query, keys[:, :, :end], values[:, :, :end], is_causal=end - start > 1, enable_gqa=True
        )
        return attention.o_proj(mixed.transpose(1, 2).reshape(*hidden.shape[:2], -1))

    def _step(self, embeds: torch.Tensor, start: int) -> torch.Tensor:
        """Last hidden state (batch, size) after the positions start, start + 1, ... of `embeds`."""
        hidden = self.model.inputs_embeds_projector(embeds)
        for number, layer in enumerate(self.model.layers):
            hidden = hidden + self._attend(number, layer.self_attn, layer.input_layernorm(hidden), start)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return self.model.norm(hidden)[:, -1]

    def __call__(self, backbone_hidden: torch.Tensor, first: torch.Tensor, sampler: Sampler) -> torch.Tensor:
        """Codes (batch, codebooks) of one frame from the backbone's hidden state (batch, size) and its codebook 0."""
        codes = [first]
        embeds = torch.stack([backbone_hidden, self.model.embed_tokens(first)], dim=1)
        for codebook in range(1, self.codebooks):
            start = 0 if codebook == 1 else codebook
            hidden = self._step(embeds, start)
            logits = hidden @ self.decoder.codebooks_head.weight[codebook - 1]
            codes.append(sampler(logits, codebook))
            embeds = self.model.embed_tokens(codes[-1] + codebook * self.vocabulary)[:, None]
        return torch.stack(codes, dim=1)


def _prefill(model, prompts: Sequence[Prompt]) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (batch, length, size) and attention mask (batch, length) of prompts, padded on the left."""
    sequences = []
    for prompt in prompts:
        ids, codes = lay_out(prompt.context, model.config)
        sequences.append((ids + prompt.text_ids, codes))
    batch = {name: tensor.to(model.device) for name, tensor in pad(sequences, model.config, "left").items()}
    mask = batch.pop("attention_mask")
    return _merge_codes(model, **batch)["inputs_embeds"], mask


@torch.inference_mode()
def _generate_batch(model, prompts, max_frames: int, temperature: float, top_k: int, seeds) -> list[Clip]:
    config = model.config
    allowed = config.codec_config.codebook_size
    sampler = Sampler(seeds, config.num_codebooks, allowed, temperature, top_k, model.device)
    depth = DepthLoop(model.depth_decoder, len(prompts))
    embeds, mask = _prefill(model, prompts)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.backbone_model.config)
    running = torch.ones(len(prompts), dtype=torch.bool, device=model.device)
    lengths = torch.full((len(prompts),), max_frames, device=model.device)
    frames: list[torch.Tensor] = []
    while len(frames) < max_frames and bool(running.any()):
        hidden = model.backbone_model(
            inputs_embeds=embeds, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state[:, -1]
        sampler.next_frame()
        frame = depth(hidden, sampler(model.lm_head(hidden), 0), sampler)
        # The model's own rule: a frame whose codebooks but the last are all "end" is the end.
        ended = running & (frame[:, :-1] == config.codebook_eos_token_id).all(-1)
        lengths[ended] = len(frames)
        running &= ~ended
        frames.append(frame)
        embeds = model.backbone_model.embed_tokens(frame[:, None])
        mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
        positions = positions[:, -1:] + 1
    codes = torch.stack(frames, dim=1).cpu().numpy().astype(np.int16)
    return [
        Clip(codes[place, :length], stopped)
        for place, (length, stopped) in enumerate(zip(lengths.tolist(), (~running).tolist(), strict=True))
    ]


def generate(
    model,
    prompts: Sequence[Prompt],
    *,
    max_frames: int,
    temperature: float = 0.9,
    top_k: int = 50,
    seed: int = 0,
    batch_size: int = 16,
) -> list[Clip]:
    """Speak every prompt; one clip each, in order. Temperature 0 is greedy. Row i uses the noise of (seed, i)."""
    clips: list[Clip] = []
    with tqdm(total=len(prompts), desc="speak", unit="clip", leave=False) as bar:
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            seeds = [(seed * 1_000_003 + start + place) % 2**63 for place in range(len(batch))]
            clips += _generate_batch(model, batch, max_frames, temperature, top_k, seeds)
            bar.update(len(batch))
    return clips
