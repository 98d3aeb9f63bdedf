"""Recognisers of other families than Whisper, through transformers: CTC, transducers, and encoders with a decoder.

Parakeet, Wav2Vec2, Moonshine and whatever else the library knows, by hub name or folder. A second opinion on what was
said: two families seldom err alike.
"""

from threading import Lock

import numpy as np
import torch
import transformers
from transformers import (
    MODEL_FOR_CTC_MAPPING,
    MODEL_FOR_RNNT_MAPPING,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
    MODEL_FOR_TDT_MAPPING,
    AutoConfig,
    AutoModelForCTC,
    AutoModelForRNNT,
    AutoModelForSpeechSeq2Seq,
    AutoModelForTDT,
    AutoProcessor,
)

from stages.process.problem import Problem
from stages.speech.engine import RATE
from stages.speech.pieces import speech_pieces
from stages.speech.pretrained import loaded, loaded_model, public_name

SHORTEST = RATE // 2  # samples: shorter pieces are padded, since convolutions need some length
TOKENS_PER_SECOND, SPARE_TOKENS = 10, 10  # more than anyone says; ends a decoder that repeats itself
KINDS = (
    (MODEL_FOR_TDT_MAPPING, AutoModelForTDT),
    (MODEL_FOR_RNNT_MAPPING, AutoModelForRNNT),
    (MODEL_FOR_CTC_MAPPING, AutoModelForCTC),
    (MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING, AutoModelForSpeechSeq2Seq),
)


class TransformersRecogniser:
    """What is said in a clip, greedily decoded. `name` tells library, model and revision."""

    def __init__(self, model: str, language: str | None = None, key: str = "evaluate.second_model"):
        """`model`: a hub name or a folder. `language` matters to multilingual Whisper only.

        Raises Problem, beginning with `key`, when it cannot be had or is no recogniser.
        """
        config = loaded(AutoConfig, model, key)
        kind = next((auto for mapping, auto in KINDS if type(config) in mapping), None)
        if kind is None:
            raise Problem(
                f"{key}: {model!r}: a {config.model_type} model is no speech recogniser that is known here; "
                "give one for CTC, TDT, RNN-T or sequence to sequence"
            )
        self.processor = loaded(AutoProcessor, model, key)
        rate = getattr(getattr(self.processor, "feature_extractor", None), "sampling_rate", None)
        if rate != RATE:
            raise Problem(f"{key}: {model!r}: takes sound at {rate} Hz, not at {RATE}; give another recogniser")
        self.model = loaded_model(kind, model, key)
        self.kind, self.language = kind, language
        self.name = f"transformers {transformers.__version__} {public_name(model, config)}"
        self.lock = Lock()  # one clip at a time: GPU memory

    def text(self, samples: np.ndarray) -> str:
        """What is said in a clip (n,) float32 at 16 kHz; empty when nothing is. Long ones are heard in pieces."""
        with self.lock:
            pieces = [self._piece(samples[start:end]) for start, end in speech_pieces(samples)]
        return " ".join(" ".join(pieces).split())

    @torch.inference_mode()
    def _piece(self, samples: np.ndarray) -> str:
        padded = np.pad(samples, (0, max(0, SHORTEST - len(samples))))
        inputs = self.processor(padded, sampling_rate=RATE, return_tensors="pt").to(self.model.device)
        if self.kind is AutoModelForCTC:
            return self._collapsed(self.model(**inputs).logits[0].argmax(dim=-1))
        limits = self._limits(len(padded) / RATE) if self.kind is AutoModelForSpeechSeq2Seq else {}
        found = self.model.generate(**inputs, **limits)
        sequences = found if isinstance(found, torch.Tensor) else found.sequences
        return self.processor.batch_decode(sequences, skip_special_tokens=True)[0]

    def _collapsed(self, ids: torch.Tensor) -> str:
        """CTC's rule: one token for each run of equal ones, then no blanks.

        Done here because tokenisers that drop blanks as special tokens do so first, and make "helo" of "hello".
        """
        ids = torch.unique_consecutive(ids)
        ids = ids[ids != self.model.config.pad_token_id]
        return self.processor.tokenizer.decode(ids.tolist(), skip_special_tokens=True, group_tokens=False)

    def _limits(self, seconds: float) -> dict:
        options = {"max_new_tokens": SPARE_TOKENS + int(TOKENS_PER_SECOND * seconds), "do_sample": False}
        if getattr(self.model.generation_config, "is_multilingual", False):
            options |= {"language": self.language, "task": "transcribe"}
        return options
