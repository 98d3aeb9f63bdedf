"""Sound for people to play: small MP3 files that every browser takes, with the same bytes for the same sound."""

import io
from pathlib import Path

import numpy as np
import soundfile

from stages.audio.sound import SAMPLING_RATE

# MP3, because Safari plays Ogg and FLAC only in late versions, and because Ogg's random stream number would change the
# bytes at every run. 0 is the largest file, 1 the smallest; here about 55 kbit/s for speech at 24 kHz.
COMPRESSION = 0.5


def mp3_bytes(samples: np.ndarray) -> bytes:
    """An MP3 file of a clip (n,) float32 at 24 kHz; louder than full scale is cut."""
    buffer = io.BytesIO()
    options = {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": COMPRESSION}
    with soundfile.SoundFile(buffer, "w", SAMPLING_RATE, 1, bitrate_mode="VARIABLE", **options) as sound:
        sound.write(np.clip(samples, -1, 1))
    return buffer.getvalue()


def write_mp3(path: str | Path, samples: np.ndarray) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mp3_bytes(samples))
