"""In which ways did a clip fail? One that fails in any way is a failed clip."""

from dataclasses import dataclass
from typing import Protocol

# Limits of the project's own protocol for evaluating one speaker, but for the last two.
SHORTEST_RATIO = 0.6  # of the recording's duration: shorter, and something was left out
END_SHARE = 0.2  # of the words: when all of the last ones are missing, the clip broke off
LONGEST_PAUSE = 2.0  # s within speech
LONGEST_TAIL = 1.0  # s of silence after speech
MOST_INSERTIONS = 0.3  # per word of the text: more is words said again, or never asked for
HIGHEST_WER = 0.5  # the bound at which TTS benchmarks (Seed-TTS, sglang-omni) count a clip apart
LOWEST_DNSMOS = 2.5  # of DNSMOS's overall mark, 1 to 5: speech with 10 dB of noise or hard clipping lies about there

NAMES = ("no_stop", "empty", "truncated", "dead_air", "repetition", "wrong_voice", "wer_gt_50", "noise")


@dataclass(frozen=True)
class Limits:
    """What depends on the measuring instrument. None: there is no such limit, so nothing fails by it."""

    similarity: float | None = None  # below, it is another voice: where the error rates of the encoder are equal
    quality: float | None = None  # below, it is noisy

    @property
    def unjudged(self) -> tuple[str, ...]:
        """The failures that no clip can have because there is no limit; their shares are unknown, not zero."""
        unknown = {"wrong_voice": self.similarity is None, "noise": self.quality is None}
        return tuple(name for name in NAMES if unknown.get(name))


class Measured(Protocol):
    """What is asked of a clip; a Score has it all."""

    stopped: bool | None
    empty: bool
    words: int
    insertions: int
    wer: float
    duration_ratio: float
    longest_pause: float
    trailing_silence: float
    similarity: float | None
    quality: float | None


def below(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value < limit


def failures(clip: Measured, end_missing: bool, limits: Limits) -> tuple[str, ...]:
    """Names of a clip's failures, in the order of NAMES. `end_missing`: none of its last words was heard.

    no_stop: it ran into the limit; recorded sound (`stopped` None) cannot. empty: no sound in it, and then only
    no_stop and wer_gt_50 can be true besides, since nothing else was measured. truncated: the last fifth of the words
    missing, or much shorter than the recording. dead_air: a long silence within or after speech. repetition: many words
    inserted. wrong_voice: less like the speaker than other people are. wer_gt_50: most words wrong. noise: a poor mark
    for the signal. Recordings are judged like all else: how often they fail tells how often the judge is wrong.
    """
    sounding = not clip.empty
    found = {
        "no_stop": clip.stopped is False,
        "empty": clip.empty,
        "truncated": sounding and (end_missing or clip.duration_ratio < SHORTEST_RATIO),
        "dead_air": sounding and (clip.longest_pause > LONGEST_PAUSE or clip.trailing_silence > LONGEST_TAIL),
        "repetition": sounding and clip.insertions > MOST_INSERTIONS * clip.words,
        "wrong_voice": sounding and below(clip.similarity, limits.similarity),
        "wer_gt_50": clip.wer > HIGHEST_WER,
        "noise": sounding and below(clip.quality, limits.quality),
    }
    return tuple(name for name in NAMES if found[name])
