"""The figures of the summary: what each is called, how it is written, what it means."""

from collections.abc import Callable
from dataclasses import dataclass

NONE = "–"


def percent(value: float) -> str:
    return f"{value:.0%}".replace("%", " %")


def clock(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(frozen=True)
class Figure:
    key: str  # in metrics.json
    title: str
    write: Callable[[float], str]
    meaning: str

    def show(self, figures) -> str:
        value = figures.get(self.key)
        return NONE if value is None else self.write(value)


FIGURES = (
    Figure(
        "wer",
        "Word errors (WER)",
        percent,
        "Words wrong, missing or added in what a speech recogniser hears, per word of the text. Lower is better; the "
        "recordings show how well the recogniser can do. A clip without sound counts as 100 %.",
    ),
    Figure("cer", "Letter errors", percent, "The same for letters: near misses count less."),
    Figure(
        "similarity",
        "Similarity (SIM)",
        "{:.2f}".format,
        "How close the voice is to the speaker's other held-out recordings: the cosine of speaker embeddings. Higher "
        "is better; different people are often near 0.5, clips of one person near 0.9.",
    ),
    Figure(
        "stop_rate",
        "Stopped",
        percent,
        "Clips that ended by themselves instead of running into the time limit.",
    ),
    Figure("duration_ratio", "Length", "× {:.2f}".format, "Length beside the recording of the same text (median)."),
    Figure("pitch_hz", "Pitch, Hz", "{:.0f}".format, "Median pitch of the voiced parts."),
    Figure(
        "pitch_spread_st",
        "Spread, st",
        "{:.1f}".format,
        "How much the pitch moves, in semitones. Far below the recordings sounds flat.",
    ),
    Figure("pace", "Pace, syll/s", "{:.1f}".format, "Syllables heard per second of speech, pauses left out."),
    Figure("empty", "No sound", str, "Clips that are shorter than 0.3 s or silent."),
    Figure("clips", "Clips", str, "How many were measured. None is left out."),
)
