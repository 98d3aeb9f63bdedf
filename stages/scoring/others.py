"""How alike are one voice's own clips, and how alike is somebody else? The ceiling and the floor of similarity.

Without them a cosine says nothing: two people share a good half of it with the GE2E encoder.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.audio.decode import decode
from stages.audio.sound import read_sound
from stages.process.problem import Problem
from stages.scoring.listen import Listener
from stages.scoring.score import HeldOutVoices
from stages.scoring.sentences import Sentence
from stages.scoring.speaker import centroid
from stages.scoring.statistics import equal_error_rate

FEWEST_VOICES = 5  # fewer tell nothing about where another voice begins
NOT_SOUND = {".csv", ".json", ".md", ".txt", ".yaml", ".yml"}  # what may lie beside the clips
KEY = "evaluate.others"
REMEDY = f"put at least {FEWEST_VOICES} there, one clip for each voice"


@dataclass(frozen=True)
class SameSpeaker:
    """Held-out recordings, each beside the others of its speaker."""

    similarity: float | None  # mean cosine; None when no speaker has two recordings with sound
    clips: int


@dataclass(frozen=True)
class OtherSpeaker:
    """Other people's clips beside every speaker's held-out recordings."""

    similarity: float | None  # mean cosine; None without other voices
    voices: int
    threshold: float | None  # at which as many recordings are refused as others are let in; below, it is another voice
    eer: float | None  # the share of each that is judged wrongly there


def other_voices(folder: str, listener: Listener) -> list[np.ndarray]:
    """Unit vectors of the clips in `folder`, one for each file, in order of their names.

    Any sound file will do. Raises Problem when there are too few voices in it, when one file is no sound, or holds
    nothing to hear.
    """
    paths = sound_files(Path(folder))
    if len(paths) < FEWEST_VOICES:
        raise Problem(f"{KEY}: {folder}: {len(paths)} clips of other people; {REMEDY}")
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in tqdm(paths, desc="other voices", unit="clip"):
            sound = Path(scratch) / "sound.flac"
            decode(path, sound)
            embedding = listener.embed(read_sound(sound))
            if embedding is None:
                raise Problem(f"{path}: too short or too quiet to hear a voice in; replace the clip")
            found.append(embedding)
    return found


def sound_files(folder: Path) -> list[Path]:
    """All files of a folder but hidden ones and those whose names say that they are texts."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        path
        for path in files
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in NOT_SOUND
    ]


def prompt_voices(contexts: Mapping[int, Sequence[Sentence]], listener: Listener) -> dict[int, np.ndarray]:
    """Speaker -> unit vector of the training audio that clones hear; speakers whose audio is silent have none."""
    found = {}
    for source, sentences in contexts.items():
        heard = [listener.embed(sentence.recording()) for sentence in sentences]
        if sounding := [embedding for embedding in heard if embedding is not None]:
            found[source] = centroid(sounding)
    return found


def same_speaker(voices: HeldOutVoices) -> SameSpeaker:
    genuine = voices.genuine()
    return SameSpeaker(float(np.mean(genuine)) if genuine else None, len(genuine))


def other_speaker(voices: HeldOutVoices, others: Sequence[np.ndarray]) -> OtherSpeaker:
    """The threshold is found on the very clips that it parts, and they are few: take it for a rough one."""
    genuine, impostors = voices.genuine(), voices.impostors(others)
    if not impostors:
        return OtherSpeaker(None, len(others), None, None)
    threshold, rate = equal_error_rate(genuine, impostors) if genuine else (None, None)
    return OtherSpeaker(float(np.mean(impostors)), len(others), threshold, rate)
