"""Cut rows of whole sentences, split them by blocks of time, account for every second.

    python -m stages.segment

Reads data/sources.yaml, data/corrected/<key>.json and data/fetched/<key>.flac of every key; writes
data/rows/{train,validation,test}.parquet, which `datasets.load_dataset("data/rows")` opens as it is,
reports/data.json (the ledger) and reports/corrections.json (hits of every replacement rule).
"""

import json
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from stages.audio.silence import RATE, counter, open_recording, scan, silences, speech_frames
from stages.audio.sound import sound_bytes
from stages.files.atomic import replacing_folder, write_json
from stages.files.rows import SCHEMA, SPLITS, Row, write_rows
from stages.files.settings import read_settings
from stages.process.problem import Problem
from stages.recordings.source import read_sources
from stages.speech.cutting import SHORTEST_SILENCE, Piece, SegmentSettings, cut_pieces, group_sentences, stack
from stages.speech.ledger import account, report, table
from stages.speech.replacements import CorrectSettings, hits_by_rule
from stages.speech.sentences import has_tables, is_finished
from stages.speech.splitting import check_enough, leaks, split_rows
from stages.speech.transcript import Transcript, read_transcript, transcript_path
from stages.speech.words import sentence_bounds, timed_words

FETCHED, CORRECTED, ROWS = Path("data/fetched"), Path("data/corrected"), Path("data/rows")
NAMES = {"double": "float64"}  # Arrow's name of a type and that of `datasets`, where they differ


@dataclass(frozen=True)
class Recording:
    """One recording, cut: its length in samples, its speech per 10 ms, and its pieces in order."""

    samples: int
    speech: np.ndarray
    pieces: list[Piece]


def corrected_transcript(key: str) -> Transcript:
    path = transcript_path(CORRECTED, key)
    transcript = read_transcript(path)
    if transcript.corrections is None:
        raise Problem(f"{path}: has not been corrected; run `dvc repro`")
    return transcript


def check_rules(hits: dict, strict: bool) -> None:
    """Warn of rules that fire nowhere; raise Problem for them when `strict`."""
    if hits["never_fired"]:
        rules = ", ".join(repr(find) for find in hits["never_fired"])
        message = f"data/replacements.yaml: never fired: {rules}; mend the rule or take it out"
        if strict:
            raise Problem(f"{message} (an error because of correct.strict)")
        print(f"segment: warning: {message}", file=sys.stderr)


def cut_recording(key: str, transcript: Transcript, settings: SegmentSettings, progress) -> Recording:
    """Find the pieces of one recording and group them into rows."""
    words, bounds = timed_words(transcript, str(transcript_path(CORRECTED, key)))
    samples, level, regions = scan(FETCHED / f"{key}.flac", progress)
    speech = speech_frames(level, regions)
    language = transcript.language
    if settings.method == "sentences":
        if not has_tables(language):
            print(f"segment: warning: {key}: no sentence rules for {language!r}; using the English", file=sys.stderr)
        bounds = sentence_bounds(words, language)
    silence = silences(speech, SHORTEST_SILENCE)
    pieces = cut_pieces(words, bounds, silence, counter(speech), samples / RATE, settings)
    if settings.method == "simple":
        return Recording(samples, speech, stack(pieces, settings))
    if not pieces[-1].reason and not is_finished(pieces[-1].text):
        pieces[-1] = replace(pieces[-1], reason="unfinished")
    return Recording(samples, speech, group_sentences(pieces, settings))


def kept_rows(recordings: dict[str, Recording], speakers: dict[str, int]) -> list[Row]:
    """The kept pieces as rows, sorted, not yet split."""
    return sorted(
        Row(key, piece.start, piece.end, piece.text, speakers[key])
        for key, recording in recordings.items()
        for piece in recording.pieces
        if not piece.reason
    )


def dropped_pieces(recordings: dict[str, Recording]) -> Counter:
    return Counter(piece.reason for recording in recordings.values() for piece in recording.pieces if piece.reason)


def accounts_of(recordings: dict[str, Recording], rows: list[Row], leaked: set[str]) -> dict:
    """The ledger by recording; `rows` with their splits."""
    names = {(row.recording, row.start): "text_leak" if row.id in leaked else row.split for row in rows}
    return {
        key: account(
            recording.samples,
            [(p.start, p.end, p.reason or names[key, p.start]) for p in recording.pieces],
            recording.speech,
            RATE,
        )
        for key, recording in recordings.items()
    }


def audio_column(rows: list[Row]) -> pa.StructArray:
    """The sound of each row as `datasets` keeps it: FLAC bytes and a file name."""
    cells = []
    for row in rows:
        with open_recording(FETCHED / f"{row.recording}.flac") as sound:
            sound.seek(round(row.start * RATE))
            cells.append(sound_bytes(sound.read(round(row.seconds * RATE), dtype="int16")))
    paths = [f"{row.id}.flac" for row in rows]
    return pa.StructArray.from_arrays([pa.array(cells, pa.binary()), pa.array(paths, pa.string())], ["bytes", "path"])


def features() -> dict[str, str]:
    """What `datasets` reads from the Parquet schema. Not decoded on access: that takes torchcodec and FFmpeg."""
    columns = {name: {"dtype": NAMES.get(str(kind), str(kind)), "_type": "Value"} for name, kind in SCHEMA.items()}
    columns["audio"] = {"sampling_rate": RATE, "decode": False, "_type": "Audio"}
    return {"huggingface": json.dumps({"info": {"features": columns}})}


def main() -> None:
    settings = read_settings(SegmentSettings, "segment")
    strict = read_settings(CorrectSettings, "correct").strict
    sources = read_sources()
    transcripts = {key: corrected_transcript(key) for key in sources}
    hits = hits_by_rule({key: transcript.model_dump() for key, transcript in transcripts.items()})
    check_rules(hits, strict)
    recordings = {}
    whole = sum(transcript.duration for transcript in transcripts.values())
    with tqdm(
        total=whole, desc="segment", bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"
    ) as bar:
        for key, transcript in transcripts.items():
            recordings[key] = cut_recording(key, transcript, settings, bar.update)
    rows = kept_rows(recordings, {key: source.speaker for key, source in sources.items()})
    check_enough(rows, dropped_pieces(recordings))
    rows = split_rows(rows, settings.validation_share, settings.test_share, settings.block_seconds, settings.seed)
    leaked = leaks(rows)
    kept = [row for row in rows if row.id not in leaked]
    metrics = report(accounts_of(recordings, rows, leaked), kept, RATE, hits["total"])
    with replacing_folder(ROWS) as folder:
        for split in SPLITS:
            part = [row for row in kept if row.split == split]
            write_rows(folder / f"{split}.parquet", part, {"audio": audio_column(part)}, features())
    write_json("reports/corrections.json", hits)
    write_json("reports/data.json", metrics)
    print(table(metrics))


if __name__ == "__main__":
    run(main, "segment")
