"""Spoken sentences on disk: shards of samples with the text and where each phoneme lies."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.files.atomic import replacing

RATE = 24_000
LEAD, TAIL = 0.12, 0.28  # seconds kept before and after what is heard
FLOOR = 0.012  # of the peak: quieter is silence
LOUDNESS = 0.085  # root mean square of every utterance, which peaks near 0.5 then
HELD_OUT = 16  # one text in so many is never trained on


@dataclass(frozen=True, eq=False)
class Utterance:
    """`samples` (n,) int16 at 24 kHz; phoneme i of `phonemes` lasts from sample `edges[i]` to `edges[i + 1]`."""

    text: str
    samples: np.ndarray
    phonemes: str
    edges: np.ndarray

    @property
    def sound(self) -> np.ndarray:
        return self.samples.astype(np.float32) / 32768


def held_out(text: str) -> bool:
    """Whether a text is kept for measurements, by its own bytes: so whatever voice says it, whenever."""
    return zlib.crc32(text.lower().encode()) % HELD_OUT == 0


def trimmed(text: str, samples: np.ndarray, phonemes: str, edges: np.ndarray) -> Utterance:
    """Cut the silence at both ends to LEAD and TAIL, and bring the loudness to LOUDNESS."""
    loud = (np.abs(samples) > FLOOR * np.abs(samples).max()).nonzero()[0]
    start = max(0, loud[0] - round(LEAD * RATE))
    end = min(len(samples), loud[-1] + round(TAIL * RATE))
    samples = np.concatenate([samples[start:end], np.zeros(max(0, round(TAIL * RATE) - (end - loud[-1])), np.float32)])
    samples = samples * (LOUDNESS / np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    pcm = np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16)
    return Utterance(text, pcm, phonemes, np.clip(edges - start, 0, len(pcm)))


def write_shard(path: Path, utterances: Iterable[Utterance]) -> None:
    utterances = list(utterances)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            samples=np.concatenate([utterance.samples for utterance in utterances]),
            lengths=np.array([len(utterance.samples) for utterance in utterances]),
            texts=np.array([utterance.text for utterance in utterances]),
            phonemes=np.array([utterance.phonemes for utterance in utterances]),
            edges=np.concatenate([utterance.edges for utterance in utterances]).astype(np.int64),
        )


def read_shard(path: Path) -> Iterator[Utterance]:
    with np.load(path) as shard:
        samples, edges = shard["samples"], shard["edges"]
        sample = edge = 0
        for length, text, phonemes in zip(shard["lengths"], shard["texts"], shard["phonemes"], strict=True):
            count = len(phonemes) + 1
            yield Utterance(str(text), samples[sample : sample + length], str(phonemes), edges[edge : edge + count])
            sample, edge = sample + length, edge + count
