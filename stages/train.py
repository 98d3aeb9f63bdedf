"""Fine-tune the base on the training rows' codes with LoRA; resume where a killed run stopped.

    python -m stages.train

Reads data/codes and the base model. Writes models/adapter (adapter and processor), reports/train.csv and
reports/eval.csv (a line per update and per evaluation) and reports/train.json. Checkpoints and TensorBoard's files are
scratch, in .work/train/<what they depend on>.
"""

import csv
import hashlib
import io
import json
from pathlib import Path

from stages.process.stage import run, work_folder  # isort: skip  (first: it fixes the number of threads)

import torch

from stages.csm import backend
from stages.csm.recipe import Recipe
from stages.csm.turns import Turn, read_coded
from stages.files.atomic import replacing_folder, rounded, write_json, write_text
from stages.files.settings import read_settings
from stages.process.problem import Problem

CODES, ADAPTER, REPORTS = Path("data/codes"), Path("models/adapter"), Path("reports")
TRAIN_COLUMNS = ["step", "epoch", "loss", "codebook0_loss", "acoustic_loss", "grad_norm", "learning_rate"]
EVAL_COLUMNS = ["step", "epoch", "eval_loss", "eval_codebook0_loss", "eval_acoustic_loss"]


def scratch(recipe: Recipe, base: dict) -> Path:
    """The folder of this run's checkpoints: other parameters, data or base never resume from it."""
    digest = hashlib.sha256(json.dumps([recipe.model_dump(), base], sort_keys=True).encode())
    for split in ("train", "validation"):
        digest.update((CODES / f"{split}.parquet").read_bytes())
    return work_folder() / "train" / digest.hexdigest()[:16]


def last_checkpoint(folder: Path, mark: str) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{mark}")]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def arguments(recipe: Recipe, folder: Path, dtype: str, resumed: bool):
    """The recipe in the words of Hugging Face's TrainingArguments."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup_steps,
        optim=recipe.optimizer,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=dtype == "bfloat16",
        fp16=dtype == "float16",
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=recipe.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        eval_strategy="steps",
        eval_on_start=not resumed,
        eval_steps=recipe.eval_steps,
        save_steps=recipe.eval_steps,
        save_total_limit=2,
        load_best_model_at_end=recipe.checkpoint == "loss",
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=1,
        report_to=["tensorboard"],
        remove_unused_columns=False,
        seed=recipe.seed,
    )


def check_labels(turns: list[Turn], config) -> None:
    """Every row must teach the model where to stop: one end frame, labelled once, and nothing but sound before it."""
    from stages.csm.inputs import IGNORED, collate

    for turn in turns:
        labels = collate([[turn]], config)["labels"][0]
        ends = int((labels == config.audio_eos_token_id).sum())
        trained = int((labels != IGNORED).sum())
        if ends != 1 or trained != len(turn.codes) + 1:
            raise Problem(f"a row has {ends} end labels and {trained} labels for {len(turn.codes)} frames")


def write_history(history: list[dict]) -> tuple[list[dict], list[dict]]:
    """Both curves as CSV, one line per update and per evaluation; times are left out, they differ from run to run."""
    updates = [entry for entry in history if "loss" in entry]
    evaluations = [entry for entry in history if "eval_loss" in entry]
    for name, columns, entries in (("train", TRAIN_COLUMNS, updates), ("eval", EVAL_COLUMNS, evaluations)):
        text = io.StringIO()
        table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rounded(entries))
        write_text(REPORTS / f"{name}.csv", text.getvalue())
    return updates, evaluations


def main() -> None:
    recipe = read_settings(Recipe, "train")
    chosen = backend.choose(recipe.backend)
    backend.activate(chosen)
    # From here on transformers and peft may be imported: Unsloth, if it is used, came first.
    from stages.csm.base import BaseSettings, load_processor, resolved
    from stages.csm.device import training_dtype
    from stages.csm.inputs import collate
    from stages.csm.lora import check_adapter
    from stages.csm.training import Checkpoints, CsmTrainer, Turns

    base = resolved(read_settings(BaseSettings, "base"), CODES)
    train, validation = (
        [turn for _, turn in read_coded(CODES / f"{name}.parquet")] for name in ("train", "validation")
    )
    dtype = training_dtype(recipe.dtype, "cuda" if torch.cuda.is_available() else "cpu")
    model = backend.load_adapted(chosen, base, recipe.lora, dtype, recipe.gradient_checkpointing, recipe.seed)
    trainable, total = check_adapter(model, recipe.lora)
    config = model.get_base_model().config
    check_labels(train + validation, config)
    print(f"{chosen}, {dtype}: {trainable:,} of {total:,} parameters train ({trainable / total:.2%})")

    folder = scratch(recipe, base.model_dump())
    checkpoint = last_checkpoint(folder, Checkpoints.MARK)
    trainer = CsmTrainer(
        model=model,
        args=arguments(recipe, folder, dtype, resumed=checkpoint is not None),
        recipe=recipe,
        train_dataset=Turns(train),
        eval_dataset=Turns(validation),
        data_collator=lambda rows: collate(rows, config),
        callbacks=[Checkpoints()],
    )
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise Problem(
            f"out of memory ({str(error).splitlines()[0]}); lower train.batch_size and raise train.accumulation as "
            "much, or set train.gradient_checkpointing"
        ) from error

    updates, evaluations = write_history(trainer.state.log_history)
    best = min(evaluations, key=lambda entry: entry["eval_loss"])
    report = {
        "backend": chosen,
        "dtype": dtype,
        "trainable_parameters": trainable,
        "trainable_share": trainable / total,
        "rows": len(train),
        "steps": trainer.state.global_step,
        "loss": updates[-1]["loss"],
        "eval_loss_before": evaluations[0]["eval_loss"],
        "eval_loss": (best if recipe.checkpoint == "loss" else evaluations[-1])["eval_loss"],
        "best_step": best["step"],
    }
    write_json(REPORTS / "train.json", report)
    processor = load_processor(base.location, base.revision)
    with replacing_folder(ADAPTER) as temporary:
        model.save_pretrained(temporary, save_embedding_layers=False)
        (temporary / "README.md").unlink(missing_ok=True)  # an empty form; `make push-adapter` writes the card
        processor.save_pretrained(temporary)


if __name__ == "__main__":
    run(main, "train")
