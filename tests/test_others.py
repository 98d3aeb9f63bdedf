"""The ceiling and the floor of similarity, and the threshold between them."""

import numpy as np
import pytest
import soundfile

from stages.csm.turns import Turn
from stages.files.rows import Row
from stages.process.problem import Problem
from stages.scoring.listen import Heard, Listener
from stages.scoring.others import OtherSpeaker, other_speaker, other_voices, prompt_voices, same_speaker
from stages.scoring.score import HeldOutVoices
from stages.scoring.sentences import Sentence
from stages.scoring.store import Store


class Loudness:
    """An encoder of one line: how loud a clip is, as an angle."""

    name = "loudness"

    def __init__(self):
        self.calls = 0

    def embed(self, samples):
        self.calls += 1
        angle = float(np.abs(samples).mean())
        return np.array([np.cos(angle), np.sin(angle)], np.float32)


@pytest.fixture
def listener(tmp_path):
    return Listener(None, "none", Loudness(), Store(tmp_path / "store"))


def write(folder, name, level, seconds=1.0, rate=22_050):
    folder.mkdir(exist_ok=True)
    soundfile.write(folder / name, np.full(round(seconds * rate), level), rate)


def write_voices(folder, count=5):
    for number in range(count):
        write(folder, f"voice{number}.{'wav' if number % 2 else 'flac'}", 0.1 + 0.05 * number)


def held_out(*angles, source=0):
    return [
        (
            Row("talk", 10.0 * n, 10.0 * n + 5, "a", source, "test"),
            Heard(5.0, False, embedding=[np.cos(angle), np.sin(angle)]),
        )
        for n, angle in enumerate(angles)
    ]


def unit(angle):
    return np.array([np.cos(angle), np.sin(angle)])


def test_one_voice_for_every_sound_file_in_order_of_names(tmp_path, listener):
    folder = tmp_path / "others"
    write_voices(folder)
    (folder / "README.md").write_text("who they are")
    (folder / ".hidden").write_text("no sound")
    found = other_voices(str(folder), listener)
    levels = [round(float(np.arctan2(voice[1], voice[0])), 2) for voice in found]
    assert levels == [0.1, 0.15, 0.2, 0.25, 0.3]
    again = other_voices(str(folder), listener)
    assert np.array_equal(found, again) and listener.encoder.calls == 5  # each is heard once


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_voices_end_in_one_line(tmp_path, listener, count):
    write_voices(tmp_path / "others", count)
    with pytest.raises(Problem, match=f"evaluate.others: .*{count} clips of other people; put at least 5 there"):
        other_voices(str(tmp_path / "others"), listener)


def test_a_file_that_is_no_voice_ends_in_one_line(tmp_path, listener):
    folder = tmp_path / "others"
    write_voices(folder)
    (folder / "virus.ogg").write_bytes(b"no sound at all")
    with pytest.raises(Problem, match="virus.ogg: not audio, or damaged"):
        other_voices(str(folder), listener)
    write(folder, "virus.ogg", 0.1, seconds=0.1, rate=48_000)
    with pytest.raises(Problem, match="virus.ogg: too short or too quiet"):
        other_voices(str(folder), listener)


def test_the_ceiling_compares_each_recording_with_the_others_of_its_speaker():
    voices = HeldOutVoices(held_out(0.0, 0.2) + held_out(1.0, source=1))
    found = same_speaker(voices)
    assert found.clips == 2 and found.similarity == pytest.approx(np.cos(0.2))  # speaker 1 has nothing to compare
    lone = same_speaker(HeldOutVoices(held_out(0.0)))
    assert (lone.similarity, lone.clips) == (None, 0)


def test_the_threshold_parts_own_recordings_from_other_voices():
    voices = HeldOutVoices(held_out(0.0, 0.1, 0.2))
    found = other_speaker(voices, [unit(angle) for angle in (1.0, 1.1, 1.2, 1.3, 1.4)])
    assert found.voices == 5 and found.eer == 0
    assert found.similarity == pytest.approx(np.mean([np.cos(angle - 0.1) for angle in (1.0, 1.1, 1.2, 1.3, 1.4)]))
    assert max(voices.impostors([unit(1.0)])) < found.threshold < min(voices.genuine())


def test_without_own_recordings_to_compare_there_is_a_floor_but_no_threshold():
    found = other_speaker(HeldOutVoices(held_out(0.0)), [unit(1.0)] * 5)
    assert found == OtherSpeaker(pytest.approx(np.cos(1.0)), 5, None, None)


def test_the_prompts_voice_is_the_centroid_of_what_clones_hear(listener):
    class Loud(Sentence):
        def recording(self):
            return np.full(24_000, self.row.start, np.float32)

    def sentence(level):
        return Loud(Row("talk", level, 1.0, "a"), Turn([1], np.zeros((1, 2))), b"")

    found = prompt_voices({0: (sentence(0.1), sentence(0.3)), 1: (sentence(0.0),)}, listener)
    assert list(found) == [0]  # the other speaker's audio is silent
    assert np.allclose(found[0], unit(0.2), atol=1e-3)
