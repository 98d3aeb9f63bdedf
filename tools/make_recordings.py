"""Make the default recordings: `python -m tools.make_recordings` speaks data/recordings/<key>.txt.

Needs `pip install hibari-tts==0.2.1`, a speech synthesiser with its voice inside the package (Apache-2.0). The
results are committed, so nothing else needs it.
A text file holds one sentence a line; an empty line is a longer pause. The containers and codecs differ on purpose:
the pipeline must read them all.
"""

import zlib
from pathlib import Path

import av
import numpy as np
from hibari import Hibari

from stages.files.atomic import replacing
from stages.process.problem import Problem
from stages.process.stage import run

FOLDER = Path("data/recordings")
RATE = 24_000
SENTENCE_PAUSE = (0.35, 0.70)  # seconds, the range
PARAGRAPH_PAUSE = (0.90, 1.40)
EDGE = 0.4  # silence at both ends, seconds
PEAK = 0.7  # of full scale; room for the overshoot of lossy codecs
BIT_EXACT = {"fflags": "+bitexact"}  # an Ogg file has a random serial number otherwise
# recording -> (suffix, codec, bits per second); 24 kHz mono speech needs no more
FORMATS = {
    "harbour": (".ogg", "libopus", 32_000),
    "letters": (".m4a", "aac", 48_000),
    "workshop": (".mp3", "libmp3lame", 48_000),
}


def paragraphs(text: str) -> list[list[str]]:
    """Sentences by paragraph: one a line, paragraphs divided by empty lines."""
    blocks = [[line.strip() for line in block.splitlines() if line.strip()] for block in text.split("\n\n")]
    return [block for block in blocks if block]


def silence(length: float) -> np.ndarray:
    return np.zeros(round(length * RATE), np.float32)


def speak(voice: Hibari, text: str, seed: int) -> np.ndarray:
    """The whole text as float32 samples at 24 kHz; pauses vary by `seed`, the same every time."""
    random = np.random.default_rng(seed)
    parts = [silence(EDGE)]
    for paragraph in paragraphs(text):
        for number, sentence in enumerate(paragraph):
            if number:
                parts.append(silence(random.uniform(*SENTENCE_PAUSE)))
            parts.append(voice(sentence, seed=int(random.integers(2**31))))
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
    voice = Hibari(voice="heart")
    for key, (suffix, codec, bit_rate) in FORMATS.items():
        source, target = FOLDER / f"{key}.txt", FOLDER / f"{key}{suffix}"
        if not source.is_file():
            raise Problem(f"{source}: no such file; write the text that is to be spoken, one sentence a line")
        samples = speak(voice, source.read_text(encoding="utf-8"), zlib.crc32(key.encode()))
        write_audio(target, samples, codec, bit_rate)
        print(f"{target}: {len(samples) / RATE:.1f} s, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    run(main, "make_recordings")
