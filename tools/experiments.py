"""Run experiments with DVC in a private copy of the repository, and bring them home as experiments of the last commit.

`dvc exp run` prepares an experiment in the workspace itself, also with --temp: it rewrites params.yaml, moves HEAD and
puts both back with a hard reset. Killed in between, it leaves the workspace changed and uncommitted work in a stash. So
the experiments run in a clone under .work, which shares DVC's cache and the scratch of the stages; a finished one is
pushed back (`dvc exp push`), and the workspace only gains a reference. Edit and commit meanwhile as you like.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.files.settings import read_yaml
from stages.process.problem import Problem
from stages.process.stage import die_with_parent, work_folder


class RunFailed(Problem):
    """One experiment failed; the others can go on."""


def environment() -> dict[str, str]:
    """For DVC: the stages' `python` is this one, and no variable of an outer DVC run is inherited."""
    kept = {key: value for key, value in os.environ.items() if key not in ("DVC_ROOT", "DVC_STAGE")}
    # bash puts the stage in its own place; below another shell a stage would not notice that DVC was killed.
    shell = shutil.which("bash") or "/bin/sh"
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}", "SHELL": shell}


def command(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess:
    """Run a short command without a shell, its output captured."""
    try:
        return subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True)
    except FileNotFoundError:
        raise Problem(f"experiments need {words[0]}, which is not installed here") from None


def git(*words: str, folder: Path | None = None) -> str:
    done = command("git", *words, folder=folder)
    if done.returncode:
        raise Problem(f"git {words[0]}: {(done.stderr or done.stdout).strip() or 'failed'}")
    return done.stdout


def dvc(*words: str, folder: Path | None = None) -> str:
    done = command(sys.executable, "-m", "dvc", *words, folder=folder)
    if done.returncode:
        lines = [text for text in (done.stderr or done.stdout).splitlines() if text.strip()] or ["failed"]
        raise Problem(f"dvc {' '.join(words[:2])}: {lines[0].removeprefix('ERROR: ')}")
    return done.stdout


def check_committed(products: Sequence[str]) -> str:
    """Return the last commit. Raises Problem without one, or when tracked files other than `products` differ from it:
    an experiment runs what is committed."""
    top = command("git", "rev-parse", "--show-toplevel")
    head = command("git", "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if top.returncode or head.returncode or Path(top.stdout.strip()) != Path.cwd().resolve():
        raise Problem("experiments are kept beside a commit, and there is none here: git init, git add ., git commit")
    lines = git("status", "--porcelain", "--untracked-files=no").splitlines()
    changed = [path for path in (text[3:] for text in lines) if path not in products]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise Problem(f"{', '.join(changed[:3])}{more} not committed; commit first: experiments run the last commit")
    return head.stdout.strip()


def finished(commit: str) -> dict[str, str]:
    """Name -> revision of every experiment that is kept beside `commit`."""
    found = {}
    for entry in json.loads(dvc("exp", "show", "--rev", commit, "--json", "--no-pager")):
        if entry["rev"] == commit:
            for experiment in entry["experiments"] or []:
                if experiment["revs"]:
                    found[experiment["name"]] = experiment["revs"][0]["rev"]
    return found


def at_revision(revision: str, path: str) -> str:
    """The text of a file that git keeps, as it was at `revision`."""
    return git("show", f"{revision}:{path}")


def untracked_inputs() -> list[str]:
    """Bases and recordings inside the project that git does not keep: a clone lacks them."""
    sources = read_yaml("data/sources.yaml")["sources"]
    named = [read_yaml("params.yaml")["base"]["path"], *(source["path"] for source in sources.values())]
    inside = [Path(name) for name in named if not Path(name).is_absolute() and ".." not in Path(name).parts]
    return [str(path) for path in inside if path.exists() and not git("ls-files", "--", str(path)).strip()]


@contextmanager
def private_copy() -> Iterator[Path]:
    """A clone of the last commit with its data, removed afterwards; what a killed run left is removed before.

    Raises Problem when the commit's data is not in the cache, or its dvc.lock is not of its code and parameters.
    """
    above = work_folder() / "sweep"
    above.mkdir(parents=True, exist_ok=True)
    for stale in above.glob("copy-*"):
        shutil.rmtree(stale, ignore_errors=True)
    copy = Path(tempfile.mkdtemp(prefix="copy-", dir=above)).absolute()
    try:
        git("clone", "--quiet", str(Path.cwd()), str(copy))
        for key in ("user.name", "user.email"):
            if value := command("git", "config", key).stdout.strip():
                git("config", key, value, folder=copy)
        links = [".work", *untracked_inputs()]
        for name in links:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).symlink_to(Path(name).absolute())
        with (copy / ".git/info/exclude").open("a") as exclude:
            exclude.writelines(f"/{name}\n" for name in links)
        local = Path(".dvc/config.local")
        if local.is_file():
            shutil.copy(local, copy / local)
        dvc("config", "--local", "cache.dir", dvc("cache", "dir").strip(), folder=copy)
        if command(sys.executable, "-m", "dvc", "checkout", "--quiet", folder=copy).returncode:
            raise Problem("data of the last commit is not here; run `make repro` or `make pull` first")
        if command(sys.executable, "-m", "dvc", "status", "--quiet", folder=copy).returncode:
            raise Problem("the committed dvc.lock is not that of the committed code; run `make repro` and commit first")
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def reason(log: Path) -> str:
    """Why a run failed, in one line: the stage's own message, else DVC's, else where to look."""
    lines = log.read_text(errors="replace").splitlines()
    for pattern in (r"(fetch|transcribe|correct|segment|encode|train|merge|evaluate)\S*: (?!warning).+", r"ERROR: .+"):
        if said := [text for text in lines if re.fullmatch(pattern, text)]:
            return said[-1]
    return f"no reason given; see {log}"


def carry_out(copy: Path, name: str, overrides: Mapping[str, str]) -> None:
    """Run the experiment `name` in `copy` with parameters (dotted key -> YAML value) and bring it home.

    Its output goes to .work/sweep/<name>.log. Raises RunFailed. When this process ends, so does the run.
    """
    git("reset", "--quiet", "--hard", folder=copy)
    log = work_folder() / "sweep" / f"{name}.log"
    settings = [word for key, value in overrides.items() for word in ("-S", f"{key}={value}")]
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "exp", "run", "--name", name, *settings],
            cwd=copy,
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    if process.returncode:
        raise RunFailed(reason(log))
    dvc("exp", "push", "--no-cache", "origin", name, folder=copy)
