"""How a base sounds: sentences spoken by its voices, heard by a recogniser and by the speaker encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from bases.speaking.corpus import Spoken
from stages.csm.codec import SAMPLING_RATE
from stages.csm.generate import Clip, generate
from stages.csm.turns import Prompt, Turn, text_ids
from stages.scoring.speaker import SAMPLING_RATE as EAR_RATE
from stages.scoring.speaker import SpeakerEncoder, centroid
from stages.scoring.words import Normaliser, word_errors
from stages.speech.recognise import make_recogniser

MAX_FRAMES = 75  # 6 s; the grammar's longest sentence takes four


@dataclass(frozen=True, eq=False)
class Heard:
    """What came of one sentence. `errors` of `words`; `embedding` (256,) of the voice, None for a clip of nothing."""

    voice: str
    text: str
    heard: str
    errors: int
    words: int
    stopped: bool
    seconds: float
    embedding: np.ndarray | None


class Ears:
    """A recogniser and a speaker encoder, loaded once."""

    def __init__(self):
        self.recogniser = make_recogniser("faster-whisper", "package:tiny.en", "en", vad=False, words=False)
        self.normalise, self.speaker = Normaliser("en"), SpeakerEncoder.load()

    def listen(self, voice: str, text: str, sound: np.ndarray, stopped: bool = True) -> Heard:
        """Judge `sound` (n,) at 24 kHz that should be `text` in `voice`."""
        seconds, embedding = len(sound) / SAMPLING_RATE, self.embed(sound)
        if embedding is None:
            words = len(self.normalise(text).split())
            return Heard(voice, text, "", words, words, stopped, seconds, None)
        slow = soxr.resample(sound, SAMPLING_RATE, EAR_RATE).astype(np.float32)
        heard = self.normalise(self.recogniser.text(slow))
        found = word_errors(self.normalise(text), heard)
        return Heard(voice, text, heard, found.count, found.total, stopped, seconds, embedding)

    def embed(self, sound: np.ndarray) -> np.ndarray | None:
        """Unit vector (256,) of the voice in `sound` (n,) at 24 kHz; None when it is shorter than 0.1 s."""
        if len(sound) < SAMPLING_RATE // 10:
            return None
        return self.speaker.embed(soxr.resample(sound, SAMPLING_RATE, EAR_RATE).astype(np.float32))


def interval(found: Sequence, figure: Callable[[Sequence], float], draws: int) -> dict[str, float]:
    """A figure with the bounds of its 95 % interval, by bootstrap over the clips (or sentences) that it is of."""
    random = np.random.default_rng(0)
    drawn = [figure([found[place] for place in random.integers(len(found), size=len(found))]) for _ in range(draws)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": figure(found), "low": float(low), "high": float(high)}


def to_say(processor, text: str, mark: int, voice: str = "") -> Spoken:
    """A text for the base's speaker with number `mark`, not spoken yet."""
    return Spoken(voice, text, Turn(text_ids(processor, text, mark), np.zeros((0, 1), np.int16)), np.zeros(0))


def speak(model, spoken: Sequence[Spoken], temperature: float, top_k: int, seed: int) -> list[Clip]:
    """Let the model say what the held-out turns say, in their voices."""
    prompts = [Prompt(one.turn.text_ids) for one in spoken]
    return generate(
        model, prompts, max_frames=MAX_FRAMES, temperature=temperature, top_k=top_k, seed=seed, batch_size=16
    )


def word_error_rate(heard: Sequence[Heard]) -> float:
    return sum(one.errors for one in heard) / sum(one.words for one in heard)


def stop_rate(heard: Sequence[Heard]) -> float:
    return sum(one.stopped for one in heard) / len(heard)


def voices_of(spoken: Sequence[Spoken], sound_of: Callable[[Spoken], np.ndarray], ears: Ears) -> dict[str, np.ndarray]:
    """Unit vector (256,) of every voice, from the turns given."""
    embeddings: dict[str, list[np.ndarray]] = {}
    for one in spoken:
        slow = soxr.resample(sound_of(one), SAMPLING_RATE, EAR_RATE).astype(np.float32)
        embeddings.setdefault(one.voice, []).append(ears.speaker.embed(slow))
    return {voice: centroid(found) for voice, found in sorted(embeddings.items())}


def nearest_share(heard: Sequence[Heard], voices: dict[str, np.ndarray]) -> float:
    """Share of the clips to whose sound the right voice is the nearest of all."""
    right = 0
    for one in heard:
        if one.embedding is not None:
            right += max(voices, key=lambda voice: float(voices[voice] @ one.embedding)) == one.voice
    return right / len(heard)


def similarity(heard: Sequence[Heard], voices: dict[str, np.ndarray]) -> float:
    """Mean cosine between the clips and the voices that they should have."""
    found = [float(voices[one.voice] @ one.embedding) for one in heard if one.embedding is not None]
    return float(np.mean(found))
