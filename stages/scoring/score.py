"""From what was heard to scores: one per clip, beside the text and the speaker's held-out recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from stages.files.rows import Row
from stages.scoring.listen import Heard
from stages.scoring.prosody import syllables
from stages.scoring.speak import Utterance
from stages.scoring.speaker import centroid
from stages.scoring.words import Normaliser, character_errors, word_errors


@dataclass(frozen=True)
class Score:
    """One clip, measured. A clip with no sound has 100 % word errors and no similarity: it is never left out."""

    condition: str
    row: str
    seed: int | None
    wer: float
    cer: float
    words: int  # in the text, normalised
    word_errors: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int
    character_errors: int
    similarity: float | None  # cosine to the speaker's other held-out recordings
    stopped: bool | None  # None for recorded sound
    empty: bool
    seconds: float
    duration_ratio: float  # to the recording of the same text
    pitch_hz: float | None
    pitch_spread_st: float | None
    pace: float | None  # syllables heard per second of speech
    loudness_lufs: float | None
    text: str
    heard: str


class HeldOutVoices:
    """Speaker similarity to held-out recordings, always without the recording of the very sentence that is scored.

    So a recording is not compared with itself, and all conditions are compared with the same reference.
    """

    def __init__(self, recordings: Sequence[tuple[Row, Heard]]):
        self._of_speaker: dict[int, dict[str, np.ndarray]] = {}
        for row, heard in recordings:
            if heard.embedding is not None:
                self._of_speaker.setdefault(row.source, {})[row.id] = np.array(heard.embedding)

    def similarity(self, row: Row, heard: Heard) -> float | None:
        """Cosine to the speaker's centroid; None for a clip without sound, or with no other recording to compare to."""
        others = [voice for name, voice in self._of_speaker.get(row.source, {}).items() if name != row.id]
        if heard.embedding is None or not others:
            return None
        return float(np.dot(centroid(others), heard.embedding))


def score(utterance: Utterance, heard: Heard, voices: HeldOutVoices, normalise: Normaliser) -> Score:
    row = utterance.sentence.row
    text, said = normalise(row.text), normalise(heard.text)
    words, characters = word_errors(text, said), character_errors(text, said)
    spoken = syllables(said)
    return Score(
        condition=utterance.condition,
        row=row.id,
        seed=utterance.seed,
        wer=words.rate,
        cer=characters.rate,
        words=words.total,
        word_errors=words.count,
        substitutions=words.substitutions,
        deletions=words.deletions,
        insertions=words.insertions,
        characters=characters.total,
        character_errors=characters.count,
        similarity=voices.similarity(row, heard),
        stopped=utterance.stopped,
        empty=heard.empty,
        seconds=heard.seconds,
        duration_ratio=heard.seconds / row.seconds,
        pitch_hz=heard.pitch_hz,
        pitch_spread_st=heard.pitch_spread_st,
        pace=spoken / heard.speech_seconds if spoken and heard.speech_seconds else None,
        loudness_lufs=heard.loudness_lufs,
        text=row.text,
        heard=heard.text,
    )


def as_table(scores: Sequence[Score]) -> pd.DataFrame:
    """One line per clip, in the order given; whole numbers stay whole where some are missing."""
    table = pd.DataFrame([asdict(one) for one in scores])
    table["seed"] = table["seed"].astype("Int64")
    table["stopped"] = table["stopped"].astype("boolean")
    return table


def as_csv(table: pd.DataFrame, decimals: int = 4) -> str:
    flags = {name: table[name].astype("Int64") for name in ("stopped", "empty")}  # 0 and 1, which every plot can draw
    return table.assign(**flags).round(decimals).to_csv(index=False, lineterminator="\n")


def summarise(table: pd.DataFrame) -> dict[str, dict[str, float | int | None]]:
    """Condition -> figures, over all its clips.

    wer and cer are those of all clips taken together (errors per word of text); similarity is a mean, the others are
    medians, each over the clips that have sound; `empty` counts those that have none.
    """
    return {str(name): _figures(clips) for name, clips in table.groupby("condition", sort=False)}


def _figures(clips: pd.DataFrame) -> dict[str, float | int | None]:
    def rounded(value, decimals: int = 4) -> float | None:
        return None if pd.isna(value) else round(float(value), decimals)

    figures = {
        "wer": rounded(clips["word_errors"].sum() / clips["words"].sum()),
        "cer": rounded(clips["character_errors"].sum() / clips["characters"].sum()),
        "similarity": rounded(clips["similarity"].astype(float).mean()),
        "duration_ratio": rounded(clips["duration_ratio"].median()),
        "pitch_hz": rounded(clips["pitch_hz"].astype(float).median(), 1),
        "pitch_spread_st": rounded(clips["pitch_spread_st"].astype(float).median(), 2),
        "pace": rounded(clips["pace"].astype(float).median(), 2),
        "loudness_lufs": rounded(clips["loudness_lufs"].astype(float).median(), 1),
        "empty": int(clips["empty"].sum()),
        "clips": len(clips),
    }
    if clips["stopped"].notna().all():
        figures["stop_rate"] = rounded(clips["stopped"].astype(float).mean())
    return figures


def as_metrics(summary: Mapping[str, Mapping[str, float | int | None]]) -> dict[str, dict[str, float | int]]:
    """The summary without the figures that could not be measured: DVC compares numbers only."""
    return {
        condition: {name: value for name, value in figures.items() if value is not None}
        for condition, figures in summary.items()
    }
