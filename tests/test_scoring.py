"""What evaluation measures on a clip, and how figures are made of clips."""

import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from stages.csm.turns import Turn
from stages.files.rows import Row
from stages.process.problem import Problem
from stages.scoring.listen import Heard, Listener
from stages.scoring.prosody import loudness, phrasing, pitch, pitch_track, syllables
from stages.scoring.score import HeldOutVoices
from stages.scoring.sentences import Sentence, choose_context, spread
from stages.scoring.speak import TELLING, Utterance, check_tuning_has_effect
from stages.scoring.speaker import SpeakerEncoder, centroid, raise_volume
from stages.scoring.store import Store, code_digest
from stages.scoring.words import Normaliser, character_errors, end_is_missing, seed_tts, word_errors

LJ = Path(__file__).parents[2] / "shared" / "data" / "lj"
RECORDING = Path(__file__).parent / "recordings" / "workshop.mp3"
RATE = 16_000


# Words


@pytest.fixture(scope="module")
def english():
    return Normaliser("en")


def errors(english, text, heard):
    return word_errors(english(text), english(heard))


def test_spelling_case_numbers_and_titles_are_no_errors(english):
    assert errors(english, "Dr. Grey's colour costs $20.", "doctor grey's color costs twenty dollars").count == 0


def test_words_in_brackets_are_spoken_and_count(english):
    # Whisper's normaliser deletes them from the text, and everyone who says them gets insertions.
    assert errors(english, "He came (at last) home [again].", "He came at last home again").count == 0


def test_substitutions_deletions_and_insertions_are_told_apart(english):
    found = errors(english, "the cat sat on the mat", "oh please the bat sat on mat")
    assert (found.substitutions, found.deletions, found.insertions, found.total) == (1, 1, 2, 6)
    assert found.rate == pytest.approx(4 / 6)


def test_nothing_heard_is_100_percent(english):
    assert errors(english, "the cat sat", "").rate == 1
    assert character_errors("the cat", "").rate == 1


def test_a_text_of_fillers_can_be_scored(english):
    assert errors(english, "Hmm.", "").rate == 0
    assert errors(english, "Hmm.", "what is that").insertions == 3


def test_other_languages_use_the_basic_normaliser():
    assert Normaliser("de")("Grüße, (Herr) Müller!") == "grüße herr müller"


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The well-known Dr. Grey\u2019s $20 \u2013 really?", "the wellknown dr grey's 20 really"),
        ("  It\u00a0is\n'so'  ", "it is 'so'"),
        ("\u201cGr\u00fc\u00dfe!\u201d (M\u00fcller) \u2026 50% a^b", "gr\u00fc\u00dfe m\u00fcller 50 ab"),
        ("...", ""),
    ],
)
def test_the_normaliser_of_seed_tts_keeps_letters_digits_and_apostrophes(text, normalised):
    assert seed_tts(text) == normalised


@pytest.mark.parametrize(
    ("heard", "missing"),
    [
        ("a b c d e f g h", True),
        ("a b c d e f g h i", False),
        ("a b c d e f g h x y", False),  # something was said there
        ("c d e f g h i j", False),  # the beginning is not the end
        ("", True),
    ],
)
def test_the_end_is_missing_when_none_of_the_last_words_was_said(heard, missing):
    assert end_is_missing("a b c d e f g h i j", heard, 0.2) is missing


def test_a_short_text_has_one_last_word():
    assert end_is_missing("good morning", "good", 0.2) and not end_is_missing("good morning", "morning", 0.2)
    assert not end_is_missing("", "anything", 0.2)


# Voice


@pytest.fixture(scope="module")
def encoder():
    return SpeakerEncoder.load()


def load(path, seconds=None):
    samples, rate = soundfile.read(path, dtype="float32", frames=-1 if seconds is None else round(seconds * 48_000))
    return soxr.resample(samples, rate, RATE)


