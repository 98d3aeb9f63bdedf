"""The frame every stage and tool runs in: errors as one line, no orphans, one run at a time.

Import this module before torch: it fixes the number of threads of the numeric libraries.
"""

import ctypes
import errno
import fcntl
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

# One thread: tiny models run several times faster than with spin-waiting thread pools, and sums keep their order,
# so that results have the same bytes on every machine. A GPU does not care. Set the variable yourself to override.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from stages.process.problem import Problem  # noqa: E402  (after the environment is fixed)

PR_SET_PDEATHSIG = 1
PARENT = os.getppid()  # read before the heavy imports: whoever dies during those must be missed too


def work_folder() -> Path:
    """Scratch that outlives a run (downloads, checkpoints): `.work`, ignored by git and by DVC.

    DVC runs temporary experiments in a copy of the project and names the original in DVC_ROOT; the scratch is shared.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")) / ".work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def die_with_parent(parent: int | None = None) -> None:
    """Ask Linux to kill this process when its parent dies, so that a killed `dvc repro` leaves nothing running.

    Killed, not asked to end: an exception raised by a signal handler can be swallowed by a library's callback. Nothing
    is lost, since results take their place whole or not at all. `parent`: its process id, if it may have died already.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = parent or os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request took effect
        sys.exit(1)


def recording_key() -> str:
    """The key of the recording that a per-recording stage is run for: the argument, or what DVC names in DVC_STAGE.

    dvc.yaml does not write the key into the command, because DVC hands that to a shell as it is.
    """
    if len(sys.argv) == 2:
        return sys.argv[1]
    key = os.environ.get("DVC_STAGE", "").partition("@")[2]
    if len(sys.argv) > 2 or not key:
        sys.exit("name one recording by its key in data/sources.yaml")
    return key


@contextmanager
def sole_run(name: str):
    """Hold a lock for the stage `name`; wait for a run that is just ending (killed a moment ago)."""
    safe = re.sub(r"[^\w@-]", "-", name)[:100]
    path = work_folder() / "locks" / f"{safe}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(main: Callable[[], None], name: str) -> None:
    """Run a stage's or tool's `main`; `name` marks its messages and its lock. Exits 1 on a Problem."""
    die_with_parent(PARENT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # run the clean-up that `with` blocks promise
    try:
        with sole_run(name):
            main()
    except Problem as problem:
        sys.exit(f"{name}: {problem}")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(f"{name}: the disk is full ({error.filename or Path.cwd()}); free some space and run again")
    except KeyboardInterrupt:
        sys.exit(130)
