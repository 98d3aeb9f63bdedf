"""Any container and codec that FFmpeg knows, to 24 kHz mono FLAC, block by block: memory does not grow with length.

PyAV brings FFmpeg's libraries with it; no ffmpeg program is needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from stages.audio.sound import SAMPLING_RATE, flac_writer
from stages.process.problem import Problem

SILENCE_DBFS = -60.0  # quieter than this all the way through is no recording of speech
DAMAGED_SHARE = 0.01  # of the packets: a glitch (or up to three packets of a short file) is reported, more is refused
DAMAGED_PACKETS = 3
# Containers whose header says how long the sound is, so that a file cut off can be told: elsewhere (mp3, ogg, wav)
# FFmpeg estimates the length, or takes it from the size of the file.
EXACT_FORMATS = {"mov", "flac", "aiff", "matroska"}


@dataclass(frozen=True)
class Decoded:
    """What was read (as FFmpeg names it) and how much came out."""

    format: str
    codec: str
    sampling_rate: int
    channels: int
    seconds: float  # of the result
    damaged_packets: int  # left out, because they could not be decoded


class _Reader:
    """Decodes one stream of an open container; counts packets, those that are damaged, and samples given out."""

    def __init__(self, container, stream, where: str):
        self.container, self.stream, self.where = container, stream, where
        self.packets = self.damaged = self.samples = 0

    def frames(self) -> Iterator[av.AudioFrame]:
        try:
            for packet in self.container.demux(self.stream):
                self.packets += 1
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    self.damaged += 1
        except av.error.FFmpegError as error:
            place = f"after {self.samples / SAMPLING_RATE:.1f} s"
            raise Problem(f"{self.where}: damaged {place} ({error.strerror}); get the file again") from None

    def blocks(self) -> Iterator[np.ndarray]:
        """int16 samples (n,) at 24 kHz, channels mixed with equal weight."""
        resampler, shape = None, None
        for frame in self.frames():
            frame.pts = None  # samples simply follow each other; a jump in time stamps is no silence
            if shape != (shape := (frame.format.name, frame.layout.name, frame.sample_rate)):
                yield from self._converted(resampler, None)  # chained files change their format on the way
                resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLING_RATE)
            yield from self._converted(resampler, frame)
        yield from self._converted(resampler, None)

    def _converted(self, resampler, frame) -> Iterator[np.ndarray]:
        for piece in resampler.resample(frame) if resampler else ():
            block = piece.to_ndarray().reshape(-1)
            self.samples += len(block)
            yield block

    def check_damage(self) -> None:
        """Raise Problem when much could not be decoded."""
        allowed = max(DAMAGED_PACKETS, self.packets * DAMAGED_SHARE) if self.samples else 0
        if self.damaged > allowed:
            counts = f"{self.damaged} of {self.packets} packets cannot be decoded"
            raise Problem(f"{self.where}: damaged ({counts}); get the file again")

    def check_length(self) -> None:
        """Raise Problem when the sound, read to its end, ends before the header says it does."""
        announced, found = self._announced(), self.samples / SAMPLING_RATE
        if found < 0.99 * announced - 1:
            remedy = f"get the file again, or take what is there with `end: {int(found)}`"
            raise Problem(f"{self.where}: ends after {found:.1f} of {announced:.1f} s, it was cut off; {remedy}")

    def _announced(self) -> float:
        """Seconds of sound by the header, 0 where it does not say."""
        if self.container.format.name.split(",")[0] not in EXACT_FORMATS:
            return 0.0
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        only_sound = len(self.container.streams) == 1  # else the picture may be longer
        return self.container.duration / av.time_base if only_sound and self.container.duration else 0.0


@contextmanager
def _opened(source: Path, name: str) -> Iterator[tuple]:
    """Yield the open container and its best audio stream."""
    if not source.is_file():
        raise Problem(f"{name}: no such file; mend `path` (it starts at the repository's root)")
    if source.stat().st_size == 0:
        raise Problem(f"{name}: the file is empty; get it again")
    try:
        # The prefix and the list keep FFmpeg to this disk, whatever the name or a playlist in the file says.
        container = av.open(f"file:{source}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except av.error.FFmpegError as error:
        remedy = "give a recording (wav, mp3, m4a, ogg, webm, mp4, ...)"
        raise Problem(f"{name}: not audio, or damaged ({error.strerror}); {remedy}") from None
    with container:
        stream = container.streams.best("audio")
        if stream is None:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise Problem(f"{name}: has no sound (only {kinds}); give a file with an audio track")
        if stream.codec_context is None:
            raise Problem(f"{name}: its audio codec is not known here; convert the file, for example to flac")
        yield container, stream


def cut(blocks: Iterator[np.ndarray], first: int, last: int | None) -> Iterator[np.ndarray]:
    """The samples first..last (exclusive; None: to the end) of a run of blocks, reading no further than needed."""
    position = 0
    for block in blocks:
        begin, end = max(first - position, 0), len(block) if last is None else min(last - position, len(block))
        position += len(block)
        if begin < end:
            yield block[begin:end]
        if last is not None and position >= last:
            return


def _copy(reader: _Reader, target: Path, start: float, end: float | None) -> tuple[int, int]:
    """Write start..end of `reader` to `target` as FLAC; return the number of samples and the largest of them."""
    length = reader.container.duration and reader.container.duration / av.time_base
    last = None if end is None else round(end * SAMPLING_RATE)
    count, peak = 0, 0
    with (
        tqdm(total=min(end or length, length) if length else end, unit="s", desc="decode", disable=None) as bar,
        target.open("wb") as file,
        flac_writer(file) as sound,
    ):
        bar.bar_format = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]" if bar.total else None
        for block in cut(_gathered(reader.blocks(), bar), round(start * SAMPLING_RATE), last):
            sound.write(block)
            count += len(block)
            peak = max(peak, int(block.max()), -int(block.min()))
    return count, peak


def _gathered(blocks: Iterator[np.ndarray], bar: tqdm) -> Iterator[np.ndarray]:
    """Blocks of a second or so: packets hold some hundredths, and every call costs. Moves the bar."""
    kept, length = [], 0
    for block in blocks:
        kept.append(block)
        length += len(block)
        if length >= SAMPLING_RATE:
            bar.update(length / SAMPLING_RATE)
            yield np.concatenate(kept)
            kept, length = [], 0
    if kept:
        bar.update(length / SAMPLING_RATE)
        yield np.concatenate(kept)


def decode(
    source: str | Path,
    target: str | Path,
    start: float | None = None,
    end: float | None = None,
    name: str | None = None,
) -> Decoded:
    """Decode `source` from `start` to `end` seconds (None: the whole) to the FLAC file `target`.

    Everything before `start` is decoded and dropped, not skipped by seeking: the result is to the sample that part
    of the whole. `name` stands for the file in messages (by default its path). Raises Problem for what is no sound:
    missing, not audio, no audio track, damaged or cut off, a range beyond the end, or silence throughout; OSError for
    a full disk.
    """
    name = name or str(source)
    with _opened(Path(source), name) as (container, stream):
        reader = _Reader(container, stream, name)
        count, peak = _copy(reader, Path(target), start or 0.0, end)
        reader.check_damage()
        if end is None or reader.samples < round(end * SAMPLING_RATE):
            reader.check_length()
        found = reader.samples / SAMPLING_RATE
        if reader.samples == 0:
            raise Problem(f"{name}: its audio track is empty; give a recording")
        if count == 0:
            raise Problem(f"{name}: `start` {start:g} s is beyond the end ({found:.1f} s); mend it in the sources")
        if peak < 32768 * 10 ** (SILENCE_DBFS / 20):
            part = "this part" if start or end else "the recording"
            raise Problem(f"{name}: {part} is silent (never above {SILENCE_DBFS:g} dBFS); give another")
        context = stream.codec_context
        return Decoded(
            format=container.format.name,
            codec=context.name,
            sampling_rate=context.sample_rate,
            channels=context.layout.nb_channels,
            seconds=round(count / SAMPLING_RATE, 6),
            damaged_packets=reader.damaged,
        )
