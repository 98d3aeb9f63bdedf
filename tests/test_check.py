"""What is checked before DVC looks: DVC ignores a key that no stage names."""

import shutil

import pytest
import tiny

from stages.process.problem import Problem
from tools.check import check_params, declared, leaves, main


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("params.yaml", "dvc.yaml", "data/sources.yaml", "data/replacements.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(tiny.ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_committed_files_pass(project):
    main()


@pytest.mark.parametrize(
    "old, new, line",
    [
        ("learning_rate:", "learning_rat:", "train.learning_rat is a parameter of no stage; did you mean train.lear"),
        ("  schedule: cosine ", "  schedules: {a: 1} #", "train.schedules.a is a parameter of no stage"),
        ("train:\n", "train: [\n", r"params.yaml:\d+: not valid YAML"),
    ],
)
def test_a_slip_in_params_is_one_line(project, old, new, line):
    text = (project / "params.yaml").read_text()
    assert old in text
    (project / "params.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(Problem, match=line):
        main()


def test_a_missing_parameter_is_named():
    with pytest.raises(Problem, match="train.seed is missing"):
        check_params({"train": {"dtype": "auto"}}, {"train.dtype", "train.seed"})


def test_an_unsafe_key_is_refused_before_dvc_sees_it(project):
    path = project / "data" / "sources.yaml"
    path.write_text(path.read_text().replace("  monday:", "  ../monday:"))
    with pytest.raises(Problem, match="data/sources.yaml"):
        main()


def test_leaves_and_declarations():
    assert leaves({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == ["a.b", "a.c.d", "e"]
    stages = {"one": {"params": ["a.b", {"data/x.yaml": ["y"]}]}, "two": {"do": {"params": ["e"]}}}
    assert declared({"stages": stages}) == {"a.b", "e"}
