"""Whether the default's fine-tuned voice is nearer to its target than any voice that the base had before."""

from collections.abc import Mapping, Sequence

import numpy as np

from bases.speaking.corpus import Spoken
from bases.speaking.listening import Ears, interval, speak, to_say
from bases.speaking.settings import ReportSettings
from stages.csm.codec import decode
from stages.scoring.sentences import Sentence
from stages.scoring.speaker import centroid


def similarities(
    model, turns: Sequence[Spoken], target: np.ndarray, ears: Ears, settings: ReportSettings
) -> np.ndarray:
    """(turns,) cosine of each sentence's sound to `target` (256,), mean over the seeds; a clip of nothing counts 0."""
    found = []
    for seed in settings.seeds:
        clips = speak(model, turns, settings.temperature, settings.top_k, seed)
        heard = [ears.embed(decode(model, clip.codes)) for clip in clips]
        found.append([0.0 if one is None else float(target @ one) for one in heard])
    return np.mean(found, axis=0)


def against_voices(
    base,
    merged,
    processor,
    sentences: Sequence[Sentence],
    marks: Mapping[str, int],
    ears: Ears,
    settings: ReportSettings,
) -> dict:
    """Held-out sentences of the target spoken by `merged`, and by the base as each of the voices with these marks.

    `ft_minus_nearest` is paired by sentence; the nearest voice is the one that these very clips show as nearest.
    """
    target = centroid([ears.embed(sentence.recording()) for sentence in sentences])
    tuned = [Spoken("", sentence.row.text, sentence.turn, np.zeros(0)) for sentence in sentences]
    ft = similarities(merged, tuned, target, ears, settings)
    voices = {}
    for voice, mark in marks.items():
        turns = [to_say(processor, one.text, mark, voice) for one in tuned]
        voices[voice] = similarities(base, turns, target, ears, settings)
    nearest = max(voices, key=lambda voice: float(voices[voice].mean()))
    return {
        "clips": len(sentences) * len(settings.seeds),
        "ft": interval(ft, lambda some: float(np.mean(some)), settings.draws),
        "ft_minus_nearest": interval(ft - voices[nearest], lambda some: float(np.mean(some)), settings.draws),
        "nearest": nearest,
        "by_voice": {voice: float(found.mean()) for voice, found in voices.items()},
    }
