"""What the figures allow one to say: can the base speak at all, and can the evaluator be trusted?"""

from collections.abc import Mapping

from stages.scoring.conditions import CONDITIONS, GT, GT_CODEC

UNDERSTOOD = 0.3  # WER of the recordings up to which the recogniser understands the speaker
GARBLED = 0.6  # WER above which speech is not understood
SLACK = 0.02  # cosine: a good voice may match the centroid as well as a single recording does

Summary = Mapping[str, Mapping[str, float | int | None]]


def base_speaks(summary: Summary) -> bool | None:
    """Whether speech survives the base's codec; None when even the recordings are not understood."""
    if summary[GT]["wer"] > UNDERSTOOD:
        return None
    return summary[GT_CODEC]["wer"] <= GARBLED


def doubts(summary: Summary) -> list[str]:
    """Sentences on why the evaluator, not the voice, may be to blame; none when its own checks pass."""
    found = []
    heard = summary[GT]["wer"]
    if heard > UNDERSTOOD:
        found.append(
            f"The recogniser gets {heard:.0%} of the words of the recordings themselves wrong: the recogniser, not the "
            "voice, is to blame for high word error rates. Use a stronger evaluate.model, or check evaluate.language "
            "and the transcripts."
        )
    own = summary[GT]["similarity"]
    closer = [
        condition.title
        for condition in CONDITIONS
        if condition.generated and (summary[condition.name]["similarity"] or 0) > (own or 0) + SLACK
    ]
    if own is None:
        found.append("Only one held-out recording of the speaker has sound, so similarity cannot be measured.")
    elif closer:
        found.append(
            f"The recordings resemble one another less ({own:.2f}) than generated speech resembles them "
            f"({', '.join(closer)}): the speaker encoder, not the voice, is to blame. More than one speaker under one "
            "source number, noise or very short rows do this."
        )
    return found
