"""dvc.yaml as the design: what is declared is what is used, and a change reruns exactly what it touches.

The project under test is the real one - scripts, dvc.yaml, tiny base - on one minute each of two recordings.
"""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
COPIED = [
    "dvc.yaml",
    ".dvcignore",
    "stages",
    "bases",
    "data/online",
    "data/replacements.yaml",
    "data/texts",
    "data/others",
]
SMALL = {
    "segment": {"min_seconds": 1.0, "max_seconds": 10.0, "block_seconds": 12.0},
    "train": {"max_steps": 4, "eval_steps": 2, "batch_size": 4, "learning_rate": 0.005},
    "evaluate": {"max_texts": 2, "max_seconds": 1.6, "context_seconds": 4.0, "quality": "none", "resamples": 100},
}
TAIL = ["encode", "train", "merge", "evaluate"]


def stages() -> dict:
    return YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


def body(stage: dict) -> dict:
    return stage.get("do", stage)


# --- what is declared is what is used ---------------------------------------------------------------------------------


def imported_files(script: Path) -> set[str]:
    """All files of this repository that `script` imports, itself included, by following import statements."""
    seen, todo = set(), [script]
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            paths = [ROOT / (name.replace(".", "/") + ".py") for name in names if name.split(".")[0] == "stages"]
            todo += [path for path in paths if path.is_file()]
    return {str(path.relative_to(ROOT)) for path in seen}


@pytest.mark.parametrize("name", stages())
def test_code_deps_are_the_import_closure(name):
    declared = {dep for dep in body(stages()[name])["deps"] if dep.startswith("stages/")}
    used = imported_files(ROOT / "stages" / f"{name}.py")
    # a page's template, style and script are code too
    used |= {
        str(path.relative_to(ROOT))
        for folder in {Path(file).parent for file in used}
        for path in (ROOT / folder).glob("*")
        if path.suffix in {".j2", ".css", ".js"}
    }
    assert declared == used


@pytest.mark.parametrize("name", stages())
def test_no_stage_script_is_imported(name):
    for path in [*ROOT.glob("stages/**/*.py"), *ROOT.glob("tools/*.py")]:
        assert not re.search(rf"^\s*(from|import) stages\.{name}\b", path.read_text(), re.M), path


def leaves(tree: dict, prefix: str) -> set[str]:
    return {
        leaf
        for key, value in tree.items()
        for leaf in (leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key})
    }


