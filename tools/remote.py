"""Push data and models to a place you name, and pull them from there, with DVC.

    python -m tools.remote push /mnt/disk/voices
    python -m tools.remote pull s3://bucket/prefix --endpoint https://s3.example.org

The place is written to .dvc/config.local as the default remote `storage`, so that it is named once and never committed.
Credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or from where the provider's own tools
keep them. What git holds (code, reports, dvc.lock) is pushed by git.
"""

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from stages.process.problem import Problem
from stages.process.stage import run

NAME = "storage"
COMMANDS = {"push": "push-remote", "pull": "pull"}  # the Makefile's names
PACKAGES = {
    "s3": "dvc_s3",
    "ssh": "dvc_ssh",
    "gs": "dvc_gs",
    "azure": "dvc_azure",
    "http": "dvc_http",
    "https": "dvc_http",
}


def dvc(*arguments: str) -> str:
    """Run a short DVC command and return what it prints. Raises Problem with DVC's own message when it fails."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["failed"]
        raise Problem(f"dvc {arguments[0]}: {lines[0].removeprefix('ERROR: ')}")
    return done.stdout.strip()


def check_place(place: str) -> str:
    """The place as DVC wants it: a full path, or an address whose scheme this installation can serve."""
    if not place or place.startswith("-") or not place.isprintable():
        raise Problem(
            "REMOTE must be a folder or an address: make push-remote REMOTE=/mnt/disk/voices (or s3://bucket/x)"
        )
    if "://" not in place:
        return str(Path(place).expanduser().absolute())
    parts = urlsplit(place)
    if parts.scheme not in PACKAGES:
        raise Problem(f"REMOTE={parts.scheme}://...: known are a folder and {', '.join(PACKAGES)}")
    if parts.password or (parts.username and parts.scheme != "ssh"):
        raise Problem("REMOTE holds credentials, which DVC would write to a file; give them in the environment")
    if not parts.netloc:
        raise Problem(f"REMOTE={place} names no {'bucket' if parts.scheme in ('s3', 'gs') else 'host'}")
    if find_spec(PACKAGES[parts.scheme]) is None:
        raise Problem(
            f"DVC cannot reach {parts.scheme}:// here; pip install {PACKAGES[parts.scheme].replace('_', '-')}"
        )
    return place


def name_remote(place: str, endpoint: str | None = None) -> None:
    """Make `place` this checkout's default remote. `endpoint` is the address of an S3 server that is not Amazon's."""
    place = check_place(place)
    if endpoint and (not place.startswith("s3://") or urlsplit(endpoint).scheme not in ("http", "https")):
        raise Problem("ENDPOINT is the http(s) address of an S3 server and goes with REMOTE=s3://bucket/prefix only")
    dvc("remote", "add", "--local", "--force", "--default", NAME, place)
    if endpoint:
        dvc("remote", "modify", "--local", NAME, "endpointurl", endpoint)


def check_default(action: str) -> None:
    """Raise Problem unless a remote has been named before."""
    try:
        dvc("remote", "default")
    except Problem:
        remedy = f"name one: make {COMMANDS[action]} REMOTE=/mnt/disk/voices (or s3://bucket/prefix)"
        raise Problem(f"no remote is known here yet; {remedy}") from None


def transfer(action: str) -> None:
    """`push` or `pull` everything that dvc.lock names. DVC shows its progress, and its reasons when it fails."""
    if subprocess.run([sys.executable, "-m", "dvc", action]).returncode:
        raise Problem(f"dvc {action} did not finish, for the reasons above; mend them and run it again: it goes on")


def main() -> None:
    parser = argparse.ArgumentParser(description="Push to, or pull from, a DVC remote.")
    parser.add_argument("action", choices=("push", "pull"))
    parser.add_argument("place", nargs="?", default="", help="a folder or an address; the last one when left out")
    parser.add_argument("--endpoint", default="", help="address of an S3 server that is not Amazon's")
    asked = parser.parse_args()
    if not asked.place:
        check_default(asked.action)
    elif asked.action == "pull" and "://" not in asked.place and not Path(asked.place).expanduser().is_dir():
        raise Problem(f"REMOTE={asked.place}: no such folder; check the path, and that the disk is mounted")
    else:
        name_remote(asked.place, asked.endpoint or None)
    transfer(asked.action)


if __name__ == "__main__":
    run(main, "remote")
