"""Every second of every recording accounted for: kept, in which split, or dropped, and why.

Counted in whole samples, so that the sums are exact.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from stages.files.rows import SPLITS, Row

# Why a stretch of a recording is in no row.
REASONS = {
    "pause": "silence between the rows",
    "no_words": "sound like speech, but no words in the transcript",
    "no_speech": "words in the transcript, but nobody speaks",
    "no_pause": "runs into its neighbours, or into the end of the recording, without a pause",
    "untranscribed": "speech in the middle that the transcript leaves out",
    "unfinished": "a last sentence without its end",
    "too_short": "shorter than segment.min_seconds, with no neighbour to join",
    "too_long": "longer than segment.max_seconds",
    "text_leak": "says what a held-out row says",
}
# From the workshop the pipeline follows: what it takes to hear an effect, and to do without an audio sample to clone.
EFFECT_ROWS = 50
WITHOUT_CLONING_ROWS = 500
ROW_SECONDS = 30.0


@dataclass
class Account:
    """One recording: its samples; of these the parts, and the pieces of text, by split or reason."""

    samples: int
    parts: Counter = field(default_factory=Counter)
    pieces: Counter = field(default_factory=Counter)


def account(samples: int, spans: Sequence[tuple[float, float, str]], speech: np.ndarray, rate: int) -> Account:
    """Book a recording of `samples` at `rate` Hz.

    `spans`: (start, end, split or reason) in order, in seconds; what lies between them is booked as `no_words` where
    `speech` (bool per 10 ms) is true and as `pause` where it is not. Raises AssertionError if the spans overlap.
    """
    booked = Account(samples)
    frame = rate // 100
    place = 0
    total_speech = np.concatenate([[0], np.cumsum(speech)])

    def speech_before(sample: int) -> int:
        whole, part = divmod(min(sample, len(speech) * frame), frame)
        return int(total_speech[whole]) * frame + (part if part and speech[whole] else 0)

    def book_rest(start: int, end: int) -> None:
        voiced = speech_before(end) - speech_before(start)
        booked.parts["no_words"] += voiced
        booked.parts["pause"] += end - start - voiced

    for start_second, end_second, name in spans:
        start, end = round(start_second * rate), round(end_second * rate)
        assert place <= start <= end <= samples, f"{name} at {start_second} s overlaps what is before or after it"
        book_rest(place, start)
        booked.parts[name] += end - start
        booked.pieces[name] += 1
        place = end
    book_rest(place, samples)
    assert sum(booked.parts.values()) == samples
    return booked


def report(accounts: dict[str, Account], rows: Sequence[Row], rate: int, words_corrected: int) -> dict:
    """The metrics of the data set. `accounts` by recording; `rows` that are kept."""
    sums = Counter()
    pieces = Counter()
    for booked in accounts.values():
        sums += booked.parts
        pieces += booked.pieces
    lengths = [row.seconds for row in rows] or [0.0]
    train_rows = sum(row.seconds for row in rows if row.split == "train") / ROW_SECONDS
    return {
        "recordings": {
            "count": len(accounts),
            "seconds": sum(booked.samples for booked in accounts.values()) / rate,
            "words_corrected": words_corrected,
        },
        "rows": {split: pieces[split] for split in SPLITS} | {"total": len(rows)},
        "seconds": {split: sums[split] / rate for split in SPLITS}
        | {"kept": sum(sums[split] for split in SPLITS) / rate, "dropped": sum(sums[r] for r in REASONS) / rate},
        "row_seconds": {"min": min(lengths), "median": median(lengths), "max": max(lengths)},
        "dropped": {reason: {"pieces": pieces[reason], "seconds": sums[reason] / rate} for reason in REASONS},
        "guidance": {
            "train_rows_of_30_s": train_rows,
            "effect_rows_of_30_s": EFFECT_ROWS,
            "share_of_effect": train_rows / EFFECT_ROWS,
            "without_cloning_rows_of_30_s": WITHOUT_CLONING_ROWS,
            "share_of_without_cloning": train_rows / WITHOUT_CLONING_ROWS,
        },
        "by_recording": {
            name: {"seconds": booked.samples / rate}
            | {key: booked.parts[key] / rate for key in (*SPLITS, *REASONS) if booked.parts[key]}
            for name, booked in accounts.items()
        },
    }


def table(metrics: dict) -> str:
    """The ledger for people, and one sentence on where this data set stands."""
    whole = metrics["recordings"]["seconds"]
    lines = [f"{'':14}{'count':>6}{'seconds':>11}{'share':>8}"]

    def line(name: str, count: int, seconds: float, why: str = "") -> None:
        share = seconds / whole if whole else 0.0
        lines.append(f"{name:14}{count:6d}{seconds:11.3f}{share:8.1%}{'  ' + why if why else ''}")

    for split in SPLITS:
        line(split, metrics["rows"][split], metrics["seconds"][split])
    for reason, why in REASONS.items():
        dropped = metrics["dropped"][reason]
        if dropped["pieces"] or dropped["seconds"]:
            line(reason, dropped["pieces"], dropped["seconds"], why)
    line("all", metrics["rows"]["total"], whole, f"{metrics['recordings']['count']} recordings")
    return "\n".join([*lines, stand(metrics["guidance"])])


def stand(guidance: dict) -> str:
    """One sentence: the training speech beside the workshop's guidance."""
    effect, alone = guidance["effect_rows_of_30_s"], guidance["without_cloning_rows_of_30_s"]
    return (
        f"Training speech equals {guidance['train_rows_of_30_s']:.1f} rows of 30 s: {guidance['share_of_effect']:.0%} "
        f"of the {effect} with which fine-tuning begins to be heard, {guidance['share_of_without_cloning']:.0%} "
        f"of the {alone} for a voice that needs no sample to clone."
    )
