"""Two revisions of a repository compared: figures from git, sounds from DVC's cache or remote, both on one page."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from browser import browse, needs_chromium
from compared import ENGINES, as_csv, voice
from dvc.cli import main as dvc

from stages.audio.mp3 import mp3_bytes
from stages.process.problem import Problem
from tools import compare
from tools.comparing.revisions import resolve
from tools.comparing.sounds import fetch

PAGE = Path("reports/compare/index.html")
HOSTILE = '<script>alert(1)</script> & "quoted" words'


def git(*words):
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def tone(hertz):
    return mp3_bytes((0.3 * np.sin(2 * np.pi * hertz * np.arange(12_000) / 24_000)).astype(np.float32))


def measured(clips, hertz, **params):
    """The files of a run, as evaluate leaves them; every clip sounds `hertz` high. Committed to DVC's cache."""
    Path("params.yaml").write_text(
        json.dumps({"train": {"seed": 0, "rank": 8}, "evaluate": {"seeds": [0, 1]}} | params)
    )
    Path("data").mkdir(exist_ok=True)
    Path("data/sources.yaml").write_text("sources: {talk: {path: talk.ogg, speaker: 0}}\n")
    shutil.rmtree("reports/listen", ignore_errors=True)
    for one in clips:
        if not one["empty"]:
            take = "" if one["seed"] == "" else f"-{one['seed']}"
            path = Path(f"reports/listen/audio/{one['condition']}/{one['row']}{take}.mp3")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tone(hertz))
    Path("reports/clips.csv").write_text(as_csv(clips))
    figures = {"wer": 0.4, "wer_low": 0.3, "wer_high": 0.5, "similarity": 0.7, "clips": 16}
    Path("reports/metrics.json").write_text(json.dumps({"ft": figures, "engines": ENGINES, "evaluator_sound": True}))
    assert dvc(["commit", "--force", "--quiet"]) == 0


PIPELINE = """
stages:
  evaluate:
    cmd: "true"
    params: [train.rank]
    outs: [reports/listen]
    metrics: [{reports/metrics.json: {cache: false}}]
    plots: [{reports/clips.csv: {cache: false}}]
"""


def keep_to(folder, patch):
    """Keep DVC and git off the user's own settings and caches."""
    patch.setenv("DVC_NO_ANALYTICS", "1")
    for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"):
        patch.setenv(name, str(folder / name))
    patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        patch.setenv(f"{name}_NAME", "Ada")
        patch.setenv(f"{name}_EMAIL", "ada@example.org")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A repository with two runs committed: `first`, and HEAD, whose tuned voice is better. Made once."""
    folder = tmp_path_factory.mktemp("built") / "project"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        keep_to(folder.parent, patch)
        git("init", "--quiet", "--initial-branch=main")
        assert dvc(["init", "--quiet"]) == 0
        Path("dvc.yaml").write_text(PIPELINE)
        Path(".gitignore").write_text("/reports/listen\n/reports/compare\n/.work\n__pycache__\n")
        for name, errors, hertz, rank in (("first", 4, 220, 8), ("better", 1, 330, 16)):
            measured(voice(errors), hertz, train={"seed": 0, "rank": rank})
            git("add", "--all")
            git("commit", "--quiet", "-m", f"The {name} <b>voice</b>")
            git("tag", name)
    return folder


@pytest.fixture
def project(built, tmp_path, monkeypatch):
    keep_to(tmp_path, monkeypatch)
    shutil.copytree(built, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent.parent))
    return tmp_path / "project"


def compared(capsys, a="", b=""):
    """What `python -m tools.compare` prints, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["compare", f"--a={a}", f"--b={b}"])
        compare.main()
    return capsys.readouterr().out


