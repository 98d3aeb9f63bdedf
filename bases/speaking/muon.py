"""Muon for the matrices of a module, AdamW for the rest: the codec's encoder needs half the steps of AdamW alone.

Muon makes the update of a matrix orthogonal, so that its small directions are learned as fast as its large ones (Jordan
et al. 2024, "Muon"). A convolution counts as the matrix (channels out, channels in * kernel).
"""

from collections.abc import Iterable

import torch
from torch.nn import Parameter


class Muon:
    """Looks like one optimiser to a training loop: `param_groups`, `zero_grad`, `step` and a state to save.

    `rate` is that of AdamW: Muon's updates are scaled to the same size (Liu et al. 2025, "Muon is scalable"). `tables`
    are matrices for AdamW all the same: embeddings and heads, of which a batch touches a few rows.
    """

    def __init__(
        self,
        weights: Iterable[Parameter],
        rate: float,
        weight_decay: float,
        betas: tuple[float, float],
        tables: Iterable[Parameter] = (),
    ):
        weights, spared = list(weights), set(map(id, tables))
        self.matrices = [weight for weight in weights if weight.dim() > 1 and id(weight) not in spared]
        self.views = [Parameter(weight.data.flatten(1)) for weight in self.matrices]  # the same numbers
        others = [weight for weight in weights if weight.dim() < 2 or id(weight) in spared]
        self.parts = {
            "matrices": torch.optim.Muon(self.views, rate, weight_decay, adjust_lr_fn="match_rms_adamw"),
            "others": torch.optim.AdamW(others, rate, betas=betas, weight_decay=weight_decay, fused=True),
        }

    @property
    def param_groups(self) -> list[dict]:
        return [group for part in self.parts.values() for group in part.param_groups]

    def zero_grad(self) -> None:
        for weight in self.matrices:
            weight.grad = None
        for part in self.parts.values():
            part.zero_grad()

    def step(self) -> None:
        for view, weight in zip(self.views, self.matrices, strict=True):
            view.grad = None if weight.grad is None else weight.grad.flatten(1)
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
