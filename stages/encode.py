"""Compute every row's codec codes and text ids once, and the codec round trip of the held-out rows.

    python -m stages.encode

Reads data/rows and the base model. Writes data/codes/{train,validation,test}.parquet (rows with codes and text ids),
data/codes/base.json (which model, at which revision), data/codec/<row>.flac and reports/encode.json.
"""

import io
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import numpy as np
import soundfile as sf

from stages.csm.base import BaseSettings, load_base, load_processor
from stages.csm.codec import FRAME_SECONDS, SAMPLING_RATE, decode, encode
from stages.csm.device import torch_device
from stages.csm.turns import Turn, text_ids, write_coded
from stages.files.atomic import replacing_folder, write_json
from stages.files.rows import SPLITS, Row, read_table
from stages.files.settings import Settings, read_settings
from stages.process.problem import Problem

ROWS, CODES, ROUND_TRIP, REPORT = Path("data/rows"), Path("data/codes"), Path("data/codec"), Path("reports/encode.json")


class EncodeSettings(Settings):
    """See `encode` in params.yaml."""

    batch_seconds: float
    device: str


def read_clips(path: Path) -> tuple[list[Row], list[np.ndarray]]:
    """Rows and their sound (samples,) float32 at 24 kHz."""
    rows, table = read_table(path)
    clips = []
    for row, audio in zip(rows, table["audio"].to_pylist(), strict=True):
        samples, rate = sf.read(io.BytesIO(audio["bytes"]), dtype="float32")
        if rate != SAMPLING_RATE or samples.ndim != 1:
            raise Problem(f"{path}: row {row.id} is not mono at {SAMPLING_RATE} Hz; run `dvc repro segment`")
        clips.append(samples)
    return rows, clips


def within(limit: int, rows: list[Row], turns: list[Turn]) -> tuple[list[Row], list[Turn]]:
    """The rows whose sequence fits the model's context of `limit` positions."""
    fitting = [(row, turn) for row, turn in zip(rows, turns, strict=True) if turn.length <= limit]
    return [row for row, _ in fitting], [turn for _, turn in fitting]


def describe(turns: list[Turn]) -> dict:
    """Sizes found in the data: what a batch must hold."""
    return {
        "rows": len(turns),
        "seconds": sum(len(turn.codes) for turn in turns) * FRAME_SECONDS,
        "longest_frames": max(len(turn.codes) for turn in turns),
        "longest_text": max(len(turn.text_ids) for turn in turns),
        "longest_sequence": max(turn.length for turn in turns),
    }


def main() -> None:
    base = read_settings(BaseSettings, "base")
    settings = read_settings(EncodeSettings, "encode")
    processor = load_processor(base.location, base.revision)
    model = load_base(base, device=torch_device(settings.device))
    limit = model.config.max_position_embeddings
    report: dict = {"context_positions": limit}
    with replacing_folder(CODES) as codes_folder, replacing_folder(ROUND_TRIP) as codec_folder:
        for split in SPLITS:
            rows, clips = read_clips(ROWS / f"{split}.parquet")
            ids = [text_ids(processor, row.text, row.source) for row in rows]
            codes = encode(model, clips, settings.batch_seconds)
            turns = [Turn(text, frames) for text, frames in zip(ids, codes, strict=True)]
            kept, kept_turns = within(limit, rows, turns)
            if not kept:
                raise Problem(f"no {split} row fits the model's {limit} positions; lower segment.max_seconds")
            write_coded(codes_folder / f"{split}.parquet", kept, kept_turns)
            report[split] = describe(kept_turns) | {"rows_over_context": len(rows) - len(kept)}
            if split == "test":
                for row, turn in zip(kept, kept_turns, strict=True):
                    sf.write(codec_folder / f"{row.id}.flac", decode(model, turn.codes), SAMPLING_RATE, "PCM_16")
        revision = getattr(model.config, "_commit_hash", None)  # set by transformers for models from the hub
        record = {"model": base.location, "revision": revision, "codebooks": model.config.num_codebooks}
        write_json(codes_folder / "base.json", record)
    write_json(REPORT, report)
    over = sum(report[split]["rows_over_context"] for split in SPLITS)
    rows = sum(report[split]["rows"] for split in SPLITS)
    print(f"encoded {rows} rows; {over} left out because they pass the model's {limit} positions")


if __name__ == "__main__":
    run(main, "encode")
