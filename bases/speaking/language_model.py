"""The loss that the speaking base's language model is trained with: CSM's own, on inputs that are partly wrong.

A model that hears only flawless codes in training goes astray at its first own mistake. So a share of the codes it
hears is replaced by others, while what it must say stays right. A second head, dropped afterwards, tells for every
frame which word it speaks: that makes the backbone follow the text.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AttentionInterface, CsmConfig, CsmDepthDecoderConfig, CsmForConditionalGeneration, MimiConfig

from bases.speaking.corpus import NO_WORD, UNKNOWN, Batch

PLAIN_ATTENTION = "plain_causal"


def _plain_attention(module, query, key, value, mask, scaling: float, **_):
    """Causal attention of rows without padding before them, written out.

    For so few positions it trains three times faster in bfloat16 on a CPU than the fused one. Queries (batch, heads,
    length, size), keys and values (batch, pairs, length, size); gives (batch, length, heads, size).
    """
    batch, heads, length, size = query.shape
    pairs = key.shape[1]
    together = query.reshape(batch, pairs, heads // pairs * length, size)
    scores = (together @ key.transpose(2, 3)).view(batch, heads, length, length) * scaling
    future = torch.full((length, length), -1e9, dtype=scores.dtype).triu(1)
    shares = (scores + future).softmax(-1).view(batch, pairs, -1, length)
    return (shares @ value).view(batch, heads, length, size).transpose(1, 2), None


AttentionInterface.register(PLAIN_ATTENTION, _plain_attention)


@dataclass(frozen=True)
class Noise:
    """How much of what the model hears is wrong."""

    clips: float = 0.7  # share of the clips that are touched
    codes: float = 0.3  # largest share of a touched clip's codes that are replaced
    depth: float = 0.08  # share of the codes that the depth decoder hears replaced
    dropout: float = 0.1  # of the embeddings


def corrupted(codes: torch.Tensor, shares: torch.Tensor, entries: int) -> torch.Tensor:
    """`codes` (rows, ..., codebooks) with a share of each row's, `shares` (rows,), replaced by random ones."""
    share = shares.view(-1, *[1] * (codes.dim() - 1))
    wrong = torch.rand(codes.shape) < share
    return torch.where(wrong, torch.randint(1, entries, codes.shape), codes)


