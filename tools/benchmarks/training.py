"""The same fine-tuning two ways: ours, on codes, and the notebook's, with the codec in the loop.

Both take the same rows, model, LoRA, optimiser, seed and number of updates of as many rows, and both optimise the
mean of codebook 0's loss plus the mean of the acoustic loss.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, default_data_collator

from stages.csm.backend import unwrapped
from stages.csm.batches import Rows, batch_sizes
from stages.csm.codec import FRAME_SECONDS
from stages.csm.cost import second_of_audio, training_step
from stages.csm.inputs import collate
from stages.csm.recipe import Recipe
from stages.csm.training import CsmTrainer, recipe_arguments
from tools.benchmarks.clock import now


@dataclass
class Run:
    """What one training took: `seconds` for `audio_seconds` of speech, over the timed updates."""

    seconds: float
    loading: float  # of these, until a batch was laid out
    audio_seconds: float
    useful: float  # share of the backbone's positions that are no padding
    text_rate: float  # positions that are neither sound nor padding, per second of speech
    losses: list[float]
    peak_bytes: int

    @property
    def speed(self) -> float:
        """Seconds of speech per second."""
        return self.audio_seconds / self.seconds


class Tally:
    """A collator that counts what it lays out: all positions, those in use, those of sound."""

    def __init__(self, lay_out, audio_token: int):
        self.lay_out, self.audio_token = lay_out, audio_token
        self.clear()

    def clear(self) -> None:
        self.positions = self.used = self.frames = 0

    def __call__(self, rows) -> dict[str, torch.Tensor]:
        batch = self.lay_out(rows)
        self.positions += batch["attention_mask"].numel()
        self.used += int(batch["attention_mask"].sum())
        self.frames += int((batch["input_ids"] == self.audio_token).sum())
        return batch


class Watch(TrainerCallback):
    """Times the training after its first `warm_up` updates: those compile, allocate and fill caches."""

    def __init__(self, tally: Tally, device: str, warm_up: int):
        self.tally, self.device, self.warm_up = tally, device, warm_up

    def _start(self) -> None:
        self.tally.clear()
        self.loading = 0.0
        self.started = self.stopped = now(self.device)

    def on_train_begin(self, args, state, control, **kwargs):
        self._start()

    def on_step_begin(self, args, state, control, **kwargs):
        self.loading += now(self.device) - self.stopped

    def on_step_end(self, args, state, control, **kwargs):
        self.stopped = now(self.device)
        if state.global_step == self.warm_up:
            self._start()


def arguments(recipe: Recipe, folder: Path, dtype: str, device: str) -> TrainingArguments:
    """What both ways share. Nothing is evaluated or saved while the clock runs."""
    return TrainingArguments(
        output_dir=str(folder),
        **recipe_arguments(recipe, dtype),
        use_cpu=device == "cpu",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def token_budget(rows: Rows, updates: int) -> int:
    """The smallest `train.batch_tokens` that makes no more than `updates` batches of the rows."""
    budget = max(rows.lengths)
    while len(batch_sizes(rows.lengths, 1, budget)) > updates:
        budget += 1
    return budget


def ours(model, rows: Rows, recipe: Recipe, options: TrainingArguments, lay_out) -> CsmTrainer:
    """The train stage's trainer: codes, batches of one length under a token budget."""
    return CsmTrainer(model=model, args=options, recipe=recipe, train_dataset=rows, data_collator=lay_out)


def notebook(model, rows: Dataset, options: TrainingArguments, lay_out) -> Trainer:
    """The stock trainer on sound, in random order.

    Left alone it would weigh the acoustic loss 31-fold, because it hands CSM one count of labels for both parts. Told
    that the model takes no such count, it leaves the mean of each part as it is: the loss that ours optimises.
    """
    unwrapped(model).accepts_loss_kwargs = False
    return Trainer(model=model, args=options, train_dataset=rows, data_collator=lay_out)


def train(model, material, recipe: Recipe, folder: Path, dtype: str, device: str, warm_up: int = 0) -> Run:
    """Train on `material`: Rows our way, a padded table the notebook's way."""
    options, config = arguments(recipe, folder, dtype, device), unwrapped(model).config
    if isinstance(material, Rows):
        tally = Tally(lambda rows: collate(rows, config), config.audio_token_id)
        trainer = ours(model, material, recipe, options, tally)
    else:
        tally = Tally(default_data_collator, config.audio_token_id)
        trainer = notebook(model, material, options, tally)
    watch = Watch(tally, device, warm_up)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watch)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    return Run(
        seconds=watch.stopped - watch.started,
        loading=watch.loading,
        audio_seconds=tally.frames * FRAME_SECONDS,
        useful=tally.used / tally.positions,
        text_rate=(tally.used - tally.frames) / (tally.frames * FRAME_SECONDS),
        losses=[entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        peak_bytes=torch.cuda.max_memory_allocated() if device != "cpu" else 0,
    )


def held_out_loss(model, rows: Rows, recipe: Recipe, folder: Path, dtype: str, device: str) -> float:
    """Mean loss of codebook 0 plus mean acoustic loss over `rows`, every frame counted: one judge for both ways."""
    return ours(model, rows, recipe, arguments(recipe, folder, dtype, device), None).measure(rows)["loss"]


def share_of_peak(run: Run, config, recipe: Recipe, peak: float) -> float:
    """Operations that the useful positions need, as a share of what the hardware can do in the time they took.

    Padding, the codec in the loop and recomputation are work that need not be done, so they count as time only.
    """
    work = second_of_audio(config, recipe.depth_ratio, run.text_rate)
    return run.speed * training_step(config, work, recipe.lora).total / peak
