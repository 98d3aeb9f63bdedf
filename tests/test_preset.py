"""Presets: merged into params.yaml without losing a comment, refused with one line where they would change nothing."""

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.csm.base import BaseSettings
from stages.csm.recipe import Recipe
from stages.files.settings import read_settings
from stages.process.problem import Problem
from stages.recordings.network import FetchSettings
from stages.scoring.settings import EvaluateSettings
from stages.speech.cutting import SegmentSettings
from stages.speech.recognise import RecogniserSettings
from tools import preset

ROOT = Path(__file__).parents[1]
COMMITTED = (ROOT / "params.yaml").read_text()
GPU_PRESETS = ["t4", "h100"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the default params.yaml and all presets, and nothing else."""
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    (tmp_path / "params.yaml").write_text(COMMITTED)
    monkeypatch.chdir(tmp_path)
    preset.apply("embedded")  # whatever the checkout is set to at the moment
    return tmp_path


def values(text: str):
    return YAML(typ="safe", pure=True).load(text)


def leaves(content: dict, above: str = "") -> dict:
    """Dotted keys and values of nested mappings."""
    flat = {}
    for key, value in content.items():
        flat |= leaves(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat


def add_preset(name: str, text: str) -> None:
    Path(f"presets/{name}.yaml").write_text(text)


@pytest.mark.parametrize("name", GPU_PRESETS)
def test_a_preset_sets_its_values_and_no_others(project, name):
    before = leaves(values(Path("params.yaml").read_text()))
    wanted = leaves(values(Path(f"presets/{name}.yaml").read_text()))
    changes = preset.apply(name)
    after = leaves(values(Path("params.yaml").read_text()))
    assert after == before | wanted
    assert {change.key for change in changes} == {key for key in wanted if wanted[key] != before[key]}


@pytest.mark.parametrize("names", [["t4"], ["h100"], ["t4", "h100"], ["t4", "t4"]])
def test_embedded_restores_the_default_to_the_byte(project, names):
    before = Path("params.yaml").read_bytes()
    for name in names:
        preset.apply(name)
        assert Path("params.yaml").read_bytes() != before
    preset.apply("embedded")
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize("name", GPU_PRESETS)
def test_embedded_holds_all_that_a_preset_changes(name):
    def keys(preset_name):
        return set(leaves(values((ROOT / f"presets/{preset_name}.yaml").read_text())))

    assert keys(name) <= keys("embedded")


def test_comments_and_order_stay(project):
    before = Path("params.yaml").read_text()
    preset.apply("t4")
    after = Path("params.yaml").read_text()

    def notes(text):
        return [line.split("#", 1)[1].strip() for line in text.splitlines() if "#" in line]

    assert notes(after) == notes(before)
    assert list(leaves(values(after))) == list(leaves(values(before)))
    assert "  name: unsloth/csm-1b\n" in after and "    proxy: null  " in after


@pytest.mark.parametrize("name", ["embedded", *GPU_PRESETS])
def test_the_stages_take_every_preset(project, name):
    preset.apply(name)
    sections = {
        "base": BaseSettings,
        "fetch": FetchSettings,
        "transcribe": RecogniserSettings,
        "segment": SegmentSettings,
        "train": Recipe,
        "evaluate": EvaluateSettings,
    }
    read = {section: read_settings(settings, section) for section, settings in sections.items()}
    assert read["evaluate"].max_seconds > 1.5 * read["segment"].max_seconds or name == "embedded"
    assert read["train"].batch_size * read["train"].accumulation == 8
    assert read["transcribe"].model != read["evaluate"].model or name == "embedded"


def test_the_kinds_of_values_stay(project):
    before = leaves(values(Path("params.yaml").read_text()))
    preset.apply("t4")
    for key, value in leaves(values(Path("params.yaml").read_text())).items():
        assert type(value) is type(before[key]) or before[key] is None, key


def test_a_whole_number_for_a_float_becomes_one(project):
    add_preset("mine", "train: {epochs: 2}\n")
    assert [str(change) for change in preset.apply("mine")] == ["train.epochs: 7.0 -> 2"]
    assert "  epochs: 2.0\n" in Path("params.yaml").read_text()


def test_a_second_time_changes_nothing(project):
    assert [change.key for change in preset.apply("t4")][:3] == ["base.path", "base.name", "base.revision"]
    stamp = Path("params.yaml").stat().st_mtime_ns
    assert preset.apply("t4") == []
    assert Path("params.yaml").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {learning_rat: 0.1}", "no key train.learning_rat; did you mean train.learning_rate?"),
        ("train: {lora: {zebra: 1}}", "no key train.lora.zebra; known here are rank, alpha, rslora, dropout, targets"),
        ("trian: {epochs: 1.0}", "no key trian; did you mean train?"),
        ("train: {lora: 16}", "train.lora is a whole number, but a mapping in params.yaml"),
        ("train: {epochs: {a: 1}}", "train.epochs is a mapping, but a number in params.yaml"),
        ("base: {name: {a: 1}}", "base.name is a mapping, but null in params.yaml"),
        ("train: null", "train is null, but a mapping in params.yaml"),
        ("train: {epochs: many}", "train.epochs is text, but a number in params.yaml"),
        ("train: {batch_size: 1.5}", "train.batch_size is a number, but a whole number in params.yaml"),
        ("train: {batch_size: true}", "train.batch_size is true or false, but a whole number in params.yaml"),
        ("evaluate: {seeds: 0}", "evaluate.seeds is a whole number, but a list in params.yaml"),
        ("train: {epochs: 1.0", "presets/mine.yaml:2: not valid YAML"),
        ("train: {epochs: 1.0, epochs: 2.0}", "not valid YAML (found duplicate key"),
        ("- train", "presets/mine.yaml: is a list"),
        ("", "presets/mine.yaml: is null"),
    ],
)
def test_what_a_preset_may_not_say(project, text, message):
    before = Path("params.yaml").read_bytes()
    add_preset("mine", text + "\n")
    with pytest.raises(Problem) as caught:
        preset.apply("mine")
    assert message in str(caught.value)
    assert Path("params.yaml").read_bytes() == before


def test_a_late_mistake_leaves_the_file_as_it_was(project):
    before = Path("params.yaml").read_bytes()
    add_preset("mine", "base: {name: some/model}\ntrain: {epoch: 1.0}\n")
    with pytest.raises(Problem, match="did you mean train.epochs"):
        preset.apply("mine")
    assert Path("params.yaml").read_bytes() == before
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "presets"]  # no temporary file either


@pytest.mark.parametrize("name", ["a100", "", "../params", "presets/t4", "t4.yaml", "/etc/passwd", "t4; ls", "T4"])
def test_no_such_preset(project, name):
    with pytest.raises(Problem, match="no preset .*; there are embedded, h100, t4"):
        preset.apply(name)


def test_a_broken_params_file_is_named(project):
    Path("params.yaml").write_text("base: [\n")
    with pytest.raises(Problem, match=r"params.yaml:2: not valid YAML"):
        preset.apply("t4")


@pytest.mark.parametrize(("gpu", "warned"), [(None, True), ("a GPU", False)])
def test_a_gpu_preset_without_a_gpu_is_applied_with_a_warning(project, monkeypatch, capsys, gpu, warned):
    monkeypatch.setattr(preset, "find_gpu", lambda: gpu)
    monkeypatch.setattr("sys.argv", ["preset", "t4"])
    preset.main()
    shown = capsys.readouterr().out
    assert "train.backend: auto -> unsloth" in shown and "evaluate.seeds: [0] -> [0, 1, 2]" in shown
    assert ("warning: this preset trains with Unsloth" in shown) == warned


def test_embedded_does_not_ask_for_a_gpu(project, monkeypatch, capsys):
    monkeypatch.setattr(preset, "find_gpu", lambda: pytest.fail("asked"))
    monkeypatch.setattr("sys.argv", ["preset", "embedded"])
    preset.main()
    assert capsys.readouterr().out == "preset embedded: already applied\n"