def test_the_front_end_is_resemblyzers_to_the_number(encoder, monkeypatch):
    """The package itself is the oracle; only its voice activity detector, which is not used, is stood in for."""
    monkeypatch.setitem(sys.modules, "webrtcvad", types.ModuleType("webrtcvad"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resemblyzer = pytest.importorskip("resemblyzer")
        original = resemblyzer.VoiceEncoder("cpu", verbose=False)
    noise = np.random.default_rng(0)
    for samples in (1_000, 25_600, 33_000, 80_123):  # shorter than one partial utterance, exactly one, several
        clip = (0.01 * noise.standard_normal(samples)).astype(np.float32)
        theirs = original.embed_utterance(resemblyzer.normalize_volume(clip, -30, increase_only=True))
        assert np.allclose(encoder.embed(clip), theirs, atol=1e-6)


def test_only_quiet_clips_are_raised():
    loud, quiet = np.full(100, 0.5, np.float32), np.full(100, 0.001, np.float32)
    assert raise_volume(loud) is loud
    assert 20 * np.log10(raise_volume(quiet)[0]) == pytest.approx(-30, abs=0.01)
    assert not raise_volume(np.zeros(100, np.float32)).any()


@pytest.mark.skipif(not (LJ.exists() and RECORDING.exists()), reason="no two voices to compare")
def test_one_voice_is_more_like_itself_than_like_another(encoder):
    lj = [encoder.embed(load(path)) for path in sorted(LJ.glob("*.flac"))[:4]]
    talk = load(RECORDING, 20)
    other = [encoder.embed(talk[start : start + 4 * RATE]) for start in range(0, len(talk) - 4 * RATE, 4 * RATE)]
    same = min([float(a @ b) for voice in (lj, other) for a in voice for b in voice if a is not b])
    different = max(float(a @ b) for a in lj for b in other)
    assert same > different


def heard(embedding=None, **more):
    return Heard(seconds=1.0, empty=embedding is None, embedding=embedding, **more)


def test_a_recording_is_not_compared_with_itself():
    rows = [Row("talk", start, start + 1.0, "a", split="test") for start in (0.0, 2.0, 4.0)]
    one, other = [1.0, 0.0], [0.0, 1.0]
    voices = HeldOutVoices([(rows[0], heard(one)), (rows[1], heard(other)), (rows[2], heard(other))])
    assert voices.similarity(rows[0], heard(one)) == pytest.approx(0)  # only the others are left
    assert voices.similarity(rows[1], heard(one)) == pytest.approx(float(centroid([one, other])[0]))
    assert voices.similarity(rows[1], heard()) is None
    lone = HeldOutVoices([(rows[0], heard(one))])
    assert lone.similarity(rows[0], heard(one)) is None and lone.genuine() == []
    assert voices.genuine() == [
        voices.similarity(row, heard(vector)) for row, vector in zip(rows, (one, other, other), strict=True)
    ]


# Prosody


def voiced(hertz, seconds=1.0, level=0.2):
    times = np.arange(round(seconds * RATE)) / RATE
    return (level * sum(np.sin(2 * np.pi * hertz * k * times) / k for k in range(1, 8))).astype(np.float32)


@pytest.mark.parametrize("hertz", [80, 150, 330])
def test_pitch_of_a_steady_voice(hertz):
    median, spread = pitch(pitch_track(voiced(hertz)))
    assert median == pytest.approx(hertz, rel=0.01)
    assert spread < 0.2


def test_spread_of_two_pitches_an_octave_apart_is_half_an_octave():
    median, spread = pitch(pitch_track(np.concatenate([voiced(110), voiced(220)])))
    assert spread == pytest.approx(6, abs=0.3)


def test_noise_and_silence_have_no_pitch():
    assert pitch(pitch_track(np.zeros(RATE, np.float32))) == (None, None)
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert pitch(pitch_track(noise)) == (None, None)


def test_the_pitch_track_has_fifty_values_a_second():
    track = pitch_track(np.concatenate([voiced(150), np.zeros(RATE, np.float32)]))
    assert len(track) == 101 and np.isnan(track[60:]).all() and np.allclose(track[5:45], 150, rtol=0.01)


def test_pauses_are_not_speech_but_short_gaps_are():
    def gap(seconds):
        return np.zeros(round(seconds * RATE), np.float32)

    clip = np.concatenate([gap(0.5), voiced(150), gap(0.1), voiced(150), gap(1.0), voiced(150), gap(0.7)])
    found = phrasing(clip)
    assert found.speech_seconds == pytest.approx(3.1, abs=0.1)
    assert found.pause_share == pytest.approx(1.0 / 4.1, abs=0.02)
    assert found.longest_pause == pytest.approx(1.0, abs=0.05)
    assert found.trailing_silence == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize("samples", [RATE, 10, 0])
def test_silence_has_no_phrasing_and_trails_from_the_start(samples):
    found = phrasing(np.zeros(samples, np.float32))
    assert (found.speech_seconds, found.pause_share, found.longest_pause) == (0, None, 0)
    assert found.trailing_silence == samples / RATE


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("the whole table", 4),
        ("a strange house", 3),
        ("in 1914", 5),
        ("grün, Renée!", 3),
        ("", 0),
        ("...", 0),
        ("日本", 0),
    ],
)
def test_syllables(text, count):
    assert syllables(text) == count


