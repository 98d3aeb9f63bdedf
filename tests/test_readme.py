"""The README names what exists, and its results are the committed ones. .ci/run runs its commands."""

import re
import subprocess

import pytest
import tiny

from tools.summary import markdown

README = (tiny.ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"`?(make [a-z][\w-]*)", README)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_make_command_exists(command):
    ran = subprocess.run([*command.split(), "--dry-run"], cwd=tiny.ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_every_path_named_in_code_marks_exists_or_is_a_result():
    not_files_of_git = ("unsloth/csm-1b", "data/", "models", "reports", ".work", ".venv", "bases/my-voice", "say.wav")
    for name in re.findall(r"`([\w./-]+/[\w.-]*|[\w-]+\.(?:yaml|json|py))`", README):
        assert (tiny.ROOT / name).exists() or name.startswith(not_files_of_git) or "/" not in name, name


def test_the_file_tree_names_every_package():
    tree = README.split("```\ndvc.yaml")[1].split("```")[0]
    for path in (tiny.ROOT / "stages").iterdir():
        if path.is_dir() and any(path.glob("*.py")):
            assert f"  {path.name}/" in tree, path.name


def test_the_results_are_those_of_the_committed_run():
    assert markdown(tiny.ROOT) in README


def test_make_exports_no_name_that_torch_reads():
    """RANK="" in the environment of every recipe once stopped the training: torch takes it for a process's number."""
    exported = re.findall(r"^export (.+)$", (tiny.ROOT / "Makefile").read_text(), re.M)
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} & set(" ".join(exported).split())


@pytest.mark.parametrize("command, word", [("push-remote", "push"), ("pull", "pull")])
def test_a_remotes_place_comes_after_the_action(command, word):
    """argparse gave `push --endpoint= -- PLACE` no place: what follows -- must be all the positionals."""
    said = subprocess.run(
        ["make", "--dry-run", command, "REMOTE=/somewhere"], cwd=tiny.ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert f'-- {word} "$REMOTE"' in said
