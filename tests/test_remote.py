"""Data and models, pushed to a remote and pulled back: a folder, and an S3 server that the test starts."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from dvc.cli import main as dvc
from moto.server import ThreadedMotoServer

from stages.process.problem import Problem
from tools import remote

ROOT = Path(__file__).parents[1]
PIPELINE = """
stages:
  train:
    cmd: mkdir -p models/merged && printf weights > models/merged/model.bin && printf row > rows.bin
    outs: [models/merged, rows.bin]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A DVC project whose one stage has run; made once, copied for every test."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        keep_to(folder.parent, patch)
        Path("dvc.yaml").write_text(PIPELINE)
        assert dvc(["init", "--no-scm", "--quiet"]) == 0
        assert dvc(["repro", "--quiet"]) == 0
    return folder


def keep_to(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Keep DVC off the user's own settings and caches."""
    patch.setenv("DVC_NO_ANALYTICS", "1")
    for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"):
        patch.setenv(name, str(folder / name))


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    keep_to(tmp_path, monkeypatch)
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def s3(monkeypatch):
    """The address of an S3 server with the bucket `voices`; the credentials are in the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    address = f"http://127.0.0.1:{port}"
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="voices")
    yield address
    server.stop()


def run_tool(*arguments: str) -> None:
    """`python -m tools.remote ...` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["remote", *arguments])
        remote.main()


def wipe(project: Path) -> None:
    """What a fresh clone has not: the outputs and DVC's cache."""
    shutil.rmtree("models")
    Path("rows.bin").unlink()
    shutil.rmtree(".dvc/cache")


def check_outputs() -> None:
    assert Path("models/merged/model.bin").read_bytes() == b"weights"
    assert Path("rows.bin").read_bytes() == b"row"


def test_there_and_back_through_a_folder(project, tmp_path):
    run_tool("push", "../store")
    assert str(tmp_path / "store") in Path(".dvc/config.local").read_text().replace("/project/..", "")
    assert "storage" not in Path(".dvc/config").read_text()  # the committed one
    wipe(project)
    run_tool("pull")  # the place is remembered
    check_outputs()


def test_there_and_back_through_s3(project, s3):
    run_tool("push", "s3://voices/ada", "--endpoint", s3)
    stored = boto3.client("s3", endpoint_url=s3).list_objects_v2(Bucket="voices", Prefix="ada/")
    assert stored["KeyCount"] >= 3  # two files and the list of a folder
    assert "testing" not in Path(".dvc/config.local").read_text()
    wipe(project)
    Path(".dvc/config.local").unlink()
    run_tool("pull", "s3://voices/ada", "--endpoint", s3)
    check_outputs()


def test_another_place_replaces_the_first_and_its_endpoint(project, tmp_path):
    remote.name_remote("s3://voices/ada", "http://127.0.0.1:9")
    remote.name_remote(str(tmp_path / "store"))
    config = Path(".dvc/config.local").read_text()
    assert "store" in config and "127.0.0.1" not in config and "s3://" not in config


def test_a_remote_that_fails_is_told(project, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    wipe(project)
    with pytest.raises(Problem, match="dvc pull did not finish, for the reasons above"):
        run_tool("pull", str(tmp_path / "empty"))
    assert "ERROR: failed to pull data from the cloud" in capfd.readouterr().err


def test_none_named_yet(project):
    with pytest.raises(Problem, match="no remote is known here yet; name one: make push-remote REMOTE="):
        run_tool("push")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", "REMOTE must be a folder or an address"),
        ("--force", "REMOTE must be a folder or an address"),
        ("a\nb", "REMOTE must be a folder or an address"),
        ("ftp://host/x", "REMOTE=ftp://...: known are a folder and s3, ssh"),
        ("s3://key:secret@bucket/x", "REMOTE holds credentials"),
        ("https://ada:secret@host/x", "REMOTE holds credentials"),
        ("s3://", "names no bucket"),
        ("azure://box/x", "DVC cannot reach azure:// here; pip install dvc-azure"),
    ],
)
def test_places_that_are_none(place, message):
    with pytest.raises(Problem) as caught:
        remote.check_place(place)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_endpoint_goes_with_s3_only():
    with pytest.raises(Problem, match="goes with REMOTE=s3://bucket/prefix only"):
        remote.name_remote("/mnt/disk", "http://127.0.0.1:9")
    with pytest.raises(Problem, match="goes with REMOTE=s3://bucket/prefix only"):
        remote.name_remote("s3://bucket/x", "127.0.0.1:9")


def test_the_command_ends_with_one_line(tmp_path):
    command = [sys.executable, "-m", "tools.remote", "pull", "/no/such"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "remote: REMOTE=/no/such: no such folder; check the path, and that the disk is mounted\n"
