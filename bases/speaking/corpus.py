"""What the language model is trained on: text ids, codes, and the word that each frame speaks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bases.speaking.acoustics import HOP, STACK
from stages.csm.turns import Turn
from stages.files.atomic import replacing

NO_WORD = -1  # a frame of silence
UNKNOWN = -100  # a frame whose word is not known: not trained on


@dataclass(frozen=True, eq=False)
class Spoken:
    """A turn said by `voice`; `words` (frames,) the text id of the word that each frame speaks."""

    voice: str
    text: str
    turn: Turn
    words: np.ndarray


def frame_words(word_ids: Sequence[int], phonemes: str, edges: np.ndarray, frames: int, steps: int) -> np.ndarray:
    """(frames,) the id of the word spoken in the middle of each frame, of speech that is `steps` mel frames late."""
    spans, start = [], 0
    for part in phonemes.split(" "):
        spans.append((edges[start], edges[start + len(part)]))
        start += len(part) + 1
    if len(spans) != len(word_ids):
        return np.full(frames, UNKNOWN, np.int64)
    found = np.full(frames, NO_WORD, np.int64)
    middles = (np.arange(frames) + 0.5) * HOP * STACK - steps * HOP
    for word, (begin, end) in zip(word_ids, spans, strict=True):
        found[(middles >= begin) & (middles < end)] = word
    return found


def write_spoken(path: Path, spoken: Sequence[Spoken]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            voices=np.array([one.voice for one in spoken]),
            texts=np.array([one.text for one in spoken]),
            ids=np.concatenate([np.array(one.turn.text_ids, np.int16) for one in spoken]),
            id_counts=np.array([len(one.turn.text_ids) for one in spoken]),
            codes=np.concatenate([one.turn.codes for one in spoken]),
            words=np.concatenate([one.words for one in spoken]).astype(np.int16),
            frames=np.array([len(one.turn.codes) for one in spoken]),
        )


def read_spoken(path: Path) -> list[Spoken]:
    with np.load(path) as file:
        ids, codes, words = file["ids"].astype(np.int64), file["codes"], file["words"].astype(np.int64)
        id_ends, frame_ends = file["id_counts"].cumsum(), file["frames"].cumsum()
        rows = zip(file["voices"], file["texts"], id_ends, file["id_counts"], frame_ends, file["frames"], strict=True)
        return [
            Spoken(
                str(voice),
                str(text),
                Turn(ids[id_end - count : id_end].tolist(), codes[end - frames : end]),
                words[end - frames : end],
            )
            for voice, text, id_end, count, end, frames in rows
        ]


@dataclass(eq=False)
class Batch:
    """Padded on the right. `ids` (batch, texts), `codes` (batch, frames, codebooks), `words` (batch, frames + 1);
    `texts` and `frames` (batch,) are the lengths. Nothing is said of the end frame here: it follows the last frame."""

    ids: torch.Tensor
    codes: torch.Tensor
    words: torch.Tensor
    texts: torch.Tensor
    frames: torch.Tensor


def collate(spoken: Sequence[Spoken]) -> Batch:
    texts = torch.tensor([len(one.turn.text_ids) for one in spoken])
    frames = torch.tensor([len(one.turn.codes) for one in spoken])
    ids = torch.zeros(len(spoken), int(texts.max()), dtype=torch.long)
    codes = torch.zeros(len(spoken), int(frames.max()), spoken[0].turn.codes.shape[1], dtype=torch.long)
    words = torch.full((len(spoken), int(frames.max()) + 1), UNKNOWN)
    for row, one in enumerate(spoken):
        ids[row, : texts[row]] = torch.tensor(one.turn.text_ids)
        codes[row, : frames[row]] = torch.from_numpy(one.turn.codes.astype(np.int64))
        words[row, : frames[row]] = torch.from_numpy(one.words)
    return Batch(ids, codes, words, texts, frames)


def batches(lengths: Sequence[int], weights: Sequence[float], size: int, generator: torch.Generator):
    """Yield lists of row numbers without end: rows drawn by weight, those of one batch of about one length."""
    lengths, weights = torch.tensor(lengths, dtype=torch.float), torch.tensor(weights, dtype=torch.float)
    while True:
        picks = torch.multinomial(weights, size * 32, replacement=True, generator=generator)
        order = picks[(lengths[picks] + 0.01 * torch.rand(len(picks), generator=generator)).argsort()]
        for place in torch.randperm(32, generator=generator).tolist():
            yield order[place * size : (place + 1) * size].tolist()
