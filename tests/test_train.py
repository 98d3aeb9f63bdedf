"""The stages train and merge, run as a user's `dvc repro` runs them: in a process of their own, killed and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny
from ruamel.yaml import YAML

from stages.csm.base import load_csm


def write_params(folder, **sections):
    """The default params.yaml with `sections` changed, few and small updates, and the random base by its full path."""
    params = YAML(typ="safe").load((tiny.ROOT / "params.yaml").read_text())
    params["base"]["path"] = str(tiny.BASE)
    params["train"] |= {"batch_size": 4, "max_steps": 12, "eval_steps": 4, "learning_rate": 0.002, "checkpoint": "loss"}
    params["train"]["listen"] |= {"texts": 2, "max_seconds": 0.8}
    params["merge"]["dtype"] = "bfloat16"  # as the random base is kept
    for section, knobs in sections.items():
        params[section] |= knobs
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(params, file)


def listening(texts):
    params = YAML(typ="safe").load((tiny.ROOT / "params.yaml").read_text())
    return params["train"]["listen"] | {"texts": texts, "max_seconds": 0.8}


@pytest.fixture
def project(tmp_path):
    """project(train={...}) -> a folder with params.yaml changed so, data/codes, and sound to listen for."""
    tiny.write_codes(tmp_path / "data" / "codes")
    tiny.write_sound(tmp_path / "data" / "rows")

    def make(**sections):
        write_params(tmp_path, **sections)
        return tmp_path

    return make


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project after the train stage; shared, so it is read only."""
    folder = tmp_path_factory.mktemp("trained")
    tiny.write_codes(folder / "data" / "codes")
    tiny.write_sound(folder / "data" / "rows")
    write_params(folder)
    ran = run("train", folder)
    assert ran.returncode == 0, ran.stderr
    return folder


def command(stage):
    return [sys.executable, "-m", f"stages.{stage}"]


def environment():
    return os.environ | {"PYTHONPATH": str(tiny.ROOT), "OMP_NUM_THREADS": "1"}


