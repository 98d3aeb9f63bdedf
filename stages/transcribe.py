"""Speech to text with word times, in Whisper's JSON.

    python -m stages.transcribe KEY

Reads data/fetched/KEY.flac and writes data/transcripts/KEY.json. Settings: `transcribe` in params.yaml.
"""

import time
from pathlib import Path

from stages.process.stage import recording_key, run  # isort: skip  (first: it sets the number of threads)
import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from stages.files.settings import read_settings
from stages.process.problem import Problem
from stages.speech.engine import RATE
from stages.speech.recognise import Recogniser, RecogniserSettings, make_recogniser
from stages.speech.transcript import Transcript, check_key, transcript_path, write_transcript

FETCHED = Path("data/fetched")
TRANSCRIPTS = Path("data/transcripts")
BLOCK = 1 << 18  # samples read at a time
# Whisper's own signs that a text is made up: it repeats itself, or was improbable.
REPETITIVE, IMPROBABLE = 2.4, -1.0


def read_speech(path: Path) -> np.ndarray:
    """The recording at 16 kHz: float32, one channel. Read in blocks, so that only the result is in memory."""
    if not path.is_file():
        raise Problem(f"{path}: no such file; run `dvc repro` (or `dvc pull`) first")
    try:
        with soundfile.SoundFile(path) as sound:
            if sound.channels != 1:
                raise Problem(f"{path}: has {sound.channels} channels, not one; remove it and run `dvc repro`")
            resampler = soxr.ResampleStream(sound.samplerate, RATE, 1, dtype="float32")
            parts = [resampler.resample_chunk(block) for block in sound.blocks(BLOCK, dtype="float32")]
            parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            return np.concatenate(parts)[: sound.frames * RATE // sound.samplerate]
    except soundfile.LibsndfileError as error:
        raise Problem(f"{path}: not a sound file ({error}); remove it and run `dvc repro`") from None


def transcribe(recogniser: Recogniser, samples: np.ndarray, title: str) -> Transcript:
    """Transcribe with a progress bar in seconds of sound. Raises Problem when there is no word."""
    with tqdm(total=round(len(samples) / RATE), unit="s", desc=title, disable=None) as bar:

        def show(seconds: float) -> None:
            bar.update(round(seconds) - bar.n)

        transcript = recogniser.transcribe(samples, show)
    if not transcript.words:
        remedy = "listen to it; if there is speech, set transcribe.language, or transcribe.vad to false"
        raise Problem(f"{title}: no words were recognised in {transcript.duration:.0f} s; {remedy}")
    return transcript


def doubtful(transcript: Transcript) -> list[str]:
    """The places whose text is likely made up, as "12.3 s: text"."""
    return [
        f"{segment.start:.1f} s: {segment.text[:60]}"
        for segment in transcript.segments
        if segment.compression_ratio > REPETITIVE or segment.avg_logprob < IMPROBABLE
    ]


def main(key: str) -> None:
    target = transcript_path(TRANSCRIPTS, key)
    settings = read_settings(RecogniserSettings, "transcribe")
    samples = read_speech(FETCHED / f"{check_key(key)}.flac")
    recogniser = make_recogniser(**settings.model_dump())
    begin = time.perf_counter()
    transcript = transcribe(recogniser, samples, key)
    seconds = time.perf_counter() - begin
    write_transcript(target, transcript)
    speed = f"{transcript.duration:.0f} s of sound in {seconds:.0f} s, {transcript.duration / seconds:.1f} x real time"
    print(f"transcribe/{key}: {len(transcript.words)} words, {speed}, {settings.engine} {settings.model}")
    for place in doubtful(transcript):
        print(f"transcribe/{key}: listen at {place}")


if __name__ == "__main__":
    key = recording_key()
    run(lambda: main(key), f"transcribe/{key}")
