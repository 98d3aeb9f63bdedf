"""The stage that cuts recordings into rows. Bursts of tone stand for words, so that their edges are known."""

import io
import json
import random

import numpy as np
import pytest
import soundfile
import yaml

from stages import segment
from stages.audio.silence import RATE, frame_levels
from stages.files.rows import SPLITS, read_rows
from stages.process.problem import Problem
from stages.speech.cutting import SegmentSettings
from stages.speech.ledger import REASONS

SETTINGS = SegmentSettings(
    method="sentences",
    min_seconds=2.0,
    max_seconds=12.0,
    pad_before=0.1,
    pad_after=0.3,
    validation_share=0.12,
    test_share=0.15,
    block_seconds=30.0,
    seed=0,
)


def bursts(spans, seconds):
    """Samples of 24 kHz: a tone in every (start, end), and a soft hiss all along."""
    samples = 0.0003 * np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)
    for start, end in spans:
        times = np.arange(round(start * RATE), round(end * RATE))
        samples[times] += 0.3 * np.sin(2 * np.pi * 220 * times / RATE).astype(np.float32)
    return samples


def hearing_tones(path, progress=lambda seconds: None):
    """What `scan` gives, with a detector that takes a tone for speech, and is as coarse as silero."""
    samples, _ = soundfile.read(path, dtype="float32")
    level = frame_levels(samples)
    loud = np.flatnonzero(level > -40) * 0.01
    regions = [(float(time) - 0.03, float(time) + 0.04) for time in loud]
    progress(len(samples) / RATE)
    return len(samples), level, regions


def write_recording(key, sentences, speak=True):
    """A recording in which every word is a burst of 0.4 s; 0.1 s between words, 0.8 s between sentences."""
    time, segments, spans = 0.7, [], []
    for text in sentences:
        words = []
        for word in text.split():
            words.append({"word": f" {word}", "start": round(time, 3), "end": round(time + 0.4, 3), "probability": 1.0})
            spans.append((round(time, 3), round(time + 0.4, 3)))
            time += 0.5
        scores = {"avg_logprob": 0.0, "compression_ratio": 1.0, "no_speech_prob": 0.0}
        edges = {"start": words[0]["start"], "end": words[-1]["end"]}
        segments.append({"id": len(segments), **edges, "text": text, "words": words, **scores})
        time += 0.7
    duration = round(time + 0.2, 3)
    soundfile.write(f"data/fetched/{key}.flac", bursts(spans if speak else [], duration), RATE, subtype="PCM_16")
    transcript = {
        "text": " ".join(sentences),
        "language": "en",
        "duration": duration,
        "engine": {"name": "none", "version": "0", "model": "none"},
        "segments": segments,
        "corrections": [
            {"find": "Trellis", "replace": "Trelis", "hits": 2 if key == "one" else 0},
            {"find": "Nobody", "replace": "Somebody", "hits": 0},
        ],
    }
    write_transcript(key, transcript)


def write_transcript(key, content):
    with open(f"data/corrected/{key}.json", "w") as file:
        json.dump(content, file)


def write_params(**changes):
    settings = SETTINGS.model_dump() | {"block_seconds": 10.0} | changes
    strict = settings.pop("strict", False)
    with open("params.yaml", "w") as file:
        yaml.safe_dump({"segment": settings, "correct": {"strict": strict}}, file)


def write_sources(**speakers):
    rights = {"basis": "own-voice", "speaker": "A tone", "evidence": "made here"}
    sources = {key: {"path": "x.wav", "speaker": number, "rights": rights} for key, number in speakers.items()}
    with open("data/sources.yaml", "w") as file:
        yaml.safe_dump({"sources": sources}, file, sort_keys=False)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two recordings of bursts, `two` before `one`, and a detector that hears them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segment, "scan", hearing_tones)
    for folder in ("data/fetched", "data/corrected"):
        (tmp_path / folder).mkdir(parents=True)
    draw = random.Random(3)
    for key in ("two", "one"):
        texts = [" ".join(f"word{draw.randrange(10**6)}" for _ in range(5)).capitalize() + "." for _ in range(16)]
        write_recording(key, [*texts, "Yes."])
    write_sources(two=1, one=0)
    write_params()
    return tmp_path


def all_rows():
    return [row for name in SPLITS for row in read_rows(f"data/rows/{name}.parquet")]


def data_report():
    with open("reports/data.json") as file:
        return json.load(file)


@pytest.mark.parametrize("method", ["sentences", "simple"])
def test_the_stage_keeps_or_books_every_second(project, method):
    write_params(method=method)
    segment.main()
    report = data_report()
    for key in ("one", "two"):
        booked = dict(report["by_recording"][key])
        seconds = soundfile.info(f"data/fetched/{key}.flac").duration
        assert booked.pop("seconds") == pytest.approx(seconds, abs=1e-6)
        assert sum(booked.values()) == pytest.approx(seconds, abs=0.001)
    whole = report["seconds"]["kept"] + sum(report["dropped"][reason]["seconds"] for reason in REASONS)
    assert whole == pytest.approx(report["recordings"]["seconds"], abs=0.001)
    rows = all_rows()
    for name in SPLITS:
        kept = [row.seconds for row in rows if row.split == name]
        assert report["rows"][name] == len(kept) > 0
        assert report["seconds"][name] == pytest.approx(sum(kept), abs=0.001)
    assert report["recordings"]["words_corrected"] == 2