def test_two_commits_side_by_side(project, capsys):
    shown = compared(capsys, "first", "HEAD")
    assert re.search(r"^train\.rank +8 +16$", shown, re.MULTILINE) and "note:" not in shown
    assert re.search(r"^ft +wer +40.0 % +10.0 % +-30.0 % .* B is better$", shown, re.MULTILINE)
    page = PAGE.read_text()
    assert "The better &lt;b&gt;voice&lt;/b&gt;" in page and "<b>voice" not in page
    assert "0.4 [0.3 – 0.5]" in page
    sounds = {path.relative_to(PAGE.parent).as_posix(): path.read_bytes() for path in PAGE.parent.rglob("*.mp3")}
    assert len(sounds) == 2 * 40
    assert sounds["a/audio/ft/talk-0000003-1.mp3"] == tone(220) and sounds["b/audio/ft/talk-0000003-1.mp3"] == tone(330)
    assert all(f'src="{name}"' in page for name in sounds)
    assert git("status", "--porcelain") == ""


def test_left_out_are_the_last_commit_and_the_workspace(project, capsys):
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("16", "32"))
    shown = compared(capsys)
    assert shown.startswith("A: HEAD (") and "\nB: workspace\n" in shown
    assert "note: B's figures are from before train.rank changed: run `make repro` there" in shown


def test_what_lies_in_the_workspace_is_not_taken_for_what_was_measured(project, capsys):
    git("checkout", "--quiet", "first")  # without dvc checkout: reports/listen is still that of `better`
    compared(capsys, "better", "")
    assert (PAGE.parent / "b/audio/ft/talk-0000000-0.mp3").read_bytes() == tone(220)
    Path("reports/clips.csv").write_text(as_csv(voice(2)))
    assert "note: B's reports/clips.csv is not the one its dvc.lock names" in compared(capsys, "better", "")
    assert not (PAGE.parent / "b").exists()


def test_sounds_that_left_the_cache_come_from_the_remote(project, capsys, tmp_path):
    assert dvc(["remote", "add", "--local", "--default", "storage", str(tmp_path / "remote"), "--quiet"]) == 0
    assert dvc(["push", "--all-commits", "--quiet"]) == 0
    shutil.rmtree(".dvc/cache")
    assert "neither in" not in compared(capsys, "first", "better")
    assert len(list(PAGE.parent.rglob("*.mp3"))) == 80
    lost = hashlib.md5(tone(220)).hexdigest()
    (tmp_path / f"remote/files/md5/{lost[:2]}/{lost[2:]}").unlink()
    assert "note: A: all clips are neither in DVC's cache nor in its remote." in compared(capsys, "first", "better")


def test_sounds_that_are_nowhere_leave_the_figures(project, capsys):
    shutil.rmtree(".dvc/cache")
    shown = compared(capsys, "first", "better")
    assert "B is better" in shown and shown.count("clips are neither in DVC's cache nor in its remote") == 2
    assert "not here" in PAGE.read_text() and not list(PAGE.parent.rglob("*.mp3"))


def test_a_remote_that_fails_is_one_line(project, tmp_path):
    assert dvc(["remote", "add", "--local", "--default", "storage", "gs://nowhere/at-all", "--quiet"]) == 0
    shutil.rmtree(".dvc/cache")
    said = fetch(resolve("first", "A"), ["audio/ft/talk-0000000-0.mp3"], tmp_path / "out")
    assert said.startswith("all clips are neither in DVC's cache nor in its remote") and "\n" not in said


def test_an_experiment_is_called_by_its_name(project):
    head, other = git("rev-parse", "HEAD"), git("rev-parse", "first")
    git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/slow-start", other)
    assert resolve("slow-start", "A").label == f"slow-start ({other[:7]})"
    git("update-ref", f"refs/exps/{other[:2]}/{other[2:]}/slow-start", head)
    assert resolve("slow-start", "A").commit == other  # that of the last commit
    git("commit", "--quiet", "--allow-empty", "-m", "on")
    with pytest.raises(Problem, match="A=slow-start: 2 experiments are called that; give the commit"):
        resolve("slow-start", "A")


