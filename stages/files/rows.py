"""The manifest: one row is one stretch of one recording with its text. Every stage reads and writes this type.

A Parquet file of rows holds the fields of `Row` as its first columns, and beside them whatever a stage adds
(audio bytes, codec codes).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stages.files.atomic import replacing
from stages.process.problem import Problem

SPLITS = ("train", "validation", "test")
SCHEMA = {
    "id": pa.string(),
    "recording": pa.string(),
    "start": pa.float64(),
    "end": pa.float64(),
    "text": pa.string(),
    "source": pa.int64(),
    "split": pa.string(),
}


@dataclass(frozen=True, order=True)
class Row:
    """One utterance. Times are seconds from the start of the recording, rounded to the millisecond."""

    recording: str
    start: float
    end: float
    text: str
    source: int = 0  # speaker id, as the model sees it: "[0]text"
    split: str = "train"

    @property
    def id(self) -> str:
        """`<recording>-<start in ms, 7 digits>`: sortable, safe as a file name."""
        return f"{self.recording}-{round(self.start * 1000):07d}"

    @property
    def seconds(self) -> float:
        return self.end - self.start


def check_rows(rows: Sequence[Row], where: str) -> Sequence[Row]:
    """Return `rows`, or raise Problem naming the first one that breaks the manifest's rules."""
    last: dict[str, Row] = {}
    for row in rows:
        place = f"{where}: row {row.id}"
        if row.split not in SPLITS:
            raise Problem(f"{place}: split {row.split!r} is none of {', '.join(SPLITS)}")
        if not row.text.strip() or row.text != " ".join(row.text.split()):
            raise Problem(f"{place}: text {row.text!r} is empty or has stray white space")
        if not 0 <= row.start < row.end:
            raise Problem(f"{place}: times {row.start}-{row.end} are not in order")
        if row.source < 0:
            raise Problem(f"{place}: source {row.source} is negative; speaker ids start at 0")
        before = last.get(row.recording)
        if before and row.start < before.end:
            raise Problem(f"{place}: overlaps or precedes {before.id}; rows must be sorted by recording and start")
        last[row.recording] = row
    if [row.recording for row in rows] != sorted(row.recording for row in rows):
        raise Problem(f"{where}: rows are not sorted by recording")
    return rows


def write_rows(
    path: str | Path, rows: Sequence[Row], columns: dict[str, pa.Array] | None = None, metadata=None
) -> None:
    """Write rows and further `columns` (name -> array of the same length) as Parquet, whole or not at all."""
    check_rows(rows, str(path))
    arrays = {name: pa.array([getattr(row, name) for row in rows], kind) for name, kind in SCHEMA.items()}
    table = pa.table(arrays | (columns or {})).replace_schema_metadata(metadata)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: str | Path) -> tuple[list[Row], pa.Table]:
    """Read rows and the whole table behind them. Raises Problem for a file that is no manifest."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise Problem(f"{path}: no such file; run `dvc repro` (or `dvc pull`) first") from None
    except pa.ArrowInvalid as error:
        raise Problem(f"{path}: not a Parquet file ({error}); remove it and run `dvc repro`") from None
    if missing := set(SCHEMA) - set(table.column_names):
        raise Problem(f"{path}: has no column {', '.join(sorted(missing))}; remove it and run `dvc repro`")
    names = [field.name for field in fields(Row)]
    rows = [Row(**record) for record in table.select(names).to_pylist()]
    check_rows(rows, str(path))
    return rows, table


def read_rows(path: str | Path) -> list[Row]:
    return read_table(path)[0]


def as_records(rows: Sequence[Row]) -> list[dict]:
    """Rows as plain dictionaries with their ids, for JSON and pandas."""
    return [{"id": row.id} | asdict(row) for row in rows]
