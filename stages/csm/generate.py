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

from stages.csm.decoding import BackboneLoop, DepthLoop
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
    cache = DynamicCache(config=model.backbone_model.config)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    hidden = model.backbone_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
    ).last_hidden_state[:, -1]
    backbone = BackboneLoop(model.backbone_model, cache, mask, max_frames)
    running = torch.ones(len(prompts), dtype=torch.bool, device=model.device)
    lengths = torch.full((len(prompts),), max_frames, device=model.device)
    frames: list[torch.Tensor] = []
    while True:
        sampler.next_frame()
        frame = depth(hidden, sampler(model.lm_head(hidden), 0), sampler)
        # The model's own rule: a frame whose codebooks but the last are all "end" is the end.
        ended = running & (frame[:, :-1] == config.codebook_eos_token_id).all(-1)
        lengths[ended] = len(frames)
        running &= ~ended
        frames.append(frame)
        if len(frames) == max_frames or not bool(running.any()):
            break
        hidden = backbone(model.backbone_model.embed_tokens(frame[:, None]))
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
