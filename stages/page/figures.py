"""The figures of the page: what each is called, how it is written, what it means; and the names of failures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stages.scoring.empty import MIN_SECONDS
from stages.scoring.failures import HIGHEST_WER, LONGEST_PAUSE, LONGEST_TAIL, MOST_INSERTIONS, SHORTEST_RATIO

NONE = "–"
MINUS = "−"


def percent(value: float) -> str:
    return f"{value:.0%}".replace("%", " %")


def clock(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """In words, for totals: `48 s`, `6 min 7 s`, `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def signed(text: str) -> str:
    """A difference with its sign, a real minus or a plus; what is written as 0 has none."""
    if not text.strip("-0."):
        return text.removeprefix("-")
    return text.replace("-", MINUS) if text.startswith("-") else f"+{text}"


def probability(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def two(value: float) -> str:
    return f"{value:.2f}"


def one(value: float) -> str:
    return f"{value:.1f}"


@dataclass(frozen=True)
class Figure:
    """One figure of a condition or of a clip. `short`: what stands before it beside a clip."""

    key: str  # in metrics.json, or a field of Score
    title: str
    write: Callable[[float], str]
    meaning: str
    short: str = ""

    def show(self, figures: Mapping) -> str:
        value = figures.get(self.key)
        return NONE if value is None else self.write(value)


def times(value: float) -> str:
    return f"× {value:.2f}"


def hertz(value: float) -> str:
    return f"{value:.0f} Hz"


def semitones(value: float) -> str:
    return f"{value:.1f} st"


def lufs(value: float) -> str:
    return f"{value:.1f} LUFS".replace("-", MINUS)


def seconds(value: float) -> str:
    return f"{value:.1f} s"


WORDS, VOICE, FAILURES = "wer", "similarity", "failed"  # the figures that the page puts first
HEADLINES = {
    WORDS: Figure(
        WORDS,
        "Word errors",
        percent,
        "Words wrong, missing or added in what a speech recogniser hears, per word of the text. The recordings show "
        "how well the recogniser can do. A clip without sound counts as 100 %. Lower is better.",
    ),
    VOICE: Figure(
        VOICE,
        "Similarity",
        two,
        "How close the voice is to the speaker's other held-out recordings: the cosine of speaker embeddings. Higher "
        "is better.",
    ),
    FAILURES: Figure(
        FAILURES,
        "Failed clips",
        percent,
        "Clips with at least one failure, such as no end, no sound or another voice. Lower is better.",
    ),
}
ALL_FIGURES = {
    "Words": (
        Figure("wer", "Word errors", percent, "All clips taken together: errors per word of the texts."),
        Figure("wer_macro", "Mean of clips", percent, "Word errors of each clip, averaged: long texts weigh no more."),
        Figure("wer_median", "Median clip", percent, "Half of the clips have fewer word errors."),
        Figure(
            "wer_seed_tts", "As Seed-TTS counts", percent, "Mean of clips with the text rules of the Seed-TTS test."
        ),
        Figure("wer_second", "Second recogniser", percent, "Mean of clips, heard by a recogniser of another family."),
        Figure("insertion_rate", "Added words", percent, "Per word of the text."),
        Figure("deletion_rate", "Missing words", percent, "Per word of the text."),
        Figure("cer", "Letter errors", percent, "As word errors, but letter by letter: near misses count less."),
    ),
    "Voice": (
        Figure("similarity", "Similarity", two, "Mean cosine to the speaker's other held-out recordings."),
        Figure(
            "similarity_normalised",
            "Share of the way",
            percent,
            "Where similarity lies between other people's voices (0 %) and the speaker's own recordings (100 %).",
        ),
        Figure("similarity_prompt", "To the prompt", two, "Mean cosine to the training audio that clones hear first."),
        Figure("similarity_seed_sd", "Seed to seed", two, "How much similarity varies over the seeds of one text."),
    ),
    "Delivery (medians)": (
        Figure(
            "duration_ratio", "Length", times, "Beside the recording, or beside what the speaker's pace would make."
        ),
        Figure("pace", "Pace, syllables/s", one, "Syllables heard per second of speech, pauses left out."),
        Figure("pause_share", "Pauses", percent, "Share of the time from first to last speech that is pause."),
        Figure("pitch_hz", "Pitch", hertz, "Median pitch of the voiced parts."),
        Figure("pitch_spread_st", "Spread of pitch", semitones, "Far below the recordings sounds flat."),
        Figure("loudness_lufs", "Loudness", lufs, "Integrated loudness (BS.1770)."),
    ),
    "Sound": (
        Figure("quality", "Quality", two, "Mean opinion, 1 to 5, as a predictor guesses it. Compare, do not quote."),
        Figure("stop_rate", "Ended by itself", percent, "Clips that did not run into the time limit."),
        Figure("empty", "Without sound", str, "Clips that are shorter than 0.3 s or silent."),
        Figure("clips", "Clips", str, "How many were measured. None is left out."),
        Figure("texts", "Texts", str, "How many texts they say."),
    ),
}
# Beside every clip, and beside it when all numbers are asked for.
OF_CLIP = (
    Figure("wer", "word errors", percent, "", "WER"),
    Figure("similarity", "similarity to the speaker", two, "", "SIM"),
)
MORE_OF_CLIP = (
    Figure("seconds", "length", seconds, ""),
    Figure("duration_ratio", "length beside the expected one", times, "", "length"),
    Figure("cer", "letter errors", percent, "", "CER"),
    Figure("wer_seed_tts", "word errors as Seed-TTS counts", percent, "", "Seed-TTS"),
    Figure("wer_second", "word errors of the second recogniser", percent, "", "2nd WER"),
    Figure("similarity_prompt", "similarity to the prompt", two, "", "to prompt"),
    Figure("pitch_hz", "median pitch", hertz, ""),
    Figure("pitch_spread_st", "spread of pitch", semitones, "", "±"),
    Figure("pace", "syllables per second", one, "", "syll/s"),
    Figure("pause_share", "share of pauses", percent, "", "pauses"),
    Figure("longest_pause", "longest pause", seconds, "", "longest"),
    Figure("trailing_silence", "silence at the end", seconds, "", "end"),
    Figure("loudness_lufs", "loudness", lufs, ""),
    Figure("quality", "predicted quality, 1 to 5", two, "", "quality"),
)


@dataclass(frozen=True)
class Failure:
    name: str  # in clips.csv
    title: str
    meaning: str


KINDS = (
    Failure("no_stop", "did not stop", "It ran into the time limit instead of ending by itself."),
    Failure("empty", "no sound", f"It is shorter than {MIN_SECONDS:g} s, or silent."),
    Failure(
        "truncated",
        "cut short",
        f"The last words are missing, or it has less than {percent(SHORTEST_RATIO)} of the expected length.",
    ),
    Failure(
        "dead_air",
        "long silence",
        f"A silence of more than {LONGEST_PAUSE:g} s in the middle, or of {LONGEST_TAIL:g} s at the end.",
    ),
    Failure(
        "repetition",
        "babbles",
        f"It adds more than {10 * MOST_INSERTIONS:g} words to every ten of the text, often the same ones again.",
    ),
    Failure("wrong_voice", "another voice", "It is less like the speaker than the threshold for another person."),
    Failure("wer_gt_50", "mostly wrong", f"More than {percent(HIGHEST_WER)} word errors."),
    Failure("noise", "noisy", "The predictor of sound quality finds it poor."),
)


def kinds(names: str) -> tuple[Failure, ...]:
    """The failures of a clip from their names, which a space joins; one that has no title is called by its name."""
    known = {kind.name: kind for kind in KINDS}
    return tuple(known.get(name) or Failure(name, name.replace("_", " "), "") for name in names.split())
