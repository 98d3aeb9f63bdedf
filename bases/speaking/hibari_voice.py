"""The hibari synthesiser, 120 times faster than real time, and the pseudo-speakers that resampling makes of it."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import soxr
from hibari import Hibari, dsp

from stages.files.atomic import replacing
from tools.kokoro import Spoken

RATE = 24_000
DURATIONS = "/Clip_output_0"  # frames per phoneme: inside the packaged graph, here an output as well
DURATION_SAMPLES = 600  # samples of one such frame


class HibariVoice:
    """Speaks text as `heart`, or as heart with pitch and vocal tract scaled by a factor."""

    def __init__(self, model: Path):
        """`model`: where the ONNX model with durations is kept; it is made when it is not there."""
        self.hibari = Hibari(voice="heart")
        if not model.is_file():
            graph = onnx.load(self.hibari.model_path)
            graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(DURATIONS))
            with replacing(model) as temporary:
                onnx.save(graph, str(temporary))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(model), options)

    def __call__(self, text: str, factor: float = 1.0, speed: float = 1.0, seed: int = 0) -> Spoken:
        """Speak one sentence; `factor` 1.25 is a smaller speaker with a higher voice, at the same tempo."""
        phonemes = "".join(mark for mark in self.hibari.phonemize(text)[0] if mark in self.hibari.vocab)
        ids = np.asarray([self.hibari.ids(phonemes)], np.int64)
        names = ["lh", "theta", "ln", "lr", "phi", "f0", DURATIONS]
        pace = np.asarray([speed / factor], np.float32)
        *spectra, durations = self.session.run(names, {"ids": ids, "speed": pace})
        samples = dsp.synth(*(part[0] for part in spectra), np.random.default_rng(seed))
        edges = np.cumsum(np.asarray(durations, np.float64).ravel())[:-1] * DURATION_SAMPLES / factor
        if factor != 1.0:
            samples = soxr.resample(samples, RATE * factor, RATE).astype(np.float32)
        return Spoken(samples, phonemes, np.minimum(edges, len(samples)).astype(np.int64))
