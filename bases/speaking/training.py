"""The loop that every training of the base runs in: averaged weights, a curve, and a state that a kill cannot spoil.

Chance begins anew at every saved step, by the step's number: a training that was killed ends with the same weights as
one that was not.
"""

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from bases.speaking.muon import Muon
from stages.files.atomic import replacing

GRADIENT = 1.0  # largest norm


class Average:
    """Running mean of a module's weights: smoother than the last ones while the steps are large."""

    def __init__(self, module: torch.nn.Module, decay: float):
        self.decay = decay
        self.weights = {name: weight.detach().clone() for name, weight in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int) -> None:
        """Call after every step; early on the mean is over few steps."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        current = dict(module.named_parameters())
        torch._foreach_lerp_(list(self.weights.values()), [current[name].detach() for name in self.weights], share)

    @torch.no_grad()
    def swap(self, module: torch.nn.Module) -> None:
        """Exchange the means with the module's weights; calling it again brings those back."""
        for name, weight in module.named_parameters():
            held = weight.detach().clone()
            weight.copy_(self.weights[name])
            self.weights[name] = held


class Curve:
    """A table with a row per measurement. A resumed training goes on after its last saved step."""

    def __init__(self, path: Path, step: int):
        self.path, self.rows = path, []
        if path.is_file():
            with path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]

    def add(self, **figures: float) -> None:
        self.rows.append({name: f"{value:.6g}" for name, value in figures.items()})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


@dataclass(frozen=True)
class Schedule:
    """`steps` in all, of which the first `warmup` raise the rate to `peak` and the last `decay` lower it to a
    twentieth; a state every `save_steps`."""

    steps: int
    peak: float
    warmup: int
    decay: int
    save_steps: int
    seed: int

    def rate(self, step: int) -> float:
        fall = max(0.05, (self.steps - step) / max(1, self.decay))
        return self.peak * min(1.0, (step + 1) / self.warmup) * min(1.0, fall)


def load_state(path: Path) -> dict | None:
    """The state that a training saved, or None when there is none yet."""
    return torch.load(path, weights_only=True) if path.is_file() else None


def train(
    path: Path,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer | Muon,
    average: Average,
    schedule: Schedule,
    losses_of: Callable[[int], Callable[[], dict[str, torch.Tensor]]],
    weigh: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    measure: Callable[[], dict[str, float]],
) -> None:
    """Train `module` until `schedule.steps`, from the state at `path` if there is one; the curve is the .csv beside it.

    `losses_of(seed)` begins a stretch of training and gives a function: the named losses of its next batch. `weigh`
    makes one loss of them; `measure` gives the figures that the curve shows, of the averaged weights.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    step, before = 0, 0.0
    if state := load_state(path):
        module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.weights, step, before = state["average"], state["step"], state["seconds"]
    curve, begun = Curve(path.with_suffix(".csv"), step), time.process_time()
    with tqdm(initial=step, total=schedule.steps, desc=path.stem, unit="step", mininterval=30) as bar:
        while step < schedule.steps:
            seed = schedule.seed * 1_000_003 + step
            torch.manual_seed(seed)
            next_losses, sums = losses_of(seed), {}
            end = min(schedule.steps, step - step % schedule.save_steps + schedule.save_steps)
            first = step
            for step in range(first, end):
                found = _step(module, optimizer, schedule.rate(step), next_losses, weigh)
                average.update(module, step)
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + value / (end - first)
                bar.update()
            step = end
            average.swap(module)
            figures = measure()
            average.swap(module)
            seconds = before + time.process_time() - begun
            curve.add(step=step, cpu_seconds=seconds, **sums, **figures)
            with replacing(path) as temporary:
                parts = {"model": module.state_dict(), "optimizer": optimizer.state_dict(), "average": average.weights}
                torch.save({**parts, "step": step, "seconds": seconds}, temporary)


def _step(module, optimizer, rate: float, next_losses, weigh) -> dict[str, float]:
    """One update; gives the losses it was made with."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    found = next_losses()
    optimizer.zero_grad()
    weigh(found).backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), GRADIENT)
    optimizer.step()
    return {name: float(value.detach()) for name, value in found.items()}
