"""A tiny CSM with random weights and a few rows for it: 32 code books like the published model, made here once."""

import functools
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.audio.sound import sound_bytes
from stages.csm.base import load_csm, load_processor
from stages.csm.turns import Turn, text_ids, write_coded
from stages.files.atomic import write_json
from stages.files.rows import Row, write_rows
from tools import tiny_base
from tools.tiny_base import voiced_sound

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / ".work" / "tests" / f"base-{zlib.crc32(Path(tiny_base.__file__).read_bytes()):08x}"
if not BASE.is_dir():
    tiny_base.make(BASE)


def model():
    """A fresh copy, so that no test trains another's weights."""
    return load_csm(BASE)


@functools.cache
def processor():
    return load_processor(BASE)


def turns(lengths, seed=0):
    """One turn per length (in frames), with random codes."""
    rng = np.random.default_rng(seed)
    return [
        Turn(text_ids(processor(), f"Sentence {number}.", 0), rng.integers(1, 64, (length, 32)).astype(np.int16))
        for number, length in enumerate(lengths)
    ]


def coded(lengths, seed=0):
    """Rows of one recording, one after the other, with their turns."""
    return [
        (Row("talk", number * 10.0, number * 10.0 + 9, f"Sentence {number}."), turn)
        for number, turn in enumerate(turns(lengths, seed))
    ]


def sound(frames, seed=0):
    return voiced_sound(frames * 0.08, seed)


def rows_of(split, count):
    return [Row("talk", number * 2.0, number * 2.0 + 1.5, f"Sentence {number}.", 0, split) for number in range(count)]


def write_sound(folder, validation=4):
    """data/rows as the segment stage leaves it, but for the rows to listen to in training alone."""
    audio = [{"bytes": sound_bytes(voiced_sound(1.5, number)), "path": "x.flac"} for number in range(validation)]
    write_rows(folder / "validation.parquet", rows_of("validation", validation), {"audio": pa.array(audio)})


def write_codes(folder, train=12, validation=4, seed=0):
    """data/codes as the encode stage leaves it, with random codes, below `folder`."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("validation", validation), ("test", 2)):
        coded = turns(rng.integers(5, 20, count).tolist(), seed=count)
        write_coded(folder / f"{split}.parquet", rows_of(split, count), coded)
    write_json(folder / "base.json", {"model": str(BASE), "revision": None, "codebooks": 32})
