"""The evaluate stage on a small project, with a model of two lines: what it writes, and what it survives."""

import json
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiny
import torch

from stages import evaluate
from stages.audio.sound import sound_bytes, write_sound
from stages.csm.generate import Clip
from stages.csm.turns import Turn, write_coded
from stages.files.atomic import write_json
from stages.files.rows import Row, write_rows
from stages.process.problem import Problem
from stages.scoring import measure, speak

PARAMS = """
base: {path: bases/tiny, name: null, revision: null}
evaluate:
  {max_texts: 3, seeds: [0, 5], temperature: 0.9, top_k: 50, max_seconds: 4.0, context_seconds: 5.0, batch_size: 2,
   texts: [], device: cpu, engine: faster-whisper, model: "package:tiny.en", language: en, second_model: null,
   speaker_encoder: ge2e, quality: none, others: data/others, resamples: 200}
"""
HOSTILE = '<script>alert("x")</script> & co'


def voice(hertz, seconds=1.5):
    times = np.arange(round(seconds * 24_000)) / 24_000
    return (0.2 * sum(np.sin(2 * np.pi * hertz * k * times) / k for k in range(1, 6))).astype(np.float32)


class FakeModel(torch.nn.Module):
    """Its one weight is the pitch it speaks with."""

    def __init__(self, hertz):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([float(hertz)]))
        self.config = types.SimpleNamespace(to_json_string=lambda: "{}")
        self.device = "cpu"


class Project:
    """Calls of the fakes, and switches to make them fail."""

    def __init__(self):
        self.generated: list[int] = []  # clips per call
        self.contexts: set[int] = set()
        self.listened = 0
        self.die_after = None  # this many calls of generate
        self.tuned = 200

    def generate(self, model, prompts, *, max_frames, temperature, top_k, seed, batch_size):
        if self.die_after is not None and len(self.generated) >= self.die_after:
            raise KeyboardInterrupt
        self.generated.append(len(prompts))
        self.contexts |= {len(prompt.context) for prompt in prompts}
        clips = []
        for prompt in prompts:
            frames = 0 if prompt.text_ids == [1] and not prompt.context else 12
            codes = np.full((frames, 2), int(model.weight) + len(prompt.context) + seed % 7, np.int16)
            clips.append(Clip(codes, stopped=bool(seed % 2 == 0)))
        return clips

    def decode(self, model, codes):
        return voice(int(codes[0, 0])) if len(codes) else np.zeros(0, np.float32)

    def text(self, samples):
        self.listened += 1
        return "words two three"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    for split, count, start in (("train", 4, 0.0), ("test", 5, 60.0)):
        rows = [
            Row("talk", start + 2 * n, start + 2 * n + 1.5, HOSTILE if n == 0 else f"words two {n}", 0, split)
            for n in range(count)
        ]
        sounds = [{"bytes": sound_bytes(voice(150 + 5 * n)), "path": None} for n in range(count)]
        audio = pa.array(sounds, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        write_rows(f"data/rows/{split}.parquet", rows, {"audio": audio})
        write_coded(
            f"data/codes/{split}.parquet", rows, [Turn([n + 1], np.ones((5, 2), np.int16)) for n in range(count)]
        )
    for row in rows:
        write_sound(f"data/codec/{row.id}.flac", voice(140))
    write_json("data/codes/base.json", {"revision": None})
    write_json("reports/growth/growth.json", {"criterion": "last", "chosen": 1, "texts": {}, "stages": []})
    fakes = Project()
    recogniser = types.SimpleNamespace(text=fakes.text, engine=types.SimpleNamespace(version="1"))
    monkeypatch.setattr(speak, "generate", fakes.generate)
    monkeypatch.setattr(speak, "decode", fakes.decode)
    monkeypatch.setattr(evaluate, "load_base", lambda settings, device: FakeModel(120))
    monkeypatch.setattr(evaluate, "load_csm", lambda path, device: FakeModel(fakes.tuned))
    for number in range(5):
        write_sound(f"data/others/{number}.flac", voice(90 + 40 * number))
    for name in ("data", "corrections"):
        write_json(f"reports/{name}.json", {})
    write_json("reports/merge.json", json.loads((tiny.ROOT / "reports/merge.json").read_text()))
    monkeypatch.setattr(measure, "make_recogniser", lambda *_, **__: recogniser)
    return fakes


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_clip_of_every_condition_is_measured(project, tmp_path):
    evaluate.main()
    clips = pd.read_csv("reports/clips.csv")
    count = clips.groupby("condition", sort=False).size().to_dict()
    assert count == {"gt": 3, "gt_codec": 3, "zero_shot": 6, "clone": 6, "ft": 6, "ft_clone": 6}
    empty = clips[clips["empty"] == 1]
    assert set(empty["condition"]) == {"zero_shot", "ft"} and (empty["wer"] == 1).all() and len(empty) == 4
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text())
    assert metrics["gt"]["clips"] == 3 and metrics["ft"]["empty"] == 2 and 0 < metrics["ft"]["stop_rate"] < 1
    assert set(metrics["engines"]) == {"recogniser", "speaker", "normaliser", "seed_tts_normaliser"}
    assert project.contexts == {0, 3}  # 4.5 of 5 s: three training rows, or none
    sounds = list((tmp_path / "reports/listen/audio").glob("*/*.mp3"))
    assert len(sounds) == 30 - 4 + 3  # the empty ones have none; the context has three


