"""From turns to model inputs: one sequence per row, padded batches, labels, and codes in the place of sound.

A sequence is, for every turn, the text ids, one `<|AUDIO|>` per frame and `<|audio_eos|>`. Only the last turn is
labelled: its frames and its end frame. Text, padding and context audio are -100.
"""

import types
from collections.abc import Sequence

import numpy as np
import torch

from stages.csm.turns import Turn

IGNORED = -100
BACKBONE_ONLY = -101  # a frame whose codebook 0 is trained, but not its acoustic codebooks
PADDING = 0  # a text id; the configuration's pad_token_id is `<|AUDIO|>` and would count as a frame


def lay_out(turns: Sequence[Turn], config) -> tuple[list[int], np.ndarray]:
    """Ids (length,) and codes (frames, codebooks) of finished turns."""
    ids: list[int] = []
    for turn in turns:
        ids += [*turn.text_ids, *[config.audio_token_id] * len(turn.codes), config.audio_eos_token_id]
    return ids, np.concatenate([turn.codes for turn in turns]) if turns else np.zeros((0, config.num_codebooks))


def pad(sequences: Sequence[tuple[list[int], np.ndarray]], config, side: str) -> dict[str, torch.Tensor]:
    """Pad (ids, codes) to a batch.

    input_ids, attention_mask (batch, length) int64; input_values (batch, frames, codebooks) int16 - codes where a
    processor would put sound; input_values_cutoffs (batch, 1) int64, in frames.
    """
    length = max(len(ids) for ids, _ in sequences)
    frames = max(1, max(len(codes) for _, codes in sequences))
    input_ids = torch.full((len(sequences), length), PADDING)
    attention = torch.zeros_like(input_ids)
    values = torch.zeros((len(sequences), frames, config.num_codebooks), dtype=torch.int16)
    for place, (ids, codes) in enumerate(sequences):
        span = slice(length - len(ids), None) if side == "left" else slice(len(ids))
        input_ids[place, span] = torch.tensor(ids)
        attention[place, span] = 1
        values[place, : len(codes)] = torch.from_numpy(np.asarray(codes, np.int16))
    cutoffs = torch.tensor([[len(codes)] for _, codes in sequences])
    return {
        "input_ids": input_ids,
        "attention_mask": attention,
        "input_values": values,
        "input_values_cutoffs": cutoffs,
    }


def collate(rows: Sequence[Sequence[Turn]], config) -> dict[str, torch.Tensor]:
    """A training batch: each row is context turns and, last, the turn that is trained. Padded on the right."""
    batch = pad([lay_out(turns, config) for turns in rows], config, "right")
    labels = torch.full_like(batch["input_ids"], IGNORED)
    for place, turns in enumerate(rows):
        end = sum(turn.length for turn in turns)
        span = slice(end - len(turns[-1].codes) - 1, end)
        labels[place, span] = batch["input_ids"][place, span]
    return batch | {"labels": labels}


def _merge_codes(self, input_ids=None, input_values=None, input_values_cutoffs=None, labels=None):
    """Stand-in for the model's own merge that takes codes (integers) as well as sound (floats)."""
    if input_values is None or input_values.is_floating_point():
        return type(self)._merge_input_ids_with_input_values(
            self, input_ids, input_values, input_values_cutoffs, labels
        )
    embed, config = self.backbone_model.embed_tokens, self.config
    frames = input_values_cutoffs.clamp(min=0).amax(1)
    inside = torch.arange(input_values.shape[1], device=frames.device)[None] < frames[:, None]
    codes = input_values[inside].long()  # (all frames, codebooks)
    audio, end = input_ids == config.audio_token_id, input_ids == config.audio_eos_token_id
    if int(audio.sum()) != len(codes):
        raise ValueError(f"{int(audio.sum())} audio positions but {len(codes)} frames of codes")
    embeds = self.embed_text_tokens(input_ids).clone()
    embeds[audio] = embed(codes[None])[0].to(embeds.dtype)
    silence = torch.full((1, 1, config.num_codebooks), config.codebook_eos_token_id, device=embeds.device)
    embeds[end] = embed(silence)[0].to(embeds.dtype).expand(int(end.sum()), -1)
    if labels is not None:
        targets = torch.full_like(labels, config.codebook_eos_token_id)[..., None].repeat(1, 1, config.num_codebooks)
        targets[audio] = codes
        trained = ((audio | end) & (labels != IGNORED))[..., None]
        backbone_only = labels == BACKBONE_ONLY
        labels = torch.where(trained, targets, IGNORED)
        labels[..., 1:][backbone_only] = IGNORED
    return {"inputs_embeds": embeds, "labels": labels}


def accept_codes(model) -> None:
    """Let this model instance take codes as `input_values`: the codec then never runs in the training loop."""
    model._merge_input_ids_with_input_values = types.MethodType(_merge_codes, model)
