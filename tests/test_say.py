"""Speaking with the merged voice: what is said, with which context, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny

from stages.csm.generate import Clip
from stages.csm.turns import Turn, write_coded
from stages.files.rows import Row
from stages.process.problem import Problem
from tools import say

EVALUATE = (
    "evaluate: {max_texts: 1, texts: [], second_model: null, speaker_encoder: ge2e, quality: none, "
    "others: data/others, resamples: 100, seeds: [0], temperature: 0.9, top_k: 50, max_seconds: 8.0, "
    "context_seconds: 6.0, batch_size: 4, device: cpu, engine: faster-whisper, model: package:tiny.en, language: en}\n"
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with two coded training rows of speaker 2 and the small base in place of a merged voice."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(EVALUATE)
    Path("models").mkdir()
    Path("models/merged").symlink_to(tiny.BASE)
    rows = [Row("harbour", 1.25, 2.05, "The quay is quiet.", 2), Row("harbour", 3.0, 3.8, "A boat comes in.", 2)]
    codes = np.ones((10, 32), np.int16)
    write_coded("data/codes/train.parquet", rows, [Turn([1, 2, 3], codes), Turn([4, 5], codes)])
    return tmp_path


@pytest.fixture
def spoken(monkeypatch):
    """Prompts and limits that reach the model; it answers with five frames."""
    calls = []

    def fake(model, prompts, **options):
        calls.append((prompts, options))
        return [Clip(np.ones((5, 32), np.int16), True)]

    monkeypatch.setattr(say, "generate", fake)
    return calls


def run_tool(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["say", *arguments])
        say.main()


def text_of(prompt) -> str:
    return say.load_processor("models/merged").tokenizer.decode(prompt.text_ids)


def test_a_text_becomes_a_wav(project, capsys):
    run_tool("Good morning.", "--out", "hello.wav", "--seed", "3")
    samples, rate = sf.read("hello.wav")
    assert rate == 24_000 and samples.ndim == 1 and 0 < len(samples) <= 33 * 1920 and len(samples) % 1920 == 0
    assert f"hello.wav: {len(samples) / 24_000:.1f} s" in capsys.readouterr().out


def test_the_same_seed_says_it_the_same_way(project):
    for name, seed in (("a.wav", "1"), ("b.wav", "1"), ("c.wav", "2")):
        run_tool("Hm.", "--out", name, "--seed", seed)
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes() != Path("c.wav").read_bytes()


def test_the_speaker_is_that_of_the_training_rows(project, spoken):
    run_tool("  Good \n morning. ")
    [([prompt], options)] = spoken
    assert "[2]Good morning." in text_of(prompt) and prompt.context == ()
    assert options == {"max_frames": 32, "temperature": 0.9, "top_k": 50, "seed": 0, "batch_size": 1}
    run_tool("Good morning.", "--speaker", "1")
    assert "[1]Good morning." in text_of(spoken[1][0][0])


def test_without_training_rows_the_speaker_is_0(project, spoken):
    shutil.rmtree("data")
    run_tool("Good morning.")
    assert "[0]Good morning." in text_of(spoken[0][0][0])


def test_a_row_is_heard_first(project, spoken):
    run_tool("Good morning.", "--context", "harbour-0003000")
    [turn] = spoken[0][0][0].context
    assert turn.text_ids == [4, 5] and turn.codes.shape == (10, 32)


def test_a_row_that_is_not_there(project, spoken):
    with pytest.raises(
        Problem, match=r"CONTEXT=harbour-0003001: no such row .*; there is harbour-0003000, .* \(of 2\)"
    ):
        run_tool("Good morning.", "--context", "harbour-0003001")
    with pytest.raises(Problem, match="there is harbour-0001250, harbour-0003000"):
        run_tool("Good morning.", "--context", "../../etc/passwd")


def test_a_voice_that_does_not_end_is_cut_and_said_so(project, monkeypatch, capsys):
    monkeypatch.setattr(say, "generate", lambda *_, **__: [Clip(np.ones((25, 32), np.int16), False)])
    run_tool("Good morning.")
    assert "say.wav: 2.0 s; it did not end by itself and was cut" in capsys.readouterr().out


def test_a_voice_that_says_nothing(project, monkeypatch):
    monkeypatch.setattr(say, "generate", lambda *_, **__: [Clip(np.zeros((0, 32), np.int16), True)])
    with pytest.raises(Problem, match="ended before it said anything; try another SEED than 7"):
        run_tool("Good morning.", "--seed", "7")
    assert not Path("say.wav").exists()


@pytest.mark.parametrize("text", ["", "  \n "])
def test_nothing_to_say(project, text):
    with pytest.raises(Problem, match="TEXT is empty"):
        run_tool(text)


def test_too_much_to_say(project):
    with pytest.raises(Problem, match="take all of the model's .* positions; say less at a time"):
        run_tool("word " * 3000)


def test_a_token_mark_in_the_text(project):
    with pytest.raises(Problem, match="holds a token mark"):
        run_tool("Good <|AUDIO|> morning.")


def test_no_voice_yet(project):
    Path("models/merged").unlink()
    with pytest.raises(Problem, match="models/merged: there is no voice yet; run `make repro`, or `make pull REMOTE"):
        run_tool("Good morning.")


@pytest.mark.parametrize("out", ["hello.mp3", "hello", "no/such/folder/hello.wav", ""])
def test_a_place_that_is_no_wav(project, out):
    with pytest.raises(Problem, match="name a .wav file in a folder that is there"):
        run_tool("Good morning.", "--out", out)
