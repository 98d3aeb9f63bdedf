"""The ear of training: at every evaluation the model says the same held-out sentences, and is scored by their sound."""

import copy
import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soxr
import torch

from stages.audio.mp3 import write_mp3
from stages.csm.backend import unwrapped
from stages.csm.codec import FRAME_SECONDS, SAMPLING_RATE, decode
from stages.csm.device import DTYPES
from stages.csm.generate import generate
from stages.csm.recipe import Listen
from stages.csm.turns import Prompt
from stages.files.atomic import replacing_folder
from stages.scoring.empty import is_empty
from stages.scoring.growth import Sample, summarise, write_samples
from stages.scoring.sentences import Sentence, read_sentences, spread
from stages.scoring.speaker import SAMPLING_RATE as HEARING_RATE
from stages.scoring.speaker import SpeakerEncoder, centroid
from stages.scoring.words import Normaliser, character_errors, word_errors
from stages.speech.recognise import make_recogniser


def lower(samples: np.ndarray) -> np.ndarray:
    """From the codec's rate to that of recogniser and speaker encoder."""
    return soxr.resample(samples, SAMPLING_RATE, HEARING_RATE)


def voices(held_out: Sequence[Sentence], encoder: SpeakerEncoder) -> dict[int, np.ndarray]:
    """Speaker id -> centroid (256,) of all that speaker's recordings."""
    found: dict[int, list[np.ndarray]] = {}
    for sentence in held_out:
        samples = sentence.recording()
        if not is_empty(samples, SAMPLING_RATE):
            found.setdefault(sentence.row.source, []).append(encoder.embed(lower(samples)))
    return {source: centroid(embeddings) for source, embeddings in found.items()}


@contextmanager
def speaking(model, dtype: str):
    """Evaluation mode, and the number format of training; both as they were afterwards."""
    was_training = model.training
    model.eval()
    kind = model.device.type
    try:
        with torch.autocast(kind, DTYPES[dtype]) if dtype != "float32" else nullcontext():
            yield
    finally:
        model.train(was_training)


class Ear:
    """Called with a model and its step; keeps the sounds in `folder`/<step> and returns the figures of `summarise`.

    It leaves training as it was: no weight, no mode and no random number of torch's global generators is changed.
    """

    def __init__(
        self,
        held_out: Sequence[Sentence],
        hear: Callable[[np.ndarray], str],
        encoder: SpeakerEncoder,
        settings: Listen,
        folder: Path,
        dtype: str = "float32",
    ):
        self.sentences = spread(held_out, settings.texts)
        for sentence in self.sentences:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", sentence.row.id):
                raise ValueError(f"row id {sentence.row.id!r} cannot be a file name")
        self.hear, self.encoder, self.settings = hear, encoder, settings
        self.folder, self.dtype = folder, dtype
        self.normalise = Normaliser(settings.language)
        self.voices = voices(held_out, encoder)
        self.codec = None

    def __call__(self, model, step: int) -> dict[str, float]:
        model = unwrapped(model)
        with speaking(model, self.dtype):
            clips = generate(
                model,
                [Prompt(sentence.turn.text_ids) for sentence in self.sentences],
                max_frames=int(self.settings.max_seconds / FRAME_SECONDS),
                temperature=self.settings.temperature,
                top_k=self.settings.top_k,
                seed=self.settings.seed,
            )
        with replacing_folder(self.folder / str(step)) as folder:
            samples = []
            for sentence, clip in zip(self.sentences, clips, strict=True):
                sound = self._decode(model, clip.codes)
                samples.append(self._judge(sentence, sound, clip.stopped))
                if samples[-1].file:
                    write_mp3(folder / samples[-1].file, sound)
            write_samples(folder, [sentence.row for sentence in self.sentences], samples)
        return summarise(samples)

    def _decode(self, model, codes: np.ndarray) -> np.ndarray:
        """Samples (n,) at 24 kHz, in float32 whatever the model is in: 16 bit would add noise that is not the voice's.

        The codec is never trained, so one copy serves all checkpoints.
        """
        if self.codec is None:
            own = model.codec_model
            self.codec = own if next(own.parameters()).dtype == torch.float32 else copy.deepcopy(own).float()
        return decode(SimpleNamespace(codec_model=self.codec), codes)

    def _judge(self, sentence: Sentence, sound: np.ndarray, stopped: bool) -> Sample:
        row = sentence.row
        empty = is_empty(sound, SAMPLING_RATE)
        low = None if empty else lower(sound)
        heard = "" if empty else self.hear(low).strip()
        text, said = self.normalise(row.text), self.normalise(heard)
        voice = self.voices.get(row.source)
        return Sample(
            row=row.id,
            words=word_errors(text, said),
            characters=character_errors(text, said),
            similarity=0.0 if empty or voice is None else float(np.dot(voice, self.encoder.embed(low))),
            duration_ratio=0.0 if empty else len(sound) / SAMPLING_RATE / row.seconds,
            stopped=stopped,
            heard=heard,
            file=None if empty else f"{row.id}.mp3",
        )


def open_ear(settings: Listen, folder: Path, dtype: str) -> Ear:
    """An ear for the validation rows. Raises Problem when recogniser or recordings cannot be had."""
    held_out = read_sentences("validation")
    # Loading draws random weights before the real ones are read; training must not notice.
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
        recogniser = make_recogniser(settings.engine, settings.model, settings.language, words=False)
        encoder = SpeakerEncoder.load()
    return Ear(held_out, recogniser.text, encoder, settings, folder, dtype)
