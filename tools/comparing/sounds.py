"""Bring the clips of a revision out of DVC's cache, or from its remote, without rerunning or checking out anything.

    python -m tools.comparing.sounds COMMIT FOLDER < names.json

A process of its own: what a remote can fail with is as manifold as the remotes there are, and all of it ends here as
one line, beside the clips that did come.
"""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.comparing.revisions import WORKSPACE, Revision
from tools.comparing.runs import SOUNDS
from tools.experiments import environment

AT_ONCE = 8  # files: a remote takes its time to answer


def fetch(revision: Revision, names: Sequence[str], folder: Path) -> str:
    """Put the sounds `names` (paths within reports/listen) of `revision` into `folder`, those that can be had.

    The hash in the revision's dvc.lock says what they are, not the files that lie in the workspace. Returns why some
    are missing, in one line, or nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tools.comparing.sounds", revision.commit or WORKSPACE, str(folder.absolute())],
        input=json.dumps(list(names)),
        env=environment(),
        capture_output=True,
        text=True,
    )
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return ""
    said = [line for line in done.stderr.splitlines() if line.strip()] if done.returncode else []
    reason = f" ({said[-1].strip()[:300]})" if said else ""
    few = "all" if len(missing) == len(names) else f"{len(missing)} of {len(names)}"
    return f"{few} clips are neither in DVC's cache nor in its remote{reason}"


def main() -> None:
    """Each file whole or not at all; one that is nowhere is left out."""
    from dvc.fs.data import DataFileSystem
    from dvc.repo import Repo

    commit, folder = sys.argv[1], Path(sys.argv[2])
    with Repo(rev=None if commit == WORKSPACE else commit) as repo:
        files = DataFileSystem(index=repo.index.data["repo"])

        def bring(name: str) -> None:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                files.get_file(f"/{SOUNDS}/{name}", str(target))
            except FileNotFoundError:
                target.unlink(missing_ok=True)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            deque(pool.map(bring, json.load(sys.stdin)), maxlen=0)  # raises what a thread raised


if __name__ == "__main__":
    main()
