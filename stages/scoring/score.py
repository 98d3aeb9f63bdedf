"""From what was heard to scores: one per clip, beside the text and the speaker's held-out recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from stages.files.rows import Row
from stages.scoring.failures import END_SHARE, Limits, failures
from stages.scoring.listen import Heard
from stages.scoring.prosody import syllables
from stages.scoring.speak import Utterance
from stages.scoring.speaker import centroid
from stages.scoring.words import Normaliser, character_errors, end_is_missing, seed_tts, word_errors


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
    wer_seed_tts: float  # with the normaliser of Seed-TTS
    wer_second: float | None  # by the second recogniser; None when there is none
    similarity: float | None  # cosine to the speaker's other held-out recordings
    similarity_prompt: float | None  # cosine to the training audio that clones hear
    stopped: bool | None  # None for recorded sound
    empty: bool
    seconds: float
    duration_ratio: float  # to the recording of the same text
    pitch_hz: float | None
    pitch_spread_st: float | None
    pace: float | None  # syllables heard per second of speech
    pause_share: float | None  # of the time from first to last speech
    longest_pause: float  # s
    trailing_silence: float  # s
    loudness_lufs: float | None
    quality: float | None  # the predictor's mark; None for a clip with no sound, or without a predictor
    failures: str  # their names, with spaces between them
    text: str
    heard: str
    heard_second: str | None


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
        voice = self._without(row.source, row.id)
        return None if heard.embedding is None or voice is None else float(np.dot(voice, heard.embedding))

    def genuine(self) -> list[float]:
        """Cosine of every recording to the others of its speaker; speakers with a single one have none."""
        found = []
        for source, recordings in self._of_speaker.items():
            for name, embedding in recordings.items():
                voice = self._without(source, name)
                if voice is not None:
                    found.append(float(np.dot(voice, embedding)))
        return found

    def impostors(self, others: Sequence[np.ndarray]) -> list[float]:
        """Cosine of every one of other people's voices to every speaker's centroid."""
        centroids = [centroid(list(recordings.values())) for recordings in self._of_speaker.values()]
        return [float(np.dot(voice, other)) for voice in centroids for other in others]

    def _without(self, source: int, name: str) -> np.ndarray | None:
        others = [voice for row, voice in self._of_speaker.get(source, {}).items() if row != name]
        return centroid(others) if others else None


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What clips are measured against. `prompts`: speaker -> unit vector of the training audio that clones hear."""

    voices: HeldOutVoices
    prompts: Mapping[int, np.ndarray]
    normalise: Normaliser
    limits: Limits


def score(utterance: Utterance, heard: Heard, yardstick: Yardstick) -> Score:
    row, normalise = utterance.sentence.row, yardstick.normalise
    text, said = normalise(row.text), normalise(heard.text)
    words, characters = word_errors(text, said), character_errors(text, said)
    second = None if heard.text_second is None else word_errors(text, normalise(heard.text_second)).rate
    prompt, spoken = yardstick.prompts.get(row.source), syllables(said)
    found = Score(
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
        wer_seed_tts=word_errors(seed_tts(row.text), seed_tts(heard.text)).rate,
        wer_second=second,
        similarity=yardstick.voices.similarity(row, heard),
        similarity_prompt=None if heard.empty or prompt is None else float(np.dot(prompt, heard.embedding)),
        stopped=utterance.stopped,
        empty=heard.empty,
        seconds=heard.seconds,
        duration_ratio=heard.seconds / row.seconds,
        pitch_hz=heard.pitch_hz,
        pitch_spread_st=heard.pitch_spread_st,
        pace=spoken / heard.speech_seconds if spoken and heard.speech_seconds else None,
        pause_share=heard.pause_share,
        longest_pause=heard.longest_pause,
        trailing_silence=heard.trailing_silence,
        loudness_lufs=heard.loudness_lufs,
        quality=heard.quality,
        failures="",
        text=row.text,
        heard=heard.text,
        heard_second=heard.text_second,
    )
    failed = failures(found, end_is_missing(text, said, END_SHARE), yardstick.limits)
    return replace(found, failures=" ".join(failed))


def as_table(scores: Sequence[Score]) -> pd.DataFrame:
    """One line per clip, in the order given; whole numbers stay whole where some are missing."""
    table = pd.DataFrame([asdict(one) for one in scores])
    table["seed"] = table["seed"].astype("Int64")
    table["stopped"] = table["stopped"].astype("boolean")
    return table


def as_csv(table: pd.DataFrame, decimals: int = 4) -> str:
    flags = {name: table[name].astype("Int64") for name in ("stopped", "empty")}  # 0 and 1, which every plot can draw
    return table.assign(**flags).round(decimals).to_csv(index=False, lineterminator="\n")