def test_lists_of_texts_fill_up_and_have_no_recording(project, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "load_processor", lambda location, revision: tiny.processor())
    (tmp_path / "data/texts").mkdir()
    (tmp_path / "data/texts/mine.txt").write_text("Who is there?\nA second one.\nWe never met.\n")
    wanted = PARAMS.replace("max_texts: 3", "max_texts: 7").replace("texts: []", "texts: [mine]")
    (tmp_path / "params.yaml").write_text(wanted)
    evaluate.main()
    clips = pd.read_csv("reports/clips.csv")
    assert clips.groupby("condition", sort=False)["row"].nunique().to_dict() == {
        "gt": 5, "gt_codec": 5, "zero_shot": 7, "clone": 7, "ft": 7, "ft_clone": 7
    }  # fmt: skip
    listed = clips[clips["row"].str.startswith("Text-mine")]
    assert set(listed["text"]) == {"Who is there?", "We never met."}  # spread evenly over the list
    assert listed["similarity"].notna().all() and (listed["duration_ratio"] > 0).all()
    assert "data/texts/mine.txt, line 3" in (tmp_path / "reports/listen/index.html").read_text()


def test_the_same_inputs_give_the_same_bytes_and_nothing_is_spoken_twice(project, tmp_path):
    evaluate.main()
    first, calls, listened = everything(tmp_path / "reports"), len(project.generated), project.listened
    evaluate.main()
    assert everything(tmp_path / "reports") == first
    assert (len(project.generated), project.listened) == (calls, listened)


def test_a_killed_run_goes_on(project, tmp_path):
    project.die_after = 5
    with pytest.raises(KeyboardInterrupt):
        evaluate.main()
    left = {path.name for path in (tmp_path / "reports").iterdir()}
    assert left == {"growth", "data.json", "corrections.json", "merge.json"}  # of other stages, and nothing else
    project.die_after = None
    evaluate.main()
    # 4 conditions x 2 seeds x batches of 2 and 1 texts: none is generated twice
    assert sorted(project.generated) == [1] * 8 + [2] * 8


def test_another_model_is_heard_anew_and_the_base_is_not(project):
    evaluate.main()
    before = len(project.generated)
    project.tuned = 210
    evaluate.main()
    assert len(project.generated) == before + 8  # ft and ft_clone only


def test_an_adapter_without_effect_ends_in_one_line(project):
    project.tuned = 120
    with pytest.raises(Problem, match="adapter has no effect"):
        evaluate.main()


def test_a_context_that_is_too_short_ends_in_one_line(project, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS.replace("context_seconds: 5.0", "context_seconds: 1.0"))
    with pytest.raises(Problem, match="evaluate.context_seconds"):
        evaluate.main()


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("seeds: [0, 5]", "seeds: [3, 3]", "evaluate.seeds: .*names a seed twice"),
        ("seeds: [0, 5]", "seeds: []", "evaluate.seeds: .*at least 1"),
        ("max_texts: 3", "max_texts: 0", "evaluate.max_texts: .*greater than or equal to 1"),
        ("engine: faster-whisper", "engine: parrot", "evaluate.engine: .*'faster-whisper' or 'openai-whisper'"),
        ("device: cpu", "devise: cpu", "evaluate.*devise: unknown key|evaluate.device: missing"),
    ],
)
def test_wrong_settings_end_in_one_line(project, tmp_path, good, bad, message):
    (tmp_path / "params.yaml").write_text(PARAMS.replace(good, bad))
    with pytest.raises(Problem, match=message):
        evaluate.main()
    assert not project.generated


def test_a_missing_codec_round_trip_ends_in_one_line(project, tmp_path):
    next((tmp_path / "data/codec").glob("*.flac")).unlink()
    with pytest.raises(Problem, match=r"data/codec/.*\.flac: cannot be read"):
        evaluate.main()