def test_loudness_follows_the_standard():
    times = np.arange(48_000) / 48_000
    assert loudness(np.sin(2 * np.pi * 997 * times), 48_000) == pytest.approx(-3.01, abs=0.05)  # BS.1770's own example
    assert loudness(np.ones(100), 48_000) is None  # shorter than its window
    assert loudness(np.zeros(48_000), 48_000) is None


# Listening


class Parrot:
    """A recogniser that always hears the same, and counts."""

    def __init__(self):
        self.calls = 0

    def text(self, samples):
        self.calls += 1
        return " hello "


def test_a_clip_is_listened_to_once(tmp_path, encoder):
    parrot = Parrot()
    clip = np.repeat(voiced(150), 3)[: 24_000 * 2]
    first = Listener(parrot, "parrot", encoder, Store(tmp_path)).listen(clip)
    again = Listener(parrot, "parrot", encoder, Store(tmp_path)).listen(clip)
    assert first == again and first.text == "hello" and parrot.calls == 1
    Listener(parrot, "another parrot", encoder, Store(tmp_path)).listen(clip)
    assert parrot.calls == 2


class Second(Parrot):
    name = "second parrot"


class Mark:
    name, limit = "mark", None

    def mark(self, samples):
        return 3.5


def test_a_second_recogniser_and_a_predictor_are_asked_too(tmp_path, encoder):
    clip = np.repeat(voiced(150), 3)[: 24_000 * 2]
    found = Listener(Parrot(), "parrot", encoder, Store(tmp_path), Second(), Mark()).listen(clip)
    assert (found.text_second, found.quality) == ("hello", 3.5)
    assert len(found.pitch_track) == 101 and found.pitch_hz == pytest.approx(75, rel=0.02)
    assert set(found.pitch_track) == {75.2}  # a tenth of a hertz is enough for a picture
    alone = Listener(Parrot(), "parrot", encoder, Store(tmp_path)).listen(clip)
    assert (alone.text_second, alone.quality) == (None, None)  # not what the other listener heard


def test_many_clips_are_heard_at_once_in_their_order(tmp_path, encoder):
    clips = [np.repeat(voiced(140 + 10 * number), 3)[: 24_000 * 2] for number in range(5)]
    loads = [lambda clip=clip: clip for clip in [*clips, clips[0], np.zeros(0, np.float32)]]
    one = Listener(Parrot(), "parrot", encoder, Store(tmp_path / "one")).listen_all(loads, "hear", workers=1)
    parrot = Parrot()
    four = Listener(parrot, "parrot", encoder, Store(tmp_path / "four")).listen_all(loads, "hear", workers=4)
    assert one == four and [round(heard.pitch_hz / 5) for heard in four[:-1]] == [14, 15, 16, 17, 18, 14]
    assert parrot.calls == 5  # the clip that comes twice is heard once
    files = {scratch: {path.name: path.read_bytes() for path in (tmp_path / scratch).rglob("*.json")}
             for scratch in ("one", "four")}  # fmt: skip
    assert files["one"] == files["four"]


def test_an_error_in_one_clip_ends_all_and_leaves_nothing_half_written(tmp_path, encoder):
    def missing():
        raise Problem("clip 2: no such file")

    listener = Listener(Parrot(), "parrot", encoder, Store(tmp_path))
    with pytest.raises(Problem, match="clip 2: no such file"):
        listener.listen_all([lambda: np.zeros(0, np.float32), missing], "hear")
    assert not list(tmp_path.rglob("*.part*"))


