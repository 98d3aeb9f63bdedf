"""Where a recording is silent, to 10 ms: a voice activity detector says roughly, the level of the sound says exactly.

Everything streams, so that a recording of hours needs a few megabytes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from silero_vad import VADIterator, load_silero_vad

from stages.audio.sound import SAMPLING_RATE as RATE
from stages.process.problem import Problem

FRAME = RATE // 100  # samples: 10 ms
VAD_RATE = 16_000
VAD_WINDOW = 512  # samples at VAD_RATE; silero's fixed window
BLOCK = 10 * RATE
DIGITAL_SILENCE = -100.0  # dB of full scale: what a frame of zeros counts as
# The detector's edges come up to two of its windows late or early; within this margin the level decides.
VAD_MARGIN = 0.07
# Where speech sets in at once, as at the start of a file, they come as late as this.
DETECTOR_LATE = 0.3
# A frame is quiet below the noise between the words plus this, in dB ...
ABOVE_NOISE = 6.0
# ... but the border stays within this range below the level of the speech: no lower (a studio's silence would turn
# every breath into speech) and no higher (over music or a hum the detector alone decides).
BELOW_SPEECH = (45.0, 25.0)


def scan(path: Path, progress: Callable[[float], None] = lambda seconds: None):
    """Read a 24 kHz mono file once.

    Returns (samples, level, regions): the number of samples, the RMS level of every 10 ms in dB of full scale
    (float32, the last frame padded with zeros), and silero's speech regions as a list of (start, end) in seconds.
    Raises Problem for another format. `progress` is called with seconds read.
    """
    detector = VADIterator(load_silero_vad(onnx=True), sampling_rate=VAD_RATE)
    resampler = soxr.ResampleStream(RATE, VAD_RATE, 1, dtype="float32")
    levels, events, pending = [], [], np.zeros(0, np.float32)
    with open_recording(path) as sound:
        samples = sound.frames
        for block in sound.blocks(BLOCK, dtype="float32"):
            levels.append(frame_levels(block))
            pending = np.concatenate([pending, resampler.resample_chunk(block)])
            pending = detect(detector, pending, events)
            progress(len(block) / RATE)
    rest = np.concatenate([pending, resampler.resample_chunk(np.zeros(0, np.float32), last=True)])
    detect(detector, np.concatenate([rest, np.zeros(-len(rest) % VAD_WINDOW, np.float32)]), events)
    return samples, np.concatenate([*levels, np.zeros(0, np.float32)]), pair_events(events, samples / RATE)


def open_recording(path: Path) -> soundfile.SoundFile:
    """Open a recording as the fetch stage writes it. Raises Problem if it is missing, broken or of another format."""
    if not path.is_file():
        raise Problem(f"{path}: no such file; run `dvc repro` (or `dvc pull`) first")
    try:
        sound = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise Problem(f"{path}: not a sound file ({error}); remove it and run `dvc repro`") from None
    if (sound.samplerate, sound.channels) != (RATE, 1):
        found = f"{sound.samplerate} Hz with {sound.channels} channels"
        sound.close()
        raise Problem(f"{path}: is {found}, not {RATE} Hz mono; remove it and run `dvc repro`")
    return sound


def frame_levels(samples: np.ndarray) -> np.ndarray:
    """RMS level of every 10 ms of `samples` (24 kHz, full scale 1), in dB, as float32."""
    frames = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    return (10 * np.log10(power + 10 ** (DIGITAL_SILENCE / 10))).astype(np.float32)


def detect(detector: VADIterator, samples: np.ndarray, events: list[dict]) -> np.ndarray:
    """Feed whole windows of 16 kHz `samples` to the detector, collect its events; return the samples left over."""
    whole = len(samples) // VAD_WINDOW * VAD_WINDOW
    for start in range(0, whole, VAD_WINDOW):
        if event := detector(torch.from_numpy(samples[start : start + VAD_WINDOW])):
            events.append(event)
    return samples[whole:]


def pair_events(events: list[dict], duration: float) -> list[tuple[float, float]]:
    """Silero's stream of {"start": n} and {"end": n} as regions in seconds; speech at the very end is closed there."""
    times = [next(iter(event.values())) / VAD_RATE for event in events]
    if len(times) % 2:
        times.append(duration)
    return [(start, min(end, duration)) for start, end in zip(times[::2], times[1::2], strict=True)]


def speech_frames(level: np.ndarray, regions: list[tuple[float, float]]) -> np.ndarray:
    """For every 10 ms frame whether someone speaks (bool): in or right beside a detected region, and not quiet.

    Sound that goes on without a break from a region outwards is speech too, up to DETECTOR_LATE.
    """
    detected = mark(len(level), regions, 0.0)
    if not detected.any():
        return detected
    border, clear = quiet_below(level, detected)
    loud = level > border
    near = mark(len(level), regions, VAD_MARGIN) & loud
    if not clear:
        return near
    reach = mark(len(level), regions, DETECTOR_LATE) & loud
    run = np.cumsum(np.diff(reach, prepend=False))  # numbers the stretches of frames that are alike
    return reach & np.isin(run, run[near])


def mark(frames: int, regions: list[tuple[float, float]], margin: float) -> np.ndarray:
    """A bool per 10 ms frame: within `margin` seconds of one of the regions."""
    marked = np.zeros(frames, bool)
    for start, end in regions:
        first = int((start - margin) * RATE / FRAME)
        marked[max(first, 0) : int(np.ceil((end + margin) * RATE / FRAME))] = True
    return marked


def quiet_below(level: np.ndarray, detected: np.ndarray) -> tuple[float, bool]:
    """The level in dB under which a frame is quiet, from the levels of the speech and of the noise between it.

    And whether the noise is so far below the speech that the level tells them apart.
    """
    speech = 10 * np.log10(np.mean(10 ** (level[detected].astype(np.float64) / 10)))
    noise = np.median(level[~detected]) if (~detected).any() else np.percentile(level, 5)
    lowest, highest = (speech - below for below in BELOW_SPEECH)
    return float(np.clip(noise + ABOVE_NOISE, lowest, highest)), bool(noise + ABOVE_NOISE <= highest)


def silences(speech: np.ndarray, shortest: float) -> np.ndarray:
    """The stretches without speech of at least `shortest` seconds, and those at both ends of any length.

    Returns (start, end) in seconds, shape (silences, 2), in order.
    """
    quiet = np.concatenate([[False], ~speech, [False]])
    runs = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2)
    long = (runs[:, 1] - runs[:, 0]) * FRAME >= round(shortest * RATE)
    outer = (runs[:, 0] == 0) | (runs[:, 1] == len(speech))
    return runs[long | outer] * (FRAME / RATE)


def counter(speech: np.ndarray) -> Callable[[float, float], float]:
    """A function (start, end) -> seconds of speech between these times, to the 10 ms."""
    total = np.concatenate([[0], np.cumsum(speech)]) * (FRAME / RATE)

    def seconds_within(start: float, end: float) -> float:
        first, last = (min(max(round(time * RATE / FRAME), 0), len(speech)) for time in (start, end))
        return float(total[last] - total[first]) if last > first else 0.0

    return seconds_within
