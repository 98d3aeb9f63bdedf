"""Make the default recordings: `python -m tools.make_recordings kokoro-js-1.2.1.tgz` speaks data/recordings/<key>.txt.

Needs what tools/kokoro.py names; the results are committed, so nothing else needs it. A text file holds one sentence a
line; an empty line is a longer pause. The containers and codecs differ on purpose: the pipeline must read them all.
"""

import argparse
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from stages.files.atomic import replacing
from stages.process.problem import Problem
from stages.process.stage import run, work_folder
from tools.kokoro import Kokoro

FOLDER = Path("data/recordings")
VOICE = "am_michael"  # a voice that the embedded base was never trained on
RATE = 24_000
SENTENCE_PAUSE = (0.35, 0.70)  # seconds, the range
PARAGRAPH_PAUSE = (0.90, 1.40)
SPEED = (0.92, 1.04)  # nobody reads every sentence at one tempo
EDGE = 0.4  # silence at both ends, seconds
PEAK = 0.7  # of full scale; room for the overshoot of lossy codecs
BIT_EXACT = {"fflags": "+bitexact"}  # an Ogg file has a random serial number otherwise
# recording -> (suffix, codec, bits per second); 24 kHz mono speech needs no more
FORMATS = {
    "monday": (".ogg", "libopus", 32_000),
    "wednesday": (".m4a", "aac", 48_000),
    "friday": (".mp3", "libmp3lame", 48_000),
}


def paragraphs(text: str) -> list[list[str]]:
    """Sentences by paragraph: one a line, paragraphs divided by empty lines."""
    blocks = [[line.strip() for line in block.splitlines() if line.strip()] for block in text.split("\n\n")]
    return [block for block in blocks if block]


def silence(length: float) -> np.ndarray:
    return np.zeros(round(length * RATE), np.float32)


def trimmed(samples: np.ndarray) -> np.ndarray:
    """Without the silence that the synthesiser puts around a sentence: the pauses are drawn here."""
    loud = (np.abs(samples) > 0.01 * np.abs(samples).max()).nonzero()[0]
    return samples[max(0, loud[0] - RATE // 50) : loud[-1] + RATE // 20]


def speak(say: Callable[[str, float], np.ndarray], text: str, seed: int) -> np.ndarray:
    """The whole text as float32 samples at 24 kHz; pauses and tempo vary by `seed`, the same every time.

    `say(sentence, speed)` gives the samples of one sentence.
    """
    random = np.random.default_rng(seed)
    parts = [silence(EDGE)]
    for paragraph in paragraphs(text):
        for number, sentence in enumerate(paragraph):
            if number:
                parts.append(silence(random.uniform(*SENTENCE_PAUSE)))
            parts.append(trimmed(say(sentence, random.uniform(*SPEED))))
        parts.append(silence(random.uniform(*PARAGRAPH_PAUSE)))
    parts[-1] = silence(EDGE)
    samples = np.concatenate(parts)
    return samples * (PEAK / np.abs(samples).max())


def write_audio(path: Path, samples: np.ndarray, codec: str, bit_rate: int) -> None:
    """Encode float32 mono samples at 24 kHz, whole or not at all."""
    pcm = np.round(samples * 32767).astype(np.int16)
    with replacing(path) as temporary, av.open(str(temporary), "w", options=BIT_EXACT) as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("styles", type=Path, help="the archive that `npm pack kokoro-js@1.2.1` wrote")
    styles = parser.parse_args().styles
    kokoro = Kokoro(styles, work_folder() / "kokoro.onnx")
    for key, (suffix, codec, bit_rate) in FORMATS.items():
        source, target = FOLDER / f"{key}.txt", FOLDER / f"{key}{suffix}"
        if not source.is_file():
            raise Problem(f"{source}: no such file; write the text that is to be spoken, one sentence a line")

        def say(sentence: str, speed: float) -> np.ndarray:
            return kokoro(sentence, VOICE, speed).samples

        samples = speak(say, source.read_text(encoding="utf-8"), zlib.crc32(key.encode()))
        write_audio(target, samples, codec, bit_rate)
        print(f"{target}: {len(samples) / RATE:.1f} s, {target.stat().st_size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    run(main, "make_recordings")
