"""Fine-tune the base on the training rows' codes with LoRA; resume where a killed run stopped.

    python -m stages.train

Reads data/codes, the validation rows' sound and the base model. Writes models/adapter (adapter and processor),
reports/train.csv and reports/eval.csv (a line per update and per evaluation), reports/train.json and reports/growth
(what the voice said at each evaluation). Checkpoints and TensorBoard's files are scratch, in
.work/train/<what they depend on>.
"""

import csv
import hashlib
import io
import json
from pathlib import Path

from stages.process.stage import run, work_folder  # isort: skip  (first: it fixes the number of threads)

import torch

from stages.csm import backend, processes
from stages.csm.recipe import Recipe
from stages.csm.turns import Turn, read_coded
from stages.files.atomic import replacing_folder, rounded, write_json, write_text
from stages.files.settings import read_settings
from stages.process.problem import Problem

CODES, ADAPTER, REPORTS, GROWTH = Path("data/codes"), Path("models/adapter"), Path("reports"), Path("reports/growth")
HELD_OUT = Path("data/rows/validation.parquet")
TRAIN_COLUMNS = ["step", "epoch", "loss", "codebook0_loss", "acoustic_loss", "grad_norm", "learning_rate"]
EVAL_COLUMNS = ["step", "epoch", "eval_loss", "eval_codebook0_loss", "eval_acoustic_loss"]
HEARD_COLUMNS = [
    f"eval_{figure}" for figure in ("score", "stop_rate", "wer", "cer", "similarity", "duration_ratio")
]  # with train.listen


def scratch(recipe: Recipe, base: dict) -> Path:
    """The folder of this run's checkpoints: other parameters, data, base or code never resume from it."""
    digest = hashlib.sha256(json.dumps([recipe.model_dump(), base], sort_keys=True).encode())
    for split in ("train", "validation"):
        digest.update((CODES / f"{split}.parquet").read_bytes())
    if recipe.listen.texts:
        digest.update(HELD_OUT.read_bytes())
    for path in sorted(file for part in ("csm", "scoring") for file in Path(__file__).parent.glob(f"{part}/*.py")):
        digest.update(path.read_bytes())
    return work_folder() / "train" / digest.hexdigest()[:16]


def last_checkpoint(folder: Path, mark: str) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{mark}")]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def arguments(recipe: Recipe, folder: Path, dtype: str, resumed: bool):
    """The recipe in the words of Hugging Face's TrainingArguments, with what a run that may be killed needs."""
    from transformers import TrainingArguments

    from stages.csm.training import recipe_arguments

    return TrainingArguments(
        output_dir=str(folder),
        **recipe_arguments(recipe, dtype),
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        ddp_backend="gloo" if processes.is_worker() and not torch.cuda.is_available() else None,
        eval_strategy="steps",
        eval_on_start=not resumed,
        eval_steps=recipe.eval_steps,
        save_steps=recipe.eval_steps,
        save_total_limit=2,
        load_best_model_at_end=recipe.checkpoint != "last",
        metric_for_best_model="eval_score" if recipe.checkpoint == "score" else "eval_loss",
        greater_is_better=recipe.checkpoint == "score",
        report_to=["tensorboard"],
    )


def check_rows(rows: list[list[Turn]], config) -> None:
    """Every row must fit the model, and teach it where to stop: one end frame, labelled once, after sound only."""
    from stages.csm.inputs import IGNORED, collate

    limit = config.max_position_embeddings
    for turns in rows:
        turn = turns[-1]
        if sum(heard.length for heard in turns) > limit:
            raise Problem(f"a row has more than the model's {limit} positions; lower segment.max_seconds")
        labels = collate([turns], config)["labels"][0]
        ends = int((labels == config.audio_eos_token_id).sum())
        trained = int((labels != IGNORED).sum())
        if ends != 1 or trained != len(turn.codes) + 1:
            raise Problem(f"a row has {ends} end labels and {trained} labels for {len(turn.codes)} frames")