@pytest.mark.parametrize("name", stages())
def test_a_stage_declares_every_parameter_it_reads(name):
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    read = set()
    for node in ast.walk(ast.parse((ROOT / "stages" / f"{name}.py").read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "read_settings":
            section = node.args[1].value
            read |= leaves(params[section], f"{section}.")
    declared = {item for item in body(stages()[name]).get("params", []) if isinstance(item, str)}
    # How to reach the net says nothing about what comes back. Whichever revision encode found is in its output.
    free = {leaf for leaf in read if leaf.startswith("fetch.network.")}
    if name != "encode":
        free |= {"base.revision"}
    if name == "segment":
        free |= leaves(params["correct"], "correct.")
    assert declared - free == read - free


# --- a change reruns exactly what it touches --------------------------------------------------------------------------


class Project:
    def __init__(self, folder: Path):
        self.folder = folder

    def dvc(self, *arguments, check=True) -> str:
        ran = subprocess.run(
            ["dvc", *arguments], cwd=self.folder, env=environment(), capture_output=True, text=True, check=False
        )
        assert not check or ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
        return ran.stdout + ran.stderr

    def repro(self) -> list[str]:
        """The stages that ran (not those that were skipped or restored)."""
        return re.findall(r"^Running stage '(.+)':", self.dvc("repro"), re.M)

    def edit(self, name: str, **changes) -> None:
        """Change values of a YAML file by dotted keys."""
        yaml, path = YAML(), self.folder / name
        content = yaml.load(path.read_text())
        for dotted, value in changes.items():
            *above, last = dotted.split("__")
            target = content
            for key in above:
                target = target[key]
            if value is None:
                del target[last]
            else:
                target[last] = value
        with path.open("w") as file:
            yaml.dump(content, file)

    def append(self, name: str, text: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write(text)

    def wipe(self) -> None:
        """Remove every result, the cache and the scratch, as if nothing had ever run here."""
        for name in [f"data/{kind}" for kind in ("fetched", "transcripts", "corrected", "rows", "codes", "codec")]:
            shutil.rmtree(self.folder / name)
        for name in (".dvc/cache", ".work", "models", "reports"):
            shutil.rmtree(self.folder / name)
        (self.folder / "dvc.lock").unlink()

    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()


def environment() -> dict:
    bin_folder = str(Path(sys.executable).parent)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    return kept | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "SHELL": "/bin/sh",
        "OMP_NUM_THREADS": "1",
        "DVC_NO_ANALYTICS": "1",
    }


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Project:
    """The small project after its first `dvc repro`; shared, so it is read only."""
    folder = tmp_path_factory.mktemp("built") / "project"
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        ignore = shutil.ignore_patterns("__pycache__", ".work")
        shutil.copytree(source, target, ignore=ignore) if source.is_dir() else shutil.copy(source, target)
    yaml = YAML()
    everything = yaml.load((ROOT / "data/sources.yaml").read_text())["sources"]
    chosen = dict(list(everything.items())[:2])
    for source in chosen.values():
        source["start"], source["end"] = 0, 60
        (folder / source["path"]).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / source["path"], folder / source["path"])
    with (folder / "data/sources.yaml").open("w") as file:
        yaml.dump({"sources": chosen}, file)
    params = yaml.load((ROOT / "params.yaml").read_text())
    for section, knobs in SMALL.items():
        params[section] |= knobs
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(params, file)
    project = Project(folder)
    project.dvc("init", "--no-scm", "--quiet")
    ran = project.repro()
    assert len(ran) == 3 * len(chosen) + 1 + len(TAIL)
    return project


@pytest.fixture
def project(built, tmp_path) -> Project:
    shutil.copytree(built.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def keys(project: Project) -> list[str]:
    return list(YAML(typ="safe").load((project.folder / "data/sources.yaml").read_text())["sources"])


def test_nothing_changed_nothing_runs(project):
    assert project.repro() == []


def test_how_the_net_is_reached_reruns_nothing(project):
    project.edit("params.yaml", fetch__network__timeout=5)
    assert project.repro() == []


def test_a_rule_that_changes_no_text_reaches_the_rows_and_the_page_that_counts_it(project):
    first, second = keys(project)
    project.append("data/replacements.yaml", '\n  - {find: "zyzzyva quorum", replace: "nothing"}\n')
    assert sorted(project.repro()) == sorted([f"correct@{first}", f"correct@{second}", "segment", "evaluate"])


def test_a_declaration_of_rights_touches_no_sound_and_trains_nothing(project):
    first, _ = keys(project)
    project.edit("data/sources.yaml", **{f"sources__{first}__rights__evidence": "another letter"})
    assert project.repro() == [f"fetch@{first}", "segment", "evaluate"]


@pytest.mark.slow
def test_a_helper_reruns_the_stages_that_use_it_and_no_other(project):
    """Each comment changes a module's bytes but not what it does, so only its own stages run."""
    first, second = keys(project)
    project.append("stages/audio/silence.py", "\n# changed\n")
    assert project.repro() == ["segment"]
    project.append("stages/speech/replacements.py", "\n# changed\n")
    assert sorted(project.repro()) == sorted([f"correct@{first}", f"correct@{second}", "segment"])
    project.append("stages/csm/lora.py", "\n# changed\n")
    assert project.repro() == ["train"]
    project.append("stages/page/listen.css", "\n/* changed */\n")
    assert project.repro() == ["evaluate"]


def test_going_back_restores_from_the_run_cache(project):
    before = project.lock()
    pages = (project.folder / "reports/listen/index.html").read_bytes()
    project.edit("params.yaml", evaluate__temperature=0.5)
    assert project.repro() == ["evaluate"]
    assert project.lock() != before
    project.edit("params.yaml", evaluate__temperature=0.3)
    assert project.repro() == []
    assert project.lock() == before and (project.folder / "reports/listen/index.html").read_bytes() == pages


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, expected",
    [
        ({"merge__dtype": "bfloat16"}, ["merge", "evaluate"]),
        ({"train__learning_rate": 0.001}, ["train", "merge", "evaluate"]),
        ({"train__lora__rank": 8}, ["train", "merge", "evaluate"]),
        ({"encode__batch_seconds": 20.0}, ["encode"]),
        ({"segment__pad_after": 0.25}, ["segment", *TAIL]),
        ({"correct__strict": True}, None),
    ],
)
def test_a_parameter_reruns_its_stage_and_what_its_result_changes(project, change, expected):
    project.edit("params.yaml", **change)
    if expected is None:  # half of the recordings: some rule fires in neither, and `strict` says so
        assert "segment: " in project.dvc("repro", check=False)
        return
    assert project.repro() == expected


@pytest.mark.slow
def test_transcription_and_sources_rerun_what_follows(project):
    first, second = keys(project)
    project.edit("data/sources.yaml", **{f"sources__{first}__end": 100})
    chain = [f"fetch@{first}", f"transcribe@{first}", f"correct@{first}", "segment", *TAIL]
    assert project.repro() == chain
    project.edit("params.yaml", transcribe__beam_size=2)
    assert {f"transcribe@{first}", f"transcribe@{second}"} <= set(project.repro())
    project.edit("data/sources.yaml", **{f"sources__{second}": None})
    assert project.repro() == ["segment", *TAIL]
    assert second not in (project.folder / "reports/data.json").read_text()


@pytest.mark.slow
def test_rebuilding_from_nothing_gives_the_same_bytes(project):
    before = project.lock()
    project.wipe()
    project.repro()
    assert project.lock() == before


def running(folder: Path) -> list[int]:
    """Process ids of Python stages that work in `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "-m stages." in command and (entry / "cwd").resolve() == folder.resolve():
                found.append(int(entry.name))
        except OSError:
            continue  # it ended while we looked
    return found


def test_a_stage_whose_parent_died_during_its_imports_does_nothing(tmp_path):
    """Importing torch takes seconds; a stage orphaned in them once trained to the end, beside the next `dvc repro`."""
    stage = "import pathlib, time, stages.process.stage as stage; pathlib.Path('begun').touch(); time.sleep(1); "
    stage += "stage.run(lambda: pathlib.Path('done').touch(), 'stage')"
    starter = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    begun, where = tmp_path / "begun", environment() | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", starter, stage], cwd=tmp_path, env=where)
    deadline = time.time() + 30
    while not begun.exists() and time.time() < deadline:
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    time.sleep(2)
    assert begun.exists() and not (tmp_path / "done").exists()


@pytest.mark.slow
def test_kill_9_in_every_stage_leaves_no_orphan_and_ends_the_same(project):
    before = project.lock()
    project.wipe()
    first, _ = keys(project)
    for stage in [f"fetch@{first}", f"transcribe@{first}", f"correct@{first}", "segment", *TAIL]:
        process = subprocess.Popen(
            ["dvc", "repro"], cwd=project.folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        for line in process.stdout:
            if line.startswith(f"Running stage '{stage}'"):
                break
        deadline = time.time() + 60
        while not running(project.folder) and time.time() < deadline:
            time.sleep(0.02)
        time.sleep(1.5)  # into the imports or the work itself
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.time() + 20
        while running(project.folder) and time.time() < deadline:
            time.sleep(0.1)
        assert running(project.folder) == [], f"{stage} went on without its parent"
    project.repro()
    assert project.lock() == before
    assert not [path for path in project.folder.rglob(".*-*") if ".dvc" not in path.parts and ".work" not in path.parts]


def test_a_key_with_shell_characters_reaches_no_shell(project):
    """DVC hands `cmd` to a shell as it is, so dvc.yaml must not write keys into it."""
    first, _ = keys(project)
    text = (project.folder / "data/sources.yaml").read_text()
    (project.folder / "data/sources.yaml").write_text(text.replace(f"{first}:", '"x;touch pwned;":'))
    said = project.dvc("repro", check=False)
    assert "fetch/x;touch pwned;: data/sources.yaml" in said
    assert not list(project.folder.rglob("pwned*"))