def run(stage, folder):
    return subprocess.run(command(stage), cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def results(folder):
    names = ["models/adapter/adapter_model.safetensors", "reports/train.csv", "reports/eval.csv", "reports/train.json"]
    said = sorted(path.relative_to(folder) for path in folder.glob("reports/growth/**/*") if path.is_file())
    assert len(said) == 1 + 4 * 2  # the listing; two sentences at steps 0, 4, 8, 12
    return {str(name): (folder / name).read_bytes() for name in [*names, *said]}


def test_a_killed_training_resumes_and_ends_the_same(project, trained):
    folder = project()
    process = subprocess.Popen(
        command("train"), cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list(folder.glob(".work/train/*/checkpoint-4/whole")):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    scratch = next((folder / ".work" / "train").iterdir())
    for later in ("checkpoint-8", "checkpoint-12"):  # as if the kill came in the middle of the next checkpoint
        (scratch / later).mkdir(exist_ok=True)
        (scratch / later / "whole").unlink(missing_ok=True)
    resumed = run("train", folder)
    assert resumed.returncode == 0, resumed.stderr
    assert "'epoch': '0.3333'" not in resumed.stdout  # the first update was not done again
    assert results(folder) == results(trained)


def test_loss_falls_and_the_report_says_so(trained):
    report = json.loads((trained / "reports" / "train.json").read_text())
    assert report["eval_loss"] < report["eval_loss_before"]
    lines = (trained / "reports" / "train.csv").read_text().splitlines()
    assert lines[0] == "step,epoch,loss,codebook0_loss,acoustic_loss,grad_norm,learning_rate"
    assert len(lines) == 1 + report["steps"] == 13
    lines = (trained / "reports" / "eval.csv").read_text().splitlines()
    assert lines[0] == (
        "step,epoch,eval_loss,eval_codebook0_loss,eval_acoustic_loss,"
        "eval_score,eval_stop_rate,eval_wer,eval_cer,eval_similarity,eval_duration_ratio"
    )
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "4", "8", "12"]
    assert all(0 < float(line.split(",")[5]) < 0.5 for line in lines[1:])  # the random base cannot speak, and is scored


@pytest.mark.slow
def test_a_training_killed_before_its_outputs_only_writes_them(project):
    """In the middle of an epoch (its 3 updates are one), where the Trainer by itself would make one update more."""
    folder = project(train={"max_steps": 5, "eval_steps": 2, "listen": listening(0)})
    assert run("train", folder).returncode == 0
    names = ["models/adapter/adapter_model.safetensors", "reports/train.csv", "reports/eval.csv", "reports/train.json"]
    before = [(folder / name).read_bytes() for name in names]
    shutil.rmtree(folder / "models")
    shutil.rmtree(folder / "reports")
    again = run("train", folder)
    assert again.returncode == 0, again.stderr
    assert "'loss'" not in again.stdout
    assert [(folder / name).read_bytes() for name in names] == before
    assert b"eval_score" not in before[2]  # nothing was listened to
    assert [path.name for path in (folder / "reports" / "growth").iterdir()] == ["growth.json"]


def test_merge_writes_the_trained_model_in_16_bit(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "merge")
    merged = run("merge", folder)
    assert merged.returncode == 0, merged.stderr
    report = json.loads((folder / "reports" / "merge.json").read_text())
    assert report["logits_difference"] < 1e-4 < report["logits_moved_by_training"]
    assert report["same_choice_on_disk"] > 0.95
    config = json.loads((folder / "models" / "merged" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    load_csm(folder / "models" / "merged")


def test_merge_refuses_a_model_that_differs_and_writes_nothing(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "merge")
    write_params(folder, merge={"rounding_tolerance": 0.0})
    merged = run("merge", folder)
    assert merged.returncode == 1
    assert merged.stderr.strip().splitlines()[-1].startswith("merge: the merged model is not the trained one")
    assert not (folder / "models" / "merged").exists() and not (folder / "reports" / "merge.json").exists()


def test_unsloth_without_a_gpu_is_one_line(project):
    refused = run("train", project(train={"backend": "unsloth"}))
    assert refused.returncode == 1
    assert refused.stderr.startswith("train: train.backend is unsloth, but this machine has no GPU")
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "knobs, line",
    [
        ({"learning_rat": 0.1}, "params.yaml: train.learning_rat: unknown key"),
        ({"batch_size": "many"}, "params.yaml: train.batch_size: Input should be a valid integer, not 'many'"),
        ({"batch_size": 0}, "params.yaml: train.batch_size: Input should be greater than or equal to 1, not 0"),
        ({"schedule": "wavy"}, "params.yaml: train.schedule: Input should be"),
    ],
)
def test_a_wrong_knob_is_one_line(project, knobs, line):
    refused = run("train", project(train=knobs))
    assert refused.returncode == 1 and len(refused.stderr.strip().splitlines()) == 1
    assert line in refused.stderr


def curve(folder, name):
    return [line.split(",") for line in (folder / "reports" / f"{name}.csv").read_text().splitlines()[1:]]


def test_two_processes_train_like_one(project, trained):
    """Two times two rows a step, as one process sums them: loss and gradient norm agree to 5 decimals."""
    folder = project(train={"batch_size": 2, "processes": 2, "max_steps": 6, "eval_steps": 3})
    ran = run("train", folder)
    assert ran.returncode == 0, ran.stderr
    two = curve(folder, "train")
    assert len(list((folder / "reports" / "growth").glob("*/*.mp3"))) == 3 * 2  # one of them listens
    deaf = {"listen": listening(0)}
    write_params(folder, train=deaf | {"batch_size": 2, "accumulation": 2, "max_steps": 6, "eval_steps": 3})
    assert run("train", folder).returncode == 0
    one = curve(folder, "train")
    for ours, theirs in zip(one, two, strict=True):
        assert [float(ours[place]) for place in (2, 5)] == pytest.approx(
            [float(theirs[place]) for place in (2, 5)], abs=1e-5
        )


def test_a_problem_in_a_process_is_one_line_of_the_stage(project):
    folder = project(train={"processes": 2})
    tiny.write_codes(folder / "data" / "codes", train=1)
    refused = run("train", folder)
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1] == (
        "train: 1 training rows cannot feed 2 processes; lower train.processes"
    )


@pytest.mark.slow
def test_full_training_merges_like_an_adapter(project):
    folder = project(train={"method": "full", "learning_rate": 0.0005, "listen": listening(0)})
    ran = run("train", folder)
    assert ran.returncode == 0, ran.stderr
    report = json.loads((folder / "reports" / "train.json").read_text())
    assert report["trainable_share"] > 0.3 and report["eval_loss"] < report["eval_loss_before"]
    merged = run("merge", folder)
    assert merged.returncode == 0, merged.stderr
    before, after = tiny.model().codec_model, load_csm(folder / "models" / "merged").codec_model
    assert all((a == b).all() for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_an_adapter_of_another_base_is_refused(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "merge")
    record = folder / "models" / "adapter" / "adapter_config.json"
    record.write_text(record.read_text().replace(str(tiny.BASE), "bases/other"))
    refused = run("merge", folder)
    assert refused.returncode == 1
    assert "is an adapter of bases/other, but base names" in refused.stderr.strip().splitlines()[-1]


def test_other_parameters_never_resume_an_earlier_checkpoint(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "other")
    write_params(folder, train={"learning_rate": 0.001, "max_steps": 2, "listen": listening(0)})
    ran = run("train", folder)
    assert ran.returncode == 0, ran.stderr
    assert [line[0] for line in curve(folder, "train")] == ["1", "2"]
    assert len(list((folder / ".work" / "train").iterdir())) == 2
