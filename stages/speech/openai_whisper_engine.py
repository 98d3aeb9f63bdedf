"""openai-whisper: the reference implementation in torch, float16 on a GPU, float32 on a CPU."""

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
import whisper
from whisper.tokenizer import LANGUAGES

from stages.process.problem import Problem
from stages.process.stage import work_folder
from stages.speech.engine import Decoding
from stages.speech.package_weights import PREFIX, packaged_folder
from stages.speech.transcript import Segment, Word
from stages.speech.whisper_checkpoint import convert_ctranslate2

SCORES = ("avg_logprob", "compression_ratio", "no_speech_prob")


class OpenaiWhisper:
    name = "openai-whisper"
    version = whisper.__version__

    def __init__(self, model: str, decoding: Decoding):
        """`model`: package:<name>, a .pt file or a Whisper name. Downloads go to Whisper's own cache."""
        self.decoding = decoding
        self.model = load(model, "cuda" if torch.cuda.is_available() else "cpu")

    def decode(self, samples: np.ndarray, language: str | None) -> tuple[str, Iterable[Segment]]:
        known = LANGUAGES if self.model.is_multilingual else {"en": "english"}
        if language and language not in known:
            raise Problem(f"language {language!r}: this model does not know it; it knows {', '.join(known)}")
        torch.manual_seed(0)  # temperatures above 0 draw words
        result = self.model.transcribe(
            samples,
            language=language,
            initial_prompt=self.decoding.prompt,
            carry_initial_prompt=self.decoding.prompt is not None,  # to every window, not to the first alone
            temperature=self.decoding.temperature,
            beam_size=self.decoding.beam_size,
            word_timestamps=self.decoding.words,
            condition_on_previous_text=False,  # else one repeated phrase infects everything after it
            fp16=self.model.device.type == "cuda",
            verbose=None,
        )
        return result["language"], map(as_segment, result["segments"])


def load(model: str, device: str) -> whisper.Whisper:
    if model.startswith(PREFIX):
        return load_packaged(model, device)
    path = Path(model).expanduser()
    if path.is_dir():
        raise Problem(
            f"model {model!r}: is a folder; openai-whisper wants a .pt file, CTranslate2 is for faster-whisper"
        )
    if path.is_file():
        try:
            return whisper.load_model(str(path), device=device)
        except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise Problem(f"model {model!r}: not a checkpoint of openai-whisper ({error!r})") from None
    if model not in whisper.available_models():
        known = ", ".join(whisper.available_models())
        raise Problem(f"model {model!r}: no such file or name; use {PREFIX}tiny.en, a .pt file, or {known}")
    try:
        return whisper.load_model(model, device=device)
    except (URLError, ConnectionError, TimeoutError, RuntimeError) as error:
        remedy = f"check the net, or use {PREFIX}tiny.en or a .pt file"
        raise Problem(f"model {model!r}: cannot be downloaded ({error}); {remedy}") from None


def load_packaged(model: str, device: str) -> whisper.Whisper:
    """The packaged CTranslate2 weights, converted once into .work/models."""
    folder = packaged_folder(model)
    size = (folder / "model.bin").stat().st_size
    converted = work_folder() / "models" / f"{model.removeprefix(PREFIX)}-{size}.pt"
    if not converted.is_file():
        convert_ctranslate2(folder / "model.bin", converted)
    loaded = whisper.load_model(str(converted), device=device)
    # Which attention heads follow the words' times: load_model knows it for its own names only.
    heads = torch.zeros(loaded.dims.n_text_layer, loaded.dims.n_text_head, dtype=torch.bool)
    for layer, head in json.loads((folder / "config.json").read_text(encoding="utf-8"))["alignment_heads"]:
        heads[layer, head] = True
    loaded.register_buffer("alignment_heads", heads.to_sparse().to(device), persistent=False)
    return loaded


def as_segment(found: dict) -> Segment:
    words = [
        Word(
            word=word["word"],
            start=max(float(word["start"]), 0.0),
            end=max(float(word["end"]), 0.0),
            probability=round(float(word["probability"]), 3),
        )
        for word in found.get("words", ())
    ]
    start, end = (max(float(found[name]), 0.0) for name in ("start", "end"))
    scores = {name: round(float(found[name]), 3) for name in SCORES}
    temperature = float(found["temperature"])
    return Segment(
        id=found["id"], start=start, end=end, text=found["text"], temperature=temperature, words=words, **scores
    )
