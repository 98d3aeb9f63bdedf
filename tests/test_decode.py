"""Decoding: any container to 24 kHz mono FLAC, the same bytes each time, to the sample, in constant memory."""

import re
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from stages.audio.decode import decode
from stages.audio.sound import SAMPLING_RATE, read_sound, sound_bytes, write_sound
from stages.process.problem import Problem

CONTAINERS = [
    ("wav", "pcm_s16le"),
    ("mp3", "mp3"),
    ("m4a", "aac"),
    ("ogg", "libopus"),
    ("oga", "flac"),
    ("webm", "libopus"),
]


def rms(samples):
    return float(np.sqrt(np.mean(np.square(samples))))


def noise(seconds, rate, level=0.1, channels=1):
    samples = np.random.default_rng(0).standard_normal((channels, round(seconds * rate)))
    return (level * samples).astype(np.float32)


@pytest.mark.parametrize(("extension", "codec"), CONTAINERS)
def test_every_container_becomes_24_khz_mono(tmp_path, tone, encode, extension, codec):
    source = encode(tmp_path / f"talk.{extension}", tone(3, 48_000, channels=2), 48_000, codec)
    decoded = decode(source, tmp_path / "talk.flac")
    assert (decoded.sampling_rate, decoded.channels, decoded.damaged_packets) == (48_000, 2, 0)
    assert decoded.seconds == pytest.approx(3, abs=0.06)
    sound = soundfile.info(tmp_path / "talk.flac")
    assert (sound.format, sound.subtype, sound.samplerate, sound.channels) == ("FLAC", "PCM_16", SAMPLING_RATE, 1)
    samples = read_sound(tmp_path / "talk.flac")
    assert len(samples) == round(decoded.seconds * SAMPLING_RATE)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert np.argmax(spectrum) * SAMPLING_RATE / len(samples) == pytest.approx(220, abs=1)
    # Both channels are mixed without loss or clipping; LAME itself, by default, takes the level to 0.95.
    assert rms(samples[6000:-6000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.06)


def test_the_same_file_gives_the_same_bytes(tmp_path, encode):
    source = encode(tmp_path / "talk.m4a", noise(2, 44_100), 44_100, "aac")
    decode(source, tmp_path / "a.flac")
    decode(source, tmp_path / "b.flac")
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


@pytest.mark.parametrize(("extension", "codec"), CONTAINERS)
def test_a_range_is_to_the_sample_that_part_of_the_whole(tmp_path, encode, extension, codec):
    source = encode(tmp_path / f"talk.{extension}", noise(3, 48_000), 48_000, codec)
    decode(source, tmp_path / "whole.flac")
    decode(source, tmp_path / "part.flac", start=0.75, end=2.0001)
    whole, part = read_sound(tmp_path / "whole.flac"), read_sound(tmp_path / "part.flac")
    assert len(part) == round(2.0001 * SAMPLING_RATE) - round(0.75 * SAMPLING_RATE)
    assert np.array_equal(part, whole[18_000 : 18_000 + len(part)])


def test_an_end_beyond_the_end_takes_what_is_there(tmp_path, tone, encode):
    source = encode(tmp_path / "talk.wav", tone(2, 24_000), 24_000, "pcm_s16le")
    assert decode(source, tmp_path / "talk.flac", start=0.5, end=100).seconds == 1.5


def test_a_file_whose_format_changes_on_the_way(tmp_path, tone, encode):
    first = encode(tmp_path / "1.mp3", tone(1, 48_000, channels=2), 48_000, "mp3")
    second = encode(tmp_path / "2.mp3", tone(1, 24_000, channels=1), 24_000, "mp3")
    (tmp_path / "joined.mp3").write_bytes(first.read_bytes() + second.read_bytes())
    assert decode(tmp_path / "joined.mp3", tmp_path / "out.flac").seconds == pytest.approx(2, abs=0.1)


def test_three_channels_without_a_layout(tmp_path):
    samples = np.stack([0.3 * np.sin(np.arange(24_000) / 20)] * 3, axis=1)
    soundfile.write(tmp_path / "three.wav", samples, 24_000)
    assert decode(tmp_path / "three.wav", tmp_path / "out.flac").seconds == 1.0


def problem_of(source, target, **times):
    with pytest.raises(Problem) as caught:
        decode(source, target, **times)
    return str(caught.value)


def test_what_is_no_sound_is_named_in_one_line(tmp_path, tone, encode):
    target = tmp_path / "out.flac"
    (tmp_path / "page.mp3").write_text("<html>not found</html>" * 50)
    (tmp_path / "empty.mp3").touch()
    silent = encode(tmp_path / "silent.wav", tone(1, level=0.0005), 24_000, "pcm_s16le")
    no_samples = tmp_path / "no_samples.wav"
    soundfile.write(no_samples, np.zeros(0), 24_000)
    talk = encode(tmp_path / "talk.wav", tone(1), 24_000, "pcm_s16le")
    assert "gone.mp3: no such file; mend `path`" in problem_of(tmp_path / "gone.mp3", target)
    assert "page.mp3: not audio, or damaged" in problem_of(tmp_path / "page.mp3", target)
    assert "empty.mp3: the file is empty" in problem_of(tmp_path / "empty.mp3", target)
    assert "no_samples.wav: its audio track is empty" in problem_of(no_samples, target)
    assert "silent.wav: the recording is silent (never above -60 dBFS)" in problem_of(silent, target)
    assert "talk.wav: `start` 5 s is beyond the end (1.0 s)" in problem_of(talk, target, start=5.0)


def test_a_video_without_sound(tmp_path):
    with av.open(str(tmp_path / "video.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.time_base = Fraction(1, 5)
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * index, np.uint8), "rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert "video.mp4: has no sound (only video)" in problem_of(tmp_path / "video.mp4", tmp_path / "out.flac")


@pytest.mark.parametrize(("extension", "codec"), [("webm", "libopus"), ("aiff", "pcm_s16be")])
def test_a_file_cut_off_is_refused_and_says_how_to_take_what_is_there(tmp_path, encode, extension, codec):
    whole = encode(tmp_path / f"whole.{extension}", noise(10, 24_000), 24_000, codec).read_bytes()
    cut = tmp_path / f"cut.{extension}"
    cut.write_bytes(whole[: len(whole) // 2])
    message = problem_of(cut, tmp_path / "out.flac")
    assert re.search(r"ends after (4\.8|5\.0) of 10\.0 s, it was cut off; .* `end: [45]`", message)
    assert decode(cut, tmp_path / "out.flac", end=4.0).seconds == 4.0


def test_an_mp4_without_its_index_is_refused(tmp_path, tone, encode):
    whole = encode(tmp_path / "whole.m4a", tone(10), 24_000, "aac").read_bytes()
    cut = tmp_path / "cut.m4a"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "cut.m4a: not audio, or damaged" in problem_of(cut, tmp_path / "out.flac")


@pytest.mark.parametrize("spoiled", [2, 40])  # of the 100 packets
def test_damage_in_the_middle_is_counted_or_refused(tmp_path, encode, spoiled):
    path = encode(tmp_path / "talk.flac", noise(20, 24_000), 24_000, "flac")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets[30 : 30 + spoiled]:
        content[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(content)
    if spoiled > 2:
        assert "packets cannot be decoded" in problem_of(path, tmp_path / "out.flac", end=19.0)
    else:
        assert decode(path, tmp_path / "out.flac").damaged_packets > 0


def test_a_file_name_is_never_taken_for_a_protocol(tmp_path, tone, encode, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "talk.wav", tone(1), 24_000, "pcm_s16le").rename("concat:a|b.wav")
    assert decode("concat:a|b.wav", "out.flac").seconds == 1.0


# VmHWM, not ru_maxrss: that one counts the parent process too, from the moment between fork and exec.
DECODE_AND_REPORT = """
import re, sys
from pathlib import Path
from stages.audio.decode import decode
decoded = decode(sys.argv[1], sys.argv[2])
print(decoded.seconds, int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_an_hour_needs_no_more_memory_than_a_minute(tmp_path):
    hour = tmp_path / "hour.wav"
    minute = (noise(60, 8_000)[0] * 32767).astype("<i2").tobytes()
    with wave.open(str(hour), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        for _ in range(60):
            file.writeframes(minute)
    command = [sys.executable, "-c", DECODE_AND_REPORT, str(hour), str(tmp_path / "hour.flac")]
    seconds, megabytes = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert seconds == 3600
    assert megabytes < 150  # of which 172 would be the samples alone, were they held


@pytest.mark.parametrize("seconds", [0.1, 60])  # it fills up with the last block, or before
def test_a_full_disk_is_an_os_error_whatever_the_library_calls_it(tmp_path, encode, seconds, capfd):
    source = encode(tmp_path / "talk.wav", noise(seconds, 24_000), 24_000, "pcm_s16le")
    with pytest.raises(OSError, match="No space left on device"):
        decode(source, "/dev/full")
    assert "Traceback" not in capfd.readouterr().err


def test_sound_survives_a_file_and_bytes(tmp_path):
    samples = noise(2, 24_000)[0]
    write_sound(tmp_path / "sound.flac", samples)
    assert np.abs(read_sound(tmp_path / "sound.flac") - samples).max() < 1 / 32768
    assert np.array_equal(read_sound(sound_bytes(samples)), read_sound(tmp_path / "sound.flac"))
    assert len(read_sound(tmp_path / "sound.flac", start=0.5, end=1.25)) == 18_000
    soundfile.write(tmp_path / "cd.flac", samples, 44_100)
    with pytest.raises(Problem, match="44100 Hz, 1 channels, not 24 kHz mono"):
        read_sound(tmp_path / "cd.flac")