class Losses(nn.Module):
    """CSM and the head that names the words; gives the three losses of a batch."""

    def __init__(self, csm: CsmForConditionalGeneration):
        super().__init__()
        self.csm = csm
        self.word_head = nn.Linear(csm.config.hidden_size, csm.config.text_vocab_size + 1)

    def hidden_states(self, batch: Batch, heard: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        """What the backbone gives for text and `heard` codes: (batch, frames + 1, size), place t before frame t.

        Padding stands on the right, where causal attention never looks.
        """
        csm = self.csm
        rows, columns = batch.ids.shape
        frames = heard.shape[1]
        text, audio = csm.embed_text_tokens(batch.ids), csm.backbone_model.embed_tokens(heard)
        embeds = torch.zeros(rows, columns + frames, text.shape[-1])
        places = torch.arange(columns + frames)[None] - batch.texts[:, None]  # 0 is the first frame
        is_text, is_audio = places < 0, (places >= 0) & (places < batch.frames[:, None])
        embeds[is_text] = text[torch.arange(columns)[None] < batch.texts[:, None]]
        embeds[is_audio] = audio[torch.arange(frames)[None] < batch.frames[:, None]]
        hidden = csm.backbone_model(
            inputs_embeds=F.dropout(embeds, dropout, self.training), use_cache=False
        ).last_hidden_state
        wanted = batch.texts[:, None] - 1 + torch.arange(frames + 1)[None]
        return hidden.gather(1, wanted.clamp(max=hidden.shape[1] - 1)[..., None].expand(-1, -1, hidden.shape[-1]))

    def acoustic_logits(self, hidden: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        """(frames, codebooks - 1, vocabulary) from hidden states (frames, size) and heard codes (frames, codebooks)."""
        depth = self.csm.depth_decoder
        offsets = torch.arange(heard.shape[1] - 1) * depth.config.vocab_size
        codes = depth.model.embed_tokens(heard[:, :-1] + offsets)
        states = depth.model(inputs_embeds=torch.cat([hidden[:, None], codes], 1), use_cache=False).last_hidden_state
        return torch.bmm(states[:, 1:].transpose(0, 1), depth.codebooks_head.weight).transpose(0, 1)

    def forward(
        self, batch: Batch, depth_ratio: float = 1.0, noise: Noise | None = None, slope: float = 0.0
    ) -> dict[str, torch.Tensor]:
        """Mean losses: `codebook0`, `acoustic` (over a random share of the frames), `words`.

        With a `slope` the first acoustic codebook counts 1 + slope and the last 1 - slope: the first carry the words.
        """
        rows, frames, codebooks = batch.codes.shape
        entries = self.csm.config.codec_config.codebook_size
        heard = batch.codes
        if noise:
            touched = (torch.rand(rows) < noise.clips) * torch.rand(rows) * noise.codes
            heard = corrupted(heard, touched, entries)
        hidden = self.hidden_states(batch, heard, noise.dropout if noise else 0.0)
        # After the last frame comes the end: a frame of zeros.
        wanted = torch.cat([batch.codes, torch.zeros(rows, 1, codebooks, dtype=torch.long)], 1)
        wanted = wanted * (torch.arange(frames + 1)[None] < batch.frames[:, None])[..., None]
        kept = torch.arange(frames + 1)[None] <= batch.frames[:, None]
        hidden, wanted, words = hidden[kept], wanted[kept], batch.words[kept]
        logits = self.csm.lm_head(hidden)
        losses = {"codebook0": F.cross_entropy(logits, wanted[:, 0])}
        named = torch.where(words == NO_WORD, self.csm.config.text_vocab_size, words)
        losses["words"] = F.cross_entropy(self.word_head(hidden), named, ignore_index=UNKNOWN)
        if depth_ratio < 1:
            some = torch.randperm(len(hidden))[: max(1, round(depth_ratio * len(hidden)))]
            hidden, wanted = hidden[some], wanted[some]
        heard = corrupted(wanted, torch.full((len(wanted),), noise.depth), entries) if noise else wanted
        acoustic = self.acoustic_logits(hidden, heard)
        each = F.cross_entropy(acoustic.transpose(1, 2), wanted[:, 1:], reduction="none").mean(0)
        losses["acoustic"] = (each * torch.linspace(1 + slope, 1 - slope, len(each))).mean()
        return losses


def csm_config(
    tokenizer, codec: MimiConfig, width: int, layers: int, inner: int, depth_width: int, depth_layers: int,
    depth_inner: int
) -> CsmConfig:  # fmt: skip
    """A CSM of these sizes around `codec`; heads are 32 wide, two queries share a key."""
    vocabulary = codec.codebook_size + 3
    depth = CsmDepthDecoderConfig(
        num_codebooks=codec.num_quantizers,
        backbone_hidden_size=width,
        vocab_size=vocabulary,
        hidden_size=depth_width,
        intermediate_size=depth_inner,
        num_hidden_layers=depth_layers,
        num_attention_heads=depth_width // 32,
        num_key_value_heads=depth_width // 64,
        max_position_embeddings=codec.num_quantizers + 1,
    )
    return CsmConfig(
        num_codebooks=codec.num_quantizers,
        vocab_size=vocabulary,
        text_vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 64,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=None,  # with one, finished rows are filled with ids that the codec cannot decode
        audio_token_id=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
        audio_eos_token_id=tokenizer.convert_tokens_to_ids("<|audio_eos|>"),
        codebook_pad_token_id=vocabulary - 1,
        codebook_eos_token_id=0,
        depth_decoder_config=depth,
        codec_config=codec,
    )