def write_history(history: list[dict]) -> tuple[list[dict], list[dict]]:
    """Both curves as CSV, one line per update and per evaluation; times are left out, they differ from run to run."""
    updates = [entry for entry in history if "loss" in entry]
    evaluations = [entry for entry in history if "eval_loss" in entry]
    eval_columns = EVAL_COLUMNS + (HEARD_COLUMNS if "eval_score" in evaluations[0] else [])
    for name, columns, entries in (("train", TRAIN_COLUMNS, updates), ("eval", eval_columns, evaluations)):
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
    from stages.csm.base import BaseSettings, resolved
    from stages.csm.batches import Rows
    from stages.csm.device import training_dtype
    from stages.csm.inputs import collate
    from stages.csm.lora import check_trainable
    from stages.csm.selection import Patience, finished
    from stages.csm.subset import first_minutes
    from stages.csm.training import Checkpoints, CsmTrainer, within_memory
    from stages.scoring.ear import open_ear

    base = resolved(read_settings(BaseSettings, "base"), CODES)
    train, validation = (read_coded(CODES / f"{name}.parquet") for name in ("train", "validation"))
    train = first_minutes(train, recipe.minutes, recipe.seed)
    dtype = training_dtype(recipe.dtype, "cuda" if torch.cuda.is_available() else "cpu")
    model = backend.load_trainable(chosen, base, recipe, dtype)
    trainable, total = check_trainable(model, recipe)
    config = backend.unwrapped(model).config
    limit = config.max_position_embeddings
    rows = Rows(train, recipe.context_share, limit, recipe.seed)
    held_out = Rows(validation)
    check_rows([*rows.items, *held_out.items], config)
    print(f"{chosen}, {dtype}: {trainable:,} of {total:,} parameters train ({trainable / total:.2%})")

    folder = scratch(recipe, base.model_dump())
    checkpoint = last_checkpoint(folder, Checkpoints.MARK)
    listens = recipe.listen.texts > 0 and processes.is_main()
    trainer = CsmTrainer(
        model=model,
        args=arguments(recipe, folder, dtype, resumed=checkpoint is not None),
        recipe=recipe,
        listener=open_ear(recipe.listen, folder / "growth", dtype) if listens else None,
        train_dataset=rows,
        eval_dataset=held_out,
        data_collator=lambda rows: collate(rows, config),
        callbacks=[Checkpoints(), Patience(recipe.checkpoint, recipe.patience)],
    )
    with within_memory():
        if checkpoint and finished(checkpoint, recipe.checkpoint, recipe.patience):
            trainer.restore(checkpoint)  # killed between the last checkpoint and the outputs
        else:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    if trainer.is_world_process_zero():
        counted = {"backend": chosen, "dtype": dtype, "trainable_parameters": trainable}
        counted |= {"trainable_share": trainable / total, "rows": len(rows)}
        counted |= {"minutes": sum(row.seconds for row, _ in train) / 60}
        counted |= {"rows_with_context": sum(len(turns) > 1 for turns in rows.items)}
        counted |= {"useful_positions": trainer.useful_share()}
        write_report(recipe, trainer.state, counted, folder / "growth")
        save(recipe, model, base)


def write_report(recipe: Recipe, state, counted: dict, heard: Path) -> None:
    """The curves, reports/train.json (what was trained, losses and scores before and after) and reports/growth."""
    from stages.csm.selection import choose
    from stages.scoring.growth import gather

    updates, evaluations = write_history(state.log_history)
    first, chosen = evaluations[0], choose(evaluations, recipe.checkpoint)
    losses = {
        "steps": state.global_step,
        "loss": updates[-1]["loss"],
        "eval_loss_before": first["eval_loss"],
        "eval_loss": chosen["eval_loss"],
        "best_step": chosen["step"],
    }
    if recipe.listen.texts:
        losses |= {"score_before": first["eval_score"], "score": chosen["eval_score"]}
    write_json(REPORTS / "train.json", counted | losses)
    gather(GROWTH, heard, evaluations, recipe.checkpoint, chosen["step"])


def save(recipe: Recipe, model, base) -> None:
    """models/adapter: the adapter, or with `method: full` the whole model; and the processor."""
    from stages.csm.base import load_processor, save_csm

    processor = load_processor(base.location, base.revision)
    with replacing_folder(ADAPTER) as temporary:
        if recipe.method == "full":
            save_csm(model, temporary)
        else:
            model.save_pretrained(temporary, save_embedding_layers=False)
            (temporary / "README.md").unlink(missing_ok=True)  # an empty form; `make push-adapter` writes the card
        processor.save_pretrained(temporary)


def launch() -> None:
    """Train here, or in several processes when `train.processes` says so."""
    recipe = read_settings(Recipe, "train")
    if recipe.processes == 1:
        return main()
    backend.choose(recipe.backend)
    processes.check(recipe.processes)
    return processes.start("stages.train", recipe.processes, work_folder())


if __name__ == "__main__":
    if processes.is_worker():
        processes.work(main)
    else:
        run(launch, "train")
