"""The sweep: what it asks of DVC, how it ranks, what it shows; and one real sweep in a clone of this repository."""

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree
from pathlib import Path

import pytest

from stages.process.problem import Problem
from tools import experiments, sweep
from tools.chart import Panel, Series, figure, ticks, widened
from tools.sweep import Result, Run

ROOT = Path(__file__).resolve().parent.parent
PARAMS = {"train": {"method": "lora", "learning_rate": 0.002, "lora": {"rank": 16}}}
NOTHING = {"learning_rate": "", "steps": "", "rank": "", "minutes": ""}


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_numbers_are_parsed_sorted_and_counted_once():
    assert sweep.numbers("0.002 1e-3, 0.001", "LR") == [0.001, 0.002]
    assert sweep.numbers("60 20", "STEPS", int) == [20, 60]


@pytest.mark.parametrize(
    "words", ["$(touch pwned)", "1;2", "1 -2", "0", "nan", "inf", "null", "1e999", "٣", "--rank=3"]
)
def test_what_is_no_number_above_0_is_refused(words):
    with pytest.raises(Problem, match="^LR="):
        sweep.numbers(words, "LR")
    with pytest.raises(Problem, match="^STEPS="):
        sweep.numbers(words.replace("-2", "2.5"), "STEPS", int)


def test_a_grid_is_every_combination_and_each_has_a_name_of_its_own():
    runs = sweep.grid_runs(NOTHING | {"learning_rate": "0.001 2e-5", "steps": "20 60", "rank": "8"}, PARAMS, 64)
    assert [run.name for run in runs] == [
        "grid-lr2e-05-steps20-rank8",
        "grid-lr2e-05-steps60-rank8",
        "grid-lr0.001-steps20-rank8",
        "grid-lr0.001-steps60-rank8",
    ]
    assert runs[0].overrides == {
        "train.learning_rate": "2e-05",
        "train.max_steps": "20",
        "train.lora.rank": "8",
    }


def test_without_numbers_the_grid_lies_around_the_committed_settings():
    runs = sweep.grid_runs(NOTHING, PARAMS, 64)
    assert [tuple(run.values.values()) for run in runs] == [
        (0.001, 16, 16),
        (0.001, 64, 16),
        (0.004, 16, 16),
        (0.004, 64, 16),
    ]


def test_a_rank_for_a_training_without_adapter_is_refused():
    with pytest.raises(Problem, match="^RANKS has no effect: train.method is full"):
        sweep.grid_runs(NOTHING | {"rank": "8"}, {"train": PARAMS["train"] | {"method": "full"}}, 64)


def test_sizes_above_the_speech_there_is_are_left_out():
    runs, above = sweep.minutes_runs(NOTHING, 4.5, 64)
    assert [run.name for run in runs] == [
        "curve-minutes1-steps64",
        "curve-minutes3-steps64",
        "curve-minutesall-steps64",
    ]
    assert [run.overrides["train.minutes"] for run in runs] == ["1", "3", "null"] and above == [10, 30]
    with pytest.raises(Problem, match="^MINUTES: all sizes are above the 4.5 minutes"):
        sweep.minutes_runs(NOTHING | {"minutes": "10 30"}, 4.5, 64)


# --- how it is ranked and shown ---------------------------------------------------------------------------------------


def clip(condition, stopped=1, errors=0, similarity="0.9", empty=0):
    return {
        "condition": condition, "row": "talk-0000000", "words": 10, "substitutions": errors, "deletions": 0,
        "insertions": 0, "characters": 50, "character_errors": errors * 5, "similarity": similarity, "stopped": stopped,
        "empty": empty, "duration_ratio": 1.0, "heard": "x",
    }  # fmt: skip


def vars_of(line):
    """A line as it comes out of a CSV file: all text."""
    return {key: str(value) for key, value in line.items()}


