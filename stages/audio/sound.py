"""Sound as the pipeline keeps it: mono FLAC, 16 bit, 24 kHz - the rate of the Mimi codec."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from stages.files.atomic import replacing
from stages.process.problem import Problem

SAMPLING_RATE = 24_000


class _CheckedFile:
    """A file for libsndfile that remembers why a write failed; libsndfile itself says no more than "System error"."""

    def __init__(self, file):
        self.file, self.seek, self.tell, self.error = file, file.seek, file.tell, None

    def write(self, data) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            return 0


@contextmanager
def flac_writer(file) -> Iterator[soundfile.SoundFile]:
    """Yield a SoundFile on the open binary `file`, to be given blocks of int16 (n,) or float32 (n,) samples.

    Raises the OSError behind a failed write (a full disk), be it in the middle or when the last block is flushed.
    """
    checked = _CheckedFile(file)
    try:
        with soundfile.SoundFile(checked, "w", SAMPLING_RATE, 1, format="FLAC", subtype="PCM_16") as sound:
            yield sound
        file.flush()
    except soundfile.SoundFileError:
        if checked.error is None:
            raise
    if checked.error is not None:
        raise checked.error


def write_sound(path: str | Path, samples: np.ndarray) -> None:
    """Write samples (n,), float in -1..1 or int16, at 24 kHz, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file, flac_writer(file) as sound:
        sound.write(samples)


def sound_bytes(samples: np.ndarray) -> bytes:
    """The same FLAC as bytes, for a Parquet cell."""
    buffer = io.BytesIO()
    with flac_writer(buffer) as sound:
        sound.write(samples)
    return buffer.getvalue()


def read_sound(source: str | Path | bytes, start: float = 0.0, end: float | None = None) -> np.ndarray:
    """Samples from `start` to `end` seconds (to the end by default) as float32 (n,).

    `source` is a file or the bytes of one. Raises Problem when it is missing or not mono sound at 24 kHz.
    """
    where = "sound" if isinstance(source, bytes) else str(source)
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else where) as sound:
            if (sound.samplerate, sound.channels) != (SAMPLING_RATE, 1):
                raise Problem(f"{where}: {sound.samplerate} Hz, {sound.channels} channels, not 24 kHz mono")
            sound.seek(min(round(start * SAMPLING_RATE), sound.frames))
            frames = -1 if end is None else max(0, round(end * SAMPLING_RATE) - sound.tell())
            return sound.read(frames, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise Problem(f"{where}: cannot be read as sound ({error}); remove it and run `dvc repro`") from None