@pytest.mark.parametrize("clip", [np.zeros(0), np.zeros(48_000), np.full(48_000, np.nan), np.ones(2_000)])
def test_no_sound_is_empty_and_not_an_error(tmp_path, encoder, clip):
    listener = Listener(Parrot(), "parrot", encoder, Store(tmp_path), Second(), Mark())
    found = listener.listen(clip.astype(np.float32))
    assert found.empty and found.text == "" == found.text_second and found.embedding is None
    assert (found.quality, found.pause_share, found.pitch_track) == (None, None, [])
    assert listener.embed(clip.astype(np.float32)) is None


def test_what_a_run_did_not_ask_for_is_forgotten(tmp_path):
    store = Store(tmp_path)
    for seed in (0, 1):
        path = store.path("clips", {"seed": seed}, ".npz")
        path.parent.mkdir(exist_ok=True)
        path.touch()
    later = Store(tmp_path)
    kept = later.path("clips", {"seed": 1}, ".npz")
    later.forget_others()
    assert [kept] == list(tmp_path.glob("clips/*"))


def test_edited_code_has_another_digest(tmp_path, monkeypatch):
    source = tmp_path / "voice.py"
    module = types.ModuleType("stages.invented.voice")
    module.__file__ = str(source)
    monkeypatch.setitem(sys.modules, "stages.invented.voice", module)
    source.write_text("LEVEL = 1")
    before = code_digest("stages.invented")
    source.write_text("LEVEL = 2")
    assert code_digest("stages.invented") != before


# Choice of sentences


def sentence(start, seconds=2.0, recording="talk", source=0, split="train"):
    return Sentence(Row(recording, start, start + seconds, "words", source, split), Turn([1], np.zeros((1, 2))), b"")


def test_texts_are_spread_evenly():
    rows = [sentence(3.0 * number) for number in range(10)]
    assert [one.row.start for one in spread(rows, 4)] == [0.0, 9.0, 18.0, 27.0]
    assert spread(rows, 99) == rows
    assert spread(rows, 1) == rows[:1]


def test_context_is_the_longest_run_of_neighbours_that_fits():
    train = [
        sentence(0.0, 5.0),
        sentence(6.0, 2.0, "other"),
        sentence(8.5, 3.5, "other"),
        sentence(20.0, 5.5, "other", source=1),
    ]
    assert choose_context(train, 0, 6.0) == tuple(train[1:3])
    assert choose_context(train, 0, 5.2) == (train[0],)
    assert choose_context(train, 1, 6.0) == (train[3],)


def test_no_context_says_what_to_raise():
    with pytest.raises(
        Problem, match=r"speaker 0 .*evaluate.context_seconds \(1 s\): the shortest lasts 2.0 s; raise it"
    ):
        choose_context([sentence(0.0)], 0, 1.0)
    with pytest.raises(Problem, match="speaker 7 has no training row"):
        choose_context([sentence(0.0)], 7, 5.0)


# Guards


def spoken(condition, *codes):
    row = sentence(0.0, split="test")
    return [Utterance(condition, row, lambda: None, 0, np.array(one), True) for one in codes]


def test_an_adapter_without_effect_is_refused():
    same = spoken("zero_shot", [1, 2], [3]) + spoken("ft", [1, 2], [3])
    with pytest.raises(Problem, match="the tuned voice speaks exactly like the base .*adapter has no effect"):
        check_tuning_has_effect(same + spoken("clone", [1]) + spoken("ft_clone", [1]))
    check_tuning_has_effect(same + spoken("clone", [1]) + spoken("ft_clone", [2]))


def test_an_adapter_without_effect_on_one_condition_is_refused_too():
    long = list(range(TELLING))
    plain, changed = spoken("zero_shot", [1, 2], [3]), spoken("ft", [1, 2], [4])
    with pytest.raises(Problem, match="ft_clone speaks exactly like clone .*adapter has no effect"):
        check_tuning_has_effect(plain + changed + spoken("clone", long) + spoken("ft_clone", long))
    check_tuning_has_effect(plain + changed + spoken("clone", long) + spoken("ft_clone", [*long, 1]))


def test_a_base_that_says_the_same_few_frames_after_a_context_is_no_adapter_without_effect():
    different = spoken("zero_shot", [1] * TELLING, [3]) + spoken("ft", [1] * TELLING, [4])
    check_tuning_has_effect(different + spoken("clone", [1]) + spoken("ft_clone", [1]))
