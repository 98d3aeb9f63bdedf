"""faster-whisper: Whisper in CTranslate2, int8 on a CPU, float16 on a GPU."""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

import ctranslate2
import faster_whisper
import numpy as np
from faster_whisper import WhisperModel
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from stages.process.problem import Problem
from stages.speech.engine import Decoding
from stages.speech.package_weights import PREFIX, packaged_folder
from stages.speech.transcript import Segment, Word

CUBLAS = "libcublas.so.12"  # CTranslate2 opens it when it first multiplies on a GPU


class FasterWhisper:
    name = "faster-whisper"
    version = faster_whisper.__version__

    def __init__(self, model: str, decoding: Decoding):
        """`model`: package:<name>, a folder with CTranslate2 weights, a Whisper name or a hub repository."""
        self.decoding = decoding
        device, kind = best_device()
        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        where = locate(model)
        try:
            self.model = WhisperModel(where, device=device, compute_type=kind, cpu_threads=threads)
        except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError) as error:
            remedy = f"check the net, or use {PREFIX}tiny.en or a folder with CTranslate2 weights"
            raise Problem(f"model {model!r}: cannot be downloaded ({str(error).splitlines()[0]}); {remedy}") from None
        except (RuntimeError, ValueError) as error:
            raise Problem(f"model {model!r}: cannot be loaded by faster-whisper ({error})") from None

    def decode(self, samples: np.ndarray, language: str | None) -> tuple[str, Iterable[Segment]]:
        if language and language not in self.model.supported_languages:
            known = ", ".join(self.model.supported_languages)
            raise Problem(f"language {language!r}: this model does not know it; it knows {known}")
        ctranslate2.set_random_seed(0)  # temperatures above 0 draw words
        found, info = self.model.transcribe(
            samples,
            language=language,
            # The prompt as hotwords: it is given to every window, not to the first alone.
            hotwords=self.decoding.prompt,
            temperature=self.decoding.temperature,
            beam_size=self.decoding.beam_size,
            word_timestamps=self.decoding.words,
            condition_on_previous_text=False,  # else one repeated phrase infects everything after it
        )
        return info.language, map(as_segment, found)


def locate(model: str) -> str:
    """What WhisperModel takes: a folder, or a name it looks up on the hub. Raises Problem for neither."""
    if model.startswith(PREFIX):
        return str(packaged_folder(model))
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "model.bin").is_file():
            raise Problem(f"model {model!r}: the folder has no model.bin; faster-whisper wants CTranslate2 weights")
        return str(path)
    if path.is_file():
        raise Problem(f"model {model!r}: is a file; faster-whisper wants a folder, a .pt file is for openai-whisper")
    if model.startswith(("/", ".", "~")) or model.count("/") > 1:
        raise Problem(f"model {model!r}: no such folder; give one with CTranslate2 weights, or a name")
    if "/" not in model and model not in faster_whisper.available_models():
        known = ", ".join(faster_whisper.available_models())
        raise Problem(f"model {model!r}: faster-whisper knows no such name; use {PREFIX}tiny.en, a folder, or {known}")
    return model


def best_device() -> tuple[str, str]:
    """Device and number format. A GPU counts only if its CUDA 12 library is here: torch may bring another one."""
    if not ctranslate2.get_cuda_device_count():
        return "cpu", "int8"
    try:
        ctypes.CDLL(CUBLAS)
    except OSError:
        remedy = "pip install nvidia-cublas-cu12 and put its folder into LD_LIBRARY_PATH, or use openai-whisper"
        print(f"faster-whisper: runs on the CPU, since {CUBLAS} is not here; for the GPU {remedy}")
        return "cpu", "int8"
    kinds = ctranslate2.get_supported_compute_types("cuda")
    return "cuda", "float16" if "float16" in kinds else "float32"


def as_segment(found: faster_whisper.transcribe.Segment) -> Segment:
    return Segment(
        id=found.id,
        start=max(float(found.start), 0.0),
        end=max(float(found.end), 0.0),
        text=found.text,
        temperature=found.temperature,
        avg_logprob=round(float(found.avg_logprob), 3),
        compression_ratio=round(float(found.compression_ratio), 3),
        no_speech_prob=round(float(found.no_speech_prob), 3),
        words=[
            Word(
                word=word.word,
                start=max(float(word.start), 0.0),
                end=max(float(word.end), 0.0),
                probability=round(float(word.probability), 3),
            )
            for word in found.words or ()
        ],
    )
