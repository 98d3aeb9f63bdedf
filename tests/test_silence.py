"""Where a recording is silent: bursts of tone whose edges are known, and real speech."""

import numpy as np
import pytest
import soundfile

from stages.audio.decode import decode
from stages.audio.silence import RATE, frame_levels, scan, silences, speech_frames
from stages.process.problem import Problem


def bursts(spans, seconds):
    """Samples of 24 kHz: a tone in every (start, end), and a soft hiss all along."""
    samples = 0.0003 * np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)
    for start, end in spans:
        times = np.arange(round(start * RATE), round(end * RATE))
        samples[times] += 0.3 * np.sin(2 * np.pi * 220 * times / RATE).astype(np.float32)
    return samples


def test_the_level_finds_the_edges_that_the_detector_only_estimates():
    spans = [(0.5, 1.0), (1.2, 2.0)]
    level = frame_levels(bursts(spans, 3.0))
    speech = speech_frames(level, [(0.45, 2.05)])  # the detector did not notice the pause
    np.testing.assert_allclose(silences(speech, 0.1), [[0, 0.5], [1.0, 1.2], [2.0, 3.0]])


def test_speech_that_the_detector_notices_late_begins_where_its_sound_begins():
    level = frame_levels(bursts([(0.0, 1.0), (1.5, 2.0)], 3.0))
    speech = speech_frames(level, [(0.2, 1.0), (1.6, 2.0)])
    np.testing.assert_allclose(silences(speech, 0.1), [[1.0, 1.5], [2.0, 3.0]])


def test_where_the_noise_is_loud_the_detector_decides():
    level = frame_levels(bursts([(0.5, 1.0)], 2.0) + 0.1 * np.random.default_rng(0).standard_normal(2 * RATE))
    quiet = silences(speech_frames(level.astype(np.float32), [(0.5, 1.0)]), 0.1)
    np.testing.assert_allclose(quiet, [[0, 0.43], [1.07, 2.0]], atol=0.011)


def test_a_tone_outside_every_detected_region_is_no_speech():
    level = frame_levels(bursts([(0.5, 1.0), (2.0, 2.5)], 3.0))
    assert np.flatnonzero(speech_frames(level, [(0.5, 1.0)])).tolist() == list(range(50, 100))


def test_short_silences_count_only_at_the_ends_of_the_recording():
    speech = np.zeros(200, bool)
    speech[2:100] = speech[105:198] = True
    np.testing.assert_allclose(silences(speech, 0.1), [[0, 0.02], [1.98, 2.0]])
    assert silences(np.ones(10, bool), 0.1).shape == (0, 2)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory):
    """Forty seconds of the embedded recording, as the fetch stage writes them."""
    path = tmp_path_factory.mktemp("fetched") / "harbour.flac"
    decode("tests/recordings/harbour.ogg", path, 0.0, 40.0)
    return path


def test_silences_of_real_speech_are_silent(harbour):
    samples, level, regions = scan(harbour)
    speech = speech_frames(level, regions)
    pauses = silences(speech, 0.25)
    assert samples == soundfile.info(harbour).frames
    assert len(level) == -(-samples // 240)
    assert 5 < len(pauses) < 40
    loud = 10 * np.log10(np.mean(10 ** (level[speech] / 10)))
    for start, end in pauses:
        assert np.max(level[round(start * 100) : round(end * 100)]) < loud - 20


def test_silence_before_a_recording_shifts_what_is_found(harbour, tmp_path):
    sound, _ = soundfile.read(harbour, dtype="int16")
    shifted = tmp_path / "shifted.flac"
    soundfile.write(shifted, np.concatenate([np.zeros(RATE * 2, np.int16), sound]), RATE)
    before, after = (silences(speech_frames(*scan(path)[1:]), 0.25) for path in (harbour, shifted))
    assert abs(len(before) - len(after)) <= 1
    nearest = np.min(np.abs(after[None, :, 0] - 2 - before[1:, None, 0]), axis=1)
    assert np.median(nearest) < 0.011


def test_a_recording_of_another_format_is_refused(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, np.zeros(100), 16_000)
    with pytest.raises(Problem, match="is 16000 Hz with 1 channels, not 24000 Hz mono; remove it"):
        scan(path)
    path.write_text("no sound")
    with pytest.raises(Problem, match="x.flac: not a sound file"):
        scan(path)
    with pytest.raises(Problem, match="gone.flac: no such file"):
        scan(tmp_path / "gone.flac")