@pytest.mark.parametrize(
    "asked", ["nonsense", "-n", "--output=x", "$(touch pwned)", "a b", "HEAD:params.yaml", "\n", "x" * 999]
)
def test_what_is_no_revision(project, asked):
    with pytest.raises(Problem, match=r"^A=") as raised:
        resolve(asked, "A")
    assert len(str(raised.value)) < 500 and not Path("pwned").exists()


def test_without_git_there_is_nothing_to_compare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(Problem, match="only what git keeps can be compared, and here: not a git repository"):
        resolve("HEAD", "A")


def test_a_revision_from_before_there_were_clips(project, capsys):
    git("rm", "--quiet", "--cached", "reports/clips.csv")
    git("commit", "--quiet", "-m", "before clips")
    shown = compared(capsys, "HEAD", "better")
    assert "note: A has no reports/clips.csv: only the figures of whole conditions are compared, untested." in shown
    assert "0.4 [0.3 – 0.5]" in PAGE.read_text()
    git("rm", "--quiet", "-r", "--cached", "reports", "dvc.lock")
    git("commit", "--quiet", "-m", "before everything")
    assert "note: A has no reports/metrics.json: nothing had been measured there." in compared(capsys, "HEAD", "better")


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("params.yaml", b"train: {", "params.yaml of workspace: not valid YAML"),
        ("params.yaml", b"\xff\xfe", "params.yaml of workspace: is not text in UTF-8"),
        ("params.yaml", b"", "B=workspace: has no params.yaml"),
        ("reports/metrics.json", b"<<<<<<< HEAD", "reports/metrics.json of workspace: not valid JSON"),
        ("reports/clips.csv", b"a,b\n1,2\n", "reports/clips.csv of workspace: has no column condition"),
    ],
)
def test_broken_files_are_one_line(project, capsys, path, content, said):
    Path(path).write_bytes(content)
    with pytest.raises(Problem, match=said):
        compared(capsys, "HEAD", "workspace")


@needs_chromium
def test_the_page_in_a_browser(project, capsys, tmp_path):
    measured([one | {"text": HOSTILE} if one["row"] == "talk-0000000" else one for one in voice(4)], 220)
    git("commit", "--quiet", "--all", "-m", "hostile")
    measured([one | {"text": HOSTILE} if one["row"] == "talk-0000000" else one for one in voice(1)], 330)
    compared(capsys)

    async def visit(tab):
        await tab.loaded()
        focused = "document.activeElement.getAttribute('src')"
        await tab.ask("document.querySelector('audio').focus()")
        await tab.press(" ")
        await tab.until("!document.activeElement.paused && document.activeElement.currentTime > 0")
        await tab.press("b")
        assert (await tab.ask(focused)).startswith("b/audio/gt/")
        await tab.until("!document.activeElement.paused")
        assert await tab.ask("[...document.querySelectorAll('audio')].filter((one) => !one.paused).length") == 1
        await tab.press("ArrowDown")
        assert (await tab.ask(focused)).startswith("b/audio/zero_shot/")
        await tab.press("ArrowLeft")
        assert (await tab.ask(focused)).startswith("a/audio/zero_shot/")
        await tab.click("[name=condition][value=ft]")
        assert await tab.ask("document.querySelector('[data-condition=ft]').hidden")
        await tab.click("[name=words]")
        await tab.write("sentence 3")
        assert await tab.ask("document.querySelector('.cmp-count').textContent") == "1 of 8 sentences"
        await tab.resize(380, mobile=True)
        assert await tab.ask("document.documentElement.scrollWidth") <= 380
        names = (
            "[...document.querySelectorAll('audio, input, select')].every((one) => one.ariaLabel || one.labels?.length)"
        )
        assert await tab.ask(names)
        assert tab.complaints == []

    browse(tmp_path / "profile", PAGE.resolve().as_uri(), visit)
