"""Rows to measure on: made-up speech with the lengths that people's recordings give, as both ways of training take it.

Texts are as long in tokens as the published model's tokenizer makes English, sounds are whole frames, so that both
ways train on the same codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from stages.csm.batches import Rows
from stages.csm.codec import FRAME_SECONDS, SAMPLING_RATE
from stages.csm.cost import TEXT_RATE
from stages.csm.turns import Turn, text_ids
from stages.files.rows import Row
from tools.tiny_base import voiced_sound

SHORTEST, LONGEST = 2.0, 10.0  # seconds
LENGTHS = (1.3, 2.8)  # of a beta distribution between them: mean 4.5 s, a long tail, as LJSpeech's shorter clips
NOTEBOOK_POSITIONS, NOTEBOOK_SAMPLES = 256, 240_001  # what a widely copied notebook pads every row to
LETTERS = "the slow river turned north past an old stone mill and the men who kept it sang as they worked "


@dataclass(frozen=True, eq=False)
class Speech:
    """A sentence and its sound (samples,) float32 at 24 kHz, a whole number of frames."""

    text: str
    sound: np.ndarray


def sentence(seconds: float, seed: int) -> str:
    """Letters for `seconds` of speech: the tiny base has a token per letter, so their number is that of tokens."""
    start = int(np.random.default_rng(seed).integers(len(LETTERS)))
    return (LETTERS * 4)[start : start + max(1, round(seconds * TEXT_RATE))].strip() + "."


def row_seconds(count: int, seed: int, shortest: float = SHORTEST, longest: float = LONGEST) -> list[float]:
    """`count` lengths in whole frames, `shortest` to `longest` seconds."""
    draws = np.random.default_rng(seed).beta(*LENGTHS, count)
    return [round((shortest + (longest - shortest) * draw) / FRAME_SECONDS) * FRAME_SECONDS for draw in draws]


def make_speech(count: int, seed: int, shortest: float = SHORTEST, longest: float = LONGEST) -> list[Speech]:
    """`count` sentences of made-up speech."""
    return [
        Speech(sentence(seconds, seed * 1000 + place), voiced_sound(seconds + 1e-6, seed * 1000 + place))
        for place, seconds in enumerate(row_seconds(count, seed, shortest, longest))
    ]


def to_rows(processor, speech: Sequence[Speech], codes: Sequence[np.ndarray]) -> Rows:
    """Our rows: text ids and codes, computed once; no row hears another."""
    return Rows(
        [
            (Row("made-up", 100.0 * place, 100.0 * place + 99, one.text), Turn(text_ids(processor, one.text, 0), found))
            for place, (one, found) in enumerate(zip(speech, codes, strict=True))
        ]
    )


def to_notebook(processor, speech: Sequence[Speech]) -> Dataset:
    """The notebook's rows: sound and labels of every frame, both padded to fixed maxima, in a `datasets` table, which
    hands them out as Python lists."""

    def pad(row: dict) -> dict:
        one = speech[row["place"]]
        content = [{"type": "text", "text": one.text}, {"type": "audio", "path": one.sound}]
        batch = processor.apply_chat_template(
            [{"role": "0", "content": content}],
            tokenize=True,
            return_dict=True,
            processor_kwargs=dict(
                output_labels=True,
                text_kwargs=dict(padding="max_length", max_length=NOTEBOOK_POSITIONS, padding_side="right"),
                audio_kwargs=dict(padding="max_length", max_length=NOTEBOOK_SAMPLES, sampling_rate=SAMPLING_RATE),
            ),
        )
        names = ("input_ids", "attention_mask", "labels", "input_values", "input_values_cutoffs")
        return {name: batch[name][0] for name in names}

    table = Dataset.from_dict({"place": list(range(len(speech)))})
    return table.map(pad, remove_columns=["place"], keep_in_memory=True, new_fingerprint=f"notebook-{len(speech)}")
