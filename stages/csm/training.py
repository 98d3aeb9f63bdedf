"""Training with the loss that was meant: mean over codebook-0 labels plus mean over acoustic labels, weighted.

The stock Trainer passes CSM one count of labels for both parts, which multiplies the acoustic loss by the number of
acoustic codebooks (31). Here both parts are divided by their own count over the whole virtual batch, so that neither
accumulation nor padding nor the mix of row lengths changes what is optimised.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from stages.csm.batches import Batches, Loader, Rows, batch_sizes, useful_share
from stages.csm.inputs import BACKBONE_ONLY, IGNORED, collate
from stages.csm.recipe import Recipe
from stages.process.problem import Problem


def counts(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Labelled positions of codebook 0 and of the acoustic codebooks, of labels (batch, length)."""
    return (labels != IGNORED).sum(), ((labels != IGNORED) & (labels != BACKBONE_ONLY)).sum()


def thin_depth(labels: torch.Tensor, ratio: float, generator: torch.Generator) -> torch.Tensor:
    """Keep a random share `ratio` of the frames (at least one) for the acoustic loss; codebook 0 keeps all."""
    frames = (labels != IGNORED).nonzero()
    drop = torch.randperm(len(frames), generator=generator)[max(1, round(len(frames) * ratio)) :].to(labels.device)
    thinned = labels.clone()
    thinned[frames[drop, 0], frames[drop, 1]] = BACKBONE_ONLY
    return thinned


def recipe_arguments(recipe: Recipe, dtype: str) -> dict:
    """The recipe's knobs in the words of Hugging Face's TrainingArguments: the stage's and the benchmark's alike."""
    return {
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.max_steps or -1,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": recipe.warmup_steps,
        "optim": recipe.optimizer,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "logging_steps": 1,
        "remove_unused_columns": False,
        "seed": recipe.seed,
    }


Listener = Callable[[torch.nn.Module, int], dict[str, float]]  # (model, step) -> figures of how it sounds


class CsmTrainer(Trainer):
    """Hugging Face's Trainer with CSM's loss, its logging of both parts, and an evaluation free of batch effects."""

    def __init__(self, *args, recipe: Recipe, listener: Listener | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.recipe, self.listener = recipe, listener
        self.depth_items = torch.tensor(0)
        self.parts: dict[str, list[torch.Tensor]] = {"codebook0_loss": [], "acoustic_loss": []}

    def get_train_dataloader(self) -> Loader:
        """Batches of rows of one length. They are dealt to the processes here: accelerate deals fixed sizes only."""
        batches = self.batches(self.args.process_index, self.args.world_size)
        return Loader(self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator)

    def batches(self, rank: int = 0, processes: int = 1) -> Batches:
        """The share of process `rank` of `processes`; without them all batches of an epoch."""
        lengths, knobs = self.train_dataset.lengths, self.recipe
        sizes = batch_sizes(lengths, knobs.batch_size, knobs.batch_tokens, self.args.world_size)
        return Batches(lengths, sizes, knobs.seed, rank, processes)

    def useful_share(self) -> float:
        """Share of the positions of an epoch that are not padding, over all processes."""
        return useful_share(self.train_dataset.lengths, list(self.batches()))

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """The micro-batches of one update, with the frames for the acoustic loss drawn and both kinds counted."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        draw = (self.recipe.seed * 1_000_003 + self.state.global_step) * 1024 + self.args.process_index
        generator = torch.Generator().manual_seed(draw % 2**63)
        if self.recipe.depth_ratio < 1:
            for batch in batches:
                batch["labels"] = thin_depth(batch["labels"], self.recipe.depth_ratio, generator)
        depth = torch.stack([counts(batch["labels"])[1] for batch in batches]).sum().to(device)
        self.depth_items = self.accelerator.gather(depth).sum()
        return batches, items

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Weighted sum of both means over the virtual batch; `num_items_in_batch` counts its codebook-0 labels."""
        outputs = model(**inputs)
        if outputs.backbone_loss is None or outputs.depth_decoder_loss is None:
            raise Problem("the model gave only one of its two losses; transformers or Unsloth are not the pinned ones")
        backbone, depth = counts(inputs["labels"])
        codebook0 = outputs.backbone_loss * backbone / num_items_in_batch
        acoustic = outputs.depth_decoder_loss * depth / self.depth_items
        self.parts["codebook0_loss"].append(codebook0.detach())
        self.parts["acoustic_loss"].append(acoustic.detach())
        loss = self.recipe.codebook0_weight * codebook0 + self.recipe.acoustic_weight * acoustic
        loss = loss * self.accelerator.num_processes  # gradients are averaged over processes, the counts are not
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for name, parts in self.parts.items():
                total = self.accelerator.gather(torch.stack(parts).sum()).sum().item()
                logs[name] = total / self.args.logging_steps
                parts.clear()
            if not math.isfinite(logs["codebook0_loss"] + logs["acoustic_loss"]):
                raise Problem(
                    f"the loss is {logs['loss']} at step {self.state.global_step}; lower train.learning_rate or "
                    "train.max_grad_norm, or use dtype bfloat16 or float32"
                )
        super().log(logs, start_time)

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Loss over all held-out rows at full depth: the same for every batch size and number of processes.

        With a listener (in process 0 alone; the others wait for it) also what it finds.
        """
        found = self.measure(eval_dataset or self.eval_dataset)
        heard = [{}]
        if self.listener:
            heard = [self.listener(self.accelerator.unwrap_model(self.model), self.state.global_step)]
        found |= broadcast_object_list(heard)[0]
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def restore(self, checkpoint: Path) -> None:
        """What `train` would leave, from the last checkpoint of a training that was over when it was killed."""
        self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        best = self.state.best_model_checkpoint if self.args.load_best_model_at_end else None
        self._load_from_checkpoint(best or str(checkpoint))

    @torch.no_grad()
    def measure(self, rows: Rows) -> dict[str, float]:
        model = self.accelerator.unwrap_model(self.model).eval()
        order = sorted(range(len(rows)), key=lambda index: (rows.lengths[index], index))
        sums, labels = [0.0, 0.0], [0, 0]
        for start in range(0, len(order), self.args.eval_batch_size):
            batch = [rows[index] for index in order[start : start + self.args.eval_batch_size]]
            inputs = self._prepare_inputs(collate(batch, model.config))
            with self.compute_loss_context_manager():
                outputs = model(**inputs)
            found = [int(count) for count in counts(inputs["labels"])]
            sums[0] += float(outputs.backbone_loss) * found[0]
            sums[1] += float(outputs.depth_decoder_loss) * found[1]
            labels = [labels[0] + found[0], labels[1] + found[1]]
        codebook0, acoustic = sums[0] / labels[0], sums[1] / labels[1]
        loss = self.recipe.codebook0_weight * codebook0 + self.recipe.acoustic_weight * acoustic
        return {"loss": loss, "codebook0_loss": codebook0, "acoustic_loss": acoustic}


@contextmanager
def within_memory() -> Iterator[None]:
    """Say what to lower when a training does not fit the memory of the GPU (or, far later, of the machine)."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in reason:
            raise
        raise Problem(
            f"out of memory ({reason}); lower train.batch_size (or train.batch_tokens) and raise train.accumulation "
            "as much, or set train.gradient_checkpointing"
        ) from error


class Checkpoints(TrainerCallback):
    """Evaluates after the last update too, and marks a checkpoint when all its files are there.

    A checkpoint without the mark was cut short by a kill and is not resumed.
    """

    MARK = "whole"

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / self.MARK).touch()