def reports(ft, clone, eval_loss=3.0):
    """A reader of the reports that a run with these clips leaves."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(clip("ft")))
    table.writeheader()
    table.writerows([clip("zero_shot", errors=9), *ft, *clone])
    figures = {"stop_rate": 1.0, "wer": 0.1, "similarity": 0.9}
    files = {
        "reports/clips.csv": text.getvalue(),
        "reports/metrics.json": json.dumps({"ft": figures, "ft_clone": figures | {"similarity": 0.95}}),
        "reports/train.json": json.dumps({"eval_loss": eval_loss, "steps": 20, "rows": 12, "minutes": 1.0}),
    }
    return files.__getitem__


def test_a_score_is_the_mean_of_both_conditions_clip_by_clip():
    perfect, unstopped = clip("ft", similarity="1.0"), clip("ft", stopped=0, similarity="1.0")
    silent = clip("ft_clone", similarity="", empty=1, errors=10)
    assert sweep.measured("x", {}, reports([perfect], [silent])).score == 0.5
    found = sweep.measured("x", {}, reports([perfect, unstopped], [silent])).by_condition
    assert 0 < found["ft"].pop("score") < 1 and found["ft_clone"]["score"] == 0
    assert sweep.clip_score(vars_of(unstopped)) < sweep.clip_score(vars_of(perfect)) == 1.0
    assert found["ft"] == {"stop_rate": 1.0, "wer": 0.1, "similarity": 0.9}


def result(rate, steps, score, loss, failed=""):
    values = {"learning_rate": rate, "steps": steps, "rank": 16}
    name = Run("grid", values).name
    if failed:
        return Result(name, values, failed=failed)
    figures = {"score": score, "stop_rate": 0.5, "wer": 0.25, "similarity": 0.8}
    return Result(name, values, score, {"ft": figures, "ft_clone": figures}, loss, steps, 12, 1.0)


@pytest.fixture
def four():
    return [
        result(0.001, 20, 0.3, 5.0),
        result(0.001, 60, 0.6, 4.0),
        result(0.002, 20, 0.3, 4.5),
        result(0.002, 60, None, None, "train: the loss is nan at step 7; lower train.learning_rate"),
    ]


COMMITTED = Result(sweep.THIS_COMMIT, {"learning_rate": 0.002, "steps": 64, "rank": 16}, 0.4, None, 4.2, 64, 60, 4.5)


def test_the_best_voice_comes_first_whatever_its_loss_and_failed_runs_last(four, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match="^1 of 4 runs failed, for the reasons in reports/sweep.csv"):
        sweep.conclude("grid", four, COMMITTED, speaks=False)
    lines = list(csv.DictReader((tmp_path / "reports/sweep.csv").open()))
    assert [line["score"] for line in lines] == ["0.6", "0.4", "0.3", "0.3", ""]
    assert [line["eval_loss"] for line in lines] == ["4.0", "4.2", "4.5", "5.0", ""]
    assert "the loss is nan" in lines[-1]["failed"]
    said = capsys.readouterr().out
    assert "dvc exp apply grid-lr0.001-steps60-rank16" in said and "cannot speak" in said
    assert "50% / 50%" in said and "0.800 / 0.800" in said


def test_a_commit_that_is_best_already_is_left_as_it_is(four, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sweep.conclude("grid", [four[0], four[2]], COMMITTED, speaks=True)
    said = capsys.readouterr().out
    assert "Nothing scored better than this commit." in said and "apply" not in said


def texts(svg):
    return [element.text for element in xml.etree.ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_figure_of_a_grid_has_a_line_for_every_other_setting(four):
    svg = sweep.draw_grid(four[:3], COMMITTED)
    assert {"learning rate", "steps 20", "steps 60", "0.001", "0.002", "Score", "Eval loss", "this commit"} <= set(
        texts(svg)
    )
    assert svg == sweep.draw_grid(four[:3][::-1], COMMITTED)
    assert svg.count("<polyline") == 4


def test_the_figure_of_the_minutes_and_their_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    figures = {"score": 0.5, "stop_rate": 0.5, "wer": 0.25, "similarity": None}
    runs = [
        Result(
            f"minutes-{size}",
            {"minutes": size, "steps": 64},
            0.5,
            {"ft": figures, "ft_clone": figures},
            4.0,
            64,
            9,
            size,
        )
        for size in (1.0, 3.0)
    ]
    sweep.conclude("minutes", runs, COMMITTED, speaks=True)
    assert {"minutes of training speech", "Word errors", "1", "3"} <= set(
        texts((tmp_path / "reports/data-curve.svg").read_text())
    )
    lines = list(csv.DictReader((tmp_path / "reports/data-curve.csv").open()))
    assert [(line["minutes"], line["rows"], line["ft_similarity"]) for line in lines] == [
        ("1.0", "9", ""),
        ("3.0", "9", ""),
    ]
    assert "apply" not in capsys.readouterr().out


def test_a_figure_survives_any_numbers_and_words():
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] and ticks(4.2, 4.9)[0] == 4.2
    assert ticks(0.0, 0.0)[0] < 0 < ticks(0.0, 0.0)[-1]
    assert widened(0.2, 0.4, 0.1, 1.0) == (0.2, 0.4) and widened(1.0, 1.0, 0.2, 1.0) == (0.8, 1.0)
    assert widened(0.01, 0.02, 0.1, 1.0) == (0.0, 0.1)
    panels = [Panel("<b>", "a & b", [Series("x", [(1.0, 2.0)])]), Panel("none", "", [])]
    assert "<b>" in texts(figure("One & only", "", panels, "x", True))


# --- git and DVC ------------------------------------------------------------------------------------------------------


def git(folder, *words):
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_experiments_need_a_commit_and_everything_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(Problem, match="^experiments are kept beside a commit, and there is none here"):
        experiments.check_committed([])
    git(tmp_path, "init", "--quiet")
    with pytest.raises(Problem, match="there is none here"):
        experiments.check_committed([])
    for name in ("params.yaml", "sweep.csv"):
        (tmp_path / name).write_text("one\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    assert len(experiments.check_committed([])) == 40
    (tmp_path / "sweep.csv").write_text("two\n")
    assert experiments.check_committed(["sweep.csv"])
    (tmp_path / "params.yaml").write_text("two\n")
    with pytest.raises(Problem, match="^params.yaml not committed; commit first"):
        experiments.check_committed(["sweep.csv"])


def test_the_reason_of_a_failed_run_is_the_stage_s_own(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("train: warning: slow\ntrain: the loss is nan at step 7\nERROR: failed to reproduce 'train'\n")
    assert experiments.reason(log) == "train: the loss is nan at step 7"
    log.write_text("Traceback\nERROR: failed to reproduce 'train'\n")
    assert experiments.reason(log) == "ERROR: failed to reproduce 'train'"


def test_a_finished_run_is_not_repeated_and_a_failed_one_stops_no_other(monkeypatch, capsys):
    runs = [Run("grid", {"learning_rate": rate, "steps": 20, "rank": 8}) for rate in (0.1, 0.2, 0.3)]
    kept, ran = {runs[0].name: "revision 1"}, []

    def carry_out(copy, name, overrides):
        ran.append((name, overrides["train.learning_rate"]))
        if name == runs[1].name:
            raise experiments.RunFailed("train: the loss is nan")
        kept[name] = "revision 3"

    monkeypatch.setattr(sweep, "finished", lambda commit: dict(kept))
    monkeypatch.setattr(sweep, "private_copy", lambda: contextlib.nullcontext(Path("copy")))
    monkeypatch.setattr(sweep, "carry_out", carry_out)
    monkeypatch.setattr(sweep, "at_revision", lambda revision, path: reports([clip("ft")], [clip("ft_clone")])(path))
    found = sweep.run_all(runs, "commit")
    assert ran == [(runs[1].name, "0.2"), (runs[2].name, "0.3")]
    assert [one.failed for one in found] == ["", "train: the loss is nan", ""] and found[2].score > 0.9
    assert "3 runs, 1 of them finished before" in capsys.readouterr().out


def test_inputs_that_git_does_not_keep_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    for name in ("bases/mine/model.bin", "data/kept.wav", "data/own.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "params.yaml").write_text("base: {path: bases/mine}\n")
    (tmp_path / "data/sources.yaml").write_text(
        "sources: {a: {path: data/kept.wav}, b: {path: data/own.wav}, c: {path: /elsewhere/x.wav}}\n"
    )
    git(tmp_path, "add", "data/kept.wav")
    assert experiments.untracked_inputs() == ["bases/mine", "data/own.wav"]


def tool(folder, *words, **variables):
    return subprocess.run(
        [sys.executable, "-m", "tools.sweep", *words],
        cwd=folder,
        env=os.environ | {"DVC_NO_ANALYTICS": "1", "SHELL": "/bin/sh", "PYTHONPATH": ""} | variables,
        capture_output=True,
        text=True,
    )


def state(folder):
    words = ["git", "status", "--porcelain", "--branch", "--untracked-files=all"]
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path):
    """A clone of this repository as last committed, with the data of its dvc.lock."""
    if not (ROOT / ".git").exists() or not (ROOT / ".dvc/cache").is_dir():
        pytest.skip("takes a git checkout after `make repro`")
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(folder))
    shutil.copytree(ROOT / ".dvc/cache", folder / ".dvc/cache")
    ready = subprocess.run([sys.executable, "-m", "dvc", "checkout", "--quiet"], cwd=folder, capture_output=True)
    ready = (
        ready.returncode or subprocess.run([sys.executable, "-m", "dvc", "status", "--quiet"], cwd=folder).returncode
    )
    if ready:
        pytest.skip("dvc.lock is not that of the last commit; run `make repro` and commit")
    return folder


@pytest.mark.slow
def test_a_sweep_leaves_the_workspace_as_it_was_and_runs_nothing_twice(clone):
    before, params = state(clone), (clone / "params.yaml").read_text()
    words = ["grid", "--learning-rate=0.001 0.003", "--steps=2", "--rank=4"]
    first = tool(clone, *words)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2 runs, 0 of them finished before" in first.stdout
    changed = [line[3:] for line in state(clone).removeprefix(before).splitlines()]
    assert changed == ["reports/sweep.csv", "reports/sweep.svg"]  # new, or those of an earlier sweep written anew
    assert (clone / "params.yaml").read_text() == params
    lines = list(csv.DictReader((clone / "reports/sweep.csv").open()))
    assert {line["name"] for line in lines} >= {"grid-lr0.001-steps2-rank4", "grid-lr0.003-steps2-rank4"}
    assert not list((clone / ".work/sweep").glob("copy-*"))

    table = (clone / "reports/sweep.csv").read_bytes()
    again = tool(clone, *words)
    assert "2 runs, 2 of them finished before" in again.stdout
    assert (clone / "reports/sweep.csv").read_bytes() == table

    subprocess.run([sys.executable, "-m", "dvc", "exp", "apply", "grid-lr0.003-steps2-rank4"], cwd=clone, check=True)
    assert "learning_rate: 0.003" in (clone / "params.yaml").read_text()
    refused = tool(clone, *words)
    assert refused.returncode == 1 and "not committed; commit first" in refused.stderr


def alive(folder):
    """Command lines of the processes that work below `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                if str((entry / "cwd").readlink()).startswith(str(folder)):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.mark.slow
def test_kill_9_leaves_the_workspace_as_it_was_and_nothing_running(clone):
    before = state(clone)
    words = [sys.executable, "-m", "tools.sweep", "grid", "--learning-rate=0.003", "--steps=500", "--rank=16"]
    process = subprocess.Popen(words, cwd=clone, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = clone / ".work/sweep/grid-lr0.003-steps500-rank16.log"
    deadline = time.time() + 120
    while time.time() < deadline and not (log.exists() and "parameters train" in log.read_text()):
        assert process.poll() is None, "the sweep ended by itself"
        time.sleep(0.2)
    process.kill()
    process.wait()
    deadline = time.time() + 15
    while alive(clone) and time.time() < deadline:
        time.sleep(0.2)
    assert alive(clone) == []
    assert state(clone) == before
