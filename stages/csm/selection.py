"""Which checkpoint becomes the voice, and when a training has seen enough."""

from collections.abc import Sequence
from pathlib import Path

from transformers import TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

CRITERIA = {"score": ("eval_score", max), "loss": ("eval_loss", min)}  # by `train.checkpoint`: figure and which is best


def evaluations(history: Sequence[dict]) -> list[dict]:
    """The entries of the Trainer's history that hold an evaluation, in order."""
    return [entry for entry in history if "eval_loss" in entry]


def choose(history: Sequence[dict], criterion: str) -> dict:
    """The evaluation whose weights become the voice: the best one (the first of equals), or the last.

    The untrained model (step 0) is heard and plotted, but it is no candidate.
    """
    candidates = [entry for entry in evaluations(history) if entry["step"] > 0]
    if criterion == "last":
        return candidates[-1]
    figure, best = CRITERIA[criterion]
    return best(candidates, key=lambda entry: entry[figure])


def exhausted(history: Sequence[dict], criterion: str, patience: int | None) -> bool:
    """Whether the last `patience` evaluations brought nothing better; from the history, so a resumed run agrees."""
    steps = [entry["step"] for entry in evaluations(history) if entry["step"] > 0]
    if patience is None or not steps:
        return False
    return len(steps) - 1 - steps.index(choose(history, criterion)["step"]) >= patience


def finished(checkpoint: Path, criterion: str, patience: int | None) -> bool:
    """Whether the training that wrote `checkpoint` had no update left to make.

    The Trainer itself does not notice when this is in the middle of an epoch, and makes one update more.
    """
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state.global_step >= state.max_steps or exhausted(state.log_history, criterion, patience)


class Patience(TrainerCallback):
    """Stops training when it is exhausted."""

    def __init__(self, criterion: str, patience: int | None):
        self.criterion, self.patience = criterion, patience

    def on_evaluate(self, args, state, control, **kwargs):
        if exhausted(state.log_history, self.criterion, self.patience):
            control.should_training_stop = True
