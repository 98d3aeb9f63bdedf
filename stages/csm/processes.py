"""Several processes for one training: the stage starts torchrun, whose workers run the stage's module again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from stages.process.problem import Problem
from stages.process.stage import die_with_parent

PROBLEM_FILE = "TIMBRE_PROBLEM_FILE"  # where a worker leaves its one line for the stage to say


def is_worker() -> bool:
    return PROBLEM_FILE in os.environ


def is_main() -> bool:
    """True in the process that writes results."""
    return int(os.environ.get("RANK", "0")) == 0


def check(processes: int) -> None:
    """Raise Problem when there are GPUs, but fewer than processes."""
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise Problem(f"train.processes is {processes}, but there are {gpus} GPUs; lower it to {gpus}")


def start(module: str, processes: int, scratch: Path) -> None:
    """Run `python -m module` in `processes` processes; they die when this one does. Raises what stopped a worker."""
    note = scratch / "problem.txt"
    note.unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    environment = os.environ | {PROBLEM_FILE: str(note)}
    launcher = subprocess.Popen([*command, "-m", module], env=environment, preexec_fn=die_with_parent)
    try:
        status = launcher.wait()
    except BaseException:  # a signal: torchrun stops its workers when it is asked to end
        launcher.send_signal(signal.SIGTERM)
        launcher.wait()
        raise
    if note.is_file():
        raise Problem(note.read_text())
    if status:
        raise Problem(f"a training process ended with status {status}; its message is above")


def work(main) -> None:
    """What a worker runs: `main`, with a Problem left for the stage that started it."""
    die_with_parent()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        main()
    except Problem as problem:
        Path(os.environ[PROBLEM_FILE]).write_text(str(problem))
        os._exit(1)  # at once: the other workers wait for this one, and torchrun ends them