def test_sentences_become_rows_with_their_speaker_and_edges(project, capsys):
    segment.main()
    rows = sorted(all_rows())
    assert [row.source for row in rows] == [0 if row.recording == "one" else 1 for row in rows]
    assert (rows[0].start, rows[0].end) == (0.6, 3.4)  # words at 0.7-1.1 ... 2.7-3.1
    assert rows[1].start == 3.8
    lasts = [row for row in rows if row.text.endswith("Yes.")]
    assert len(lasts) == 2 and all(len(row.text.split()) == 6 for row in lasts)  # too short to stand alone
    assert all(2.0 <= row.seconds <= 12.0 for row in rows)
    table = capsys.readouterr().out
    assert "2 recordings" in table and "of the 50 with which fine-tuning begins to be heard" in table


def test_datasets_opens_the_rows_as_they_are(project, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    segment.main()
    opened = datasets.load_dataset("data/rows", cache_dir="cache")
    assert set(opened) == set(SPLITS)
    assert opened["train"].features["audio"] == datasets.Audio(sampling_rate=24_000, decode=False)
    assert opened["train"].features["source"] == datasets.Value("int64")
    seen = 0
    for record in (record for name in SPLITS for record in opened[name]):
        samples, rate = soundfile.read(io.BytesIO(record["audio"]["bytes"]), dtype="int16")
        recording = f"data/fetched/{record['recording']}.flac"
        first = round(record["start"] * RATE)
        original, _ = soundfile.read(recording, start=first, frames=len(samples), dtype="int16")
        assert rate == RATE and len(samples) == round((record["end"] - record["start"]) * RATE)
        np.testing.assert_array_equal(samples, original)
        assert record["audio"]["path"] == f"{record['id']}.flac"
        seen += 1
    assert seen == len(all_rows())


def test_the_same_input_gives_the_same_bytes(project):
    def files():
        return {
            path.name: path.read_bytes() for folder in ("data/rows", "reports") for path in project.glob(f"{folder}/*")
        }

    segment.main()
    first = files()
    segment.main()
    assert len(first) == 5 and files() == first


def test_a_train_row_that_repeats_a_held_out_text_is_dropped_and_counted(project):
    write_recording("one", ["Here is the same sentence again."] * 16)
    segment.main()
    report = data_report()
    rows = all_rows()
    held_out = {row.text for row in rows if row.split != "train"}
    assert not held_out & {row.text for row in rows if row.split == "train"}
    assert report["dropped"]["text_leak"]["pieces"] > 0
    assert report["dropped"]["text_leak"]["seconds"] > 10


def test_a_last_sentence_without_its_end_is_dropped(project):
    path = project / "data/corrected/one.json"
    content = json.loads(path.read_text())
    content["segments"][-1]["words"][-1]["word"] = " Yes"
    path.write_text(json.dumps(content))
    segment.main()
    assert data_report()["dropped"]["unfinished"]["pieces"] == 1
    assert not any(row.text.endswith("Yes") for row in all_rows())


def test_a_rule_that_never_fires_is_a_warning(project, capsys):
    segment.main()
    hits = json.loads((project / "reports/corrections.json").read_text())
    assert hits["never_fired"] == ["Nobody"]
    error = capsys.readouterr().err
    assert "warning: data/replacements.yaml: never fired: 'Nobody'" in error and "Trellis" not in error


def test_a_rule_that_never_fires_is_an_error_when_strict(project):
    write_params(strict=True)
    with pytest.raises(Problem, match="never fired: 'Nobody'; mend the rule or take it out"):
        segment.main()
    assert not (project / "data/rows").exists()


def test_a_source_without_a_transcript_is_named(project):
    write_sources(two=1, one=0, three=0)
    with pytest.raises(Problem, match="data/corrected/three.json: no such file; run `dvc repro`"):
        segment.main()


def test_a_transcript_that_is_no_source_is_not_read(project):
    write_sources(two=1)
    segment.main()
    assert {row.recording for row in all_rows()} == {"two"}


def test_a_transcript_without_words_is_named(project):
    content = json.loads((project / "data/corrected/one.json").read_text())
    write_transcript("one", content | {"segments": []})
    with pytest.raises(Problem, match="data/corrected/one.json: has no words; listen to the recording"):
        segment.main()
    content["segments"][3]["words"] = []
    write_transcript("one", content)
    with pytest.raises(Problem, match="one.json: the segment at .* has text but no word times"):
        segment.main()


def test_too_few_rows_end_the_stage_and_keep_what_was_there(project):
    segment.main()
    before = (project / "data/rows/train.parquet").read_bytes()
    write_params(max_seconds=2.5)
    with pytest.raises(Problem, match=r"^0 rows are too few .*too_long"):
        segment.main()
    assert (project / "data/rows/train.parquet").read_bytes() == before


def test_a_silent_recording_drops_its_text_as_not_spoken(project):
    write_recording("one", ["Nobody says this."] * 3, speak=False)
    segment.main()
    report = data_report()
    assert report["dropped"]["no_speech"]["pieces"] == 3
    assert set(report["by_recording"]["one"]) >= {"pause", "seconds"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_seconds": 12.0}, "min_seconds 12.0 must be less than max_seconds 12.0"),
        ({"validation_share": 0.0}, "validation_share: Input should be greater than 0"),
        ({"method": "words"}, "method: Input should be 'sentences' or 'simple', not 'words'"),
        ({"block_seconds": "30"}, "block_seconds: Input should be a valid number, not '30'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(project, change, message):
    write_params(**change)
    with pytest.raises(Problem, match=f"^params.yaml: segment.*{message}"):
        segment.main()
