"""Measure how fast the pipeline is beside the usual way, in one run: `make bench`.

    python -m tools.bench [--rows 96] [--epochs 4] [--repeats 3]

On a tiny CSM with random weights and 32 code books, one thread, on the CPU. What is compared takes turns, so that both
see the same machine; time is the process's CPU time; figures are medians. Writes reports/bench.json and prints a table.
"The notebook's way" is that of a widely copied notebook: rows of sound padded to fixed maxima, the codec in the loop,
random order, the stock trainer (tools/benchmarks/training.py).
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.process.stage import run, work_folder  # isort: skip  (first: it fixes the number of threads)

import torch
from transformers import CsmConfig

from stages.csm import backend
from stages.csm.base import BaseSettings, load_base, load_processor
from stages.csm.codec import encode
from stages.csm.cost import codec_second, forward, second_of_audio, training_step
from stages.csm.recipe import Recipe
from stages.files.atomic import write_json
from stages.files.settings import read_settings
from tools.benchmarks.clock import compared, describe_machine, load_average, middle, peak, timed
from tools.benchmarks.rows import make_speech, to_notebook, to_rows
from tools.benchmarks.speech import compare_encoding, compare_generation
from tools.benchmarks.training import Run, held_out_loss, share_of_peak, token_budget, train
from tools.tiny_base import make

REPORT, BASE = Path("reports/bench.json"), BaseSettings(path=str(work_folder() / "bench-base"))
ROWS_PER_UPDATE, AMORTISED = 8, 1 / 16
TARGETS = {"codes": 1.9, "codes_amortised": 8.0, "useful": 0.85, "loss": 0.01, "batch_1": 2.5, "batch_16": 3.0}
ENCODE_BATCH = 10.0  # seconds of sound: larger batches leave the cache of a CPU


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rows: int = 96
    held_out: int = 24
    clips: int = 32
    epochs: int = 4
    repeats: int = 3
    frames: int = 40


def recipe_for(rows, size: Size, seed: int) -> Recipe:
    """The default recipe with as many updates, of as many rows on average, as the notebook makes."""
    updates = -(-size.rows // ROWS_PER_UPDATE)
    changes = {
        "batch_size": ROWS_PER_UPDATE,
        "batch_tokens": token_budget(rows, updates),
        "accumulation": 1,
        "epochs": float(size.epochs),
        "max_steps": updates * size.epochs,
        "context_share": 0.0,
        "learning_rate": 0.002,
        "schedule": "constant",
        "codebook0_weight": 1.0,
        "acoustic_weight": 1.0,
        "seed": seed,
    }
    return read_settings(Recipe, "train").model_copy(update=changes)


def compare_training(processor, model, size: Size) -> dict:
    """Throughput and held-out loss of the notebook's way and of ours, at both depth ratios, a seed per repeat."""
    speech, unheard = make_speech(size.rows, 1), make_speech(size.held_out, 2)
    encoding, codes = timed(lambda: encode(model, [one.sound for one in speech], ENCODE_BATCH))
    rows = to_rows(processor, speech, codes)
    held_out = to_rows(processor, unheard, encode(model, [one.sound for one in unheard], ENCODE_BATCH))
    material = {"notebook": to_notebook(processor, speech), "codes": rows, "codes_amortised": rows}
    runs: dict[str, list[Run]] = {way: [] for way in material}
    shares: dict[str, list[float]] = {way: [] for way in material}
    losses: dict[str, list[float]] = {way: [] for way in [*material, "untrained"]}
    folder = work_folder() / "bench"
    for seed in range(size.repeats):
        for way, found in material.items():
            recipe = recipe_for(rows, size, seed)
            judge = (held_out, recipe, folder, "float32", "cpu")
            thinned = recipe.model_copy(update={"depth_ratio": AMORTISED if way == "codes_amortised" else 1.0})
            adapted = backend.load_trainable("peft", BASE, thinned, "float32")
            if way == "notebook":
                losses["untrained"].append(held_out_loss(adapted, *judge))
            taken = train(adapted, found, thinned, folder, "float32", "cpu")
            runs[way].append(taken)
            shares[way].append(share_of_peak(taken, model.config, thinned, peak("cpu", "float32", 1024)))
            losses[way].append(held_out_loss(adapted, *judge))
            print(f"seed {seed}, {way}: {taken.speed:.0f} s of speech a second, held-out loss {losses[way][-1]:.3f}")
    report = {way: summarise(way, runs, shares, losses, encoding) for way in material}
    report["rows"] = {
        "rows": size.rows,
        "mean_seconds": sum(len(one) for one in codes) * 0.08 / size.rows,
        "epochs": size.epochs,
        "updates": recipe.max_steps,
        "batch_tokens": recipe.batch_tokens,
        "seeds": size.repeats,
        "loss_untrained": middle(losses["untrained"]),
    }
    return report


def summarise(way: str, runs: dict, shares: dict, losses: dict, encoding: float) -> dict:
    """One way's figures; for ours the ratios to the notebook's: as it is, with its rows kept as tensors, and with our
    encoding counted in, which is done once."""
    own, stock = runs[way], runs["notebook"]
    report = {
        "audio_seconds_per_second": middle([one.speed for one in own]),
        "share_of_peak": middle(shares[way]),
        "useful_positions": middle([one.useful for one in own]),
        "loading_share": middle([one.loading / one.seconds for one in own]),
        "loss": middle(losses[way]),
    }
    if way == "notebook":
        return report
    seconds = [one.seconds for one in own]
    gaps = [ours / theirs - 1 for ours, theirs in zip(losses[way], losses["notebook"], strict=True)]
    return report | {
        "against_notebook": compared([one.seconds for one in stock], seconds, TARGETS[way]),
        "against_tensors": compared([one.seconds - one.loading for one in stock], seconds),
        "with_encoding": compared([one.seconds for one in stock], [one + encoding for one in seconds]),
        "loss_above_notebook": middle(gaps),
        "equal_loss": max(gaps) <= TARGETS["loss"],
        "useful_met": report["useful_positions"] >= TARGETS["useful"],
    }


def cost_model(config, recipe: Recipe) -> dict:
    """Billions of operations per second of audio, by part: forward, and a LoRA training step."""
    found: dict = {"codec_encode": codec_second(config.codec_config) / 1e9}
    for name, ratio in (("ratio_1", 1.0), ("ratio_1_4", 0.25), ("ratio_1_16", AMORTISED)):
        work = second_of_audio(config, ratio)
        for kind, cost in (("forward", forward(config, work)), ("step", training_step(config, work, recipe.lora))):
            parts = {part: value / 1e9 for part, value in asdict(cost).items() if part != "codec"}
            found[f"{kind}_{name}"] = parts | {"total": cost.total / 1e9}
    return found


def measure(size: Size) -> dict:
    """The whole report."""
    loads = [load_average()]
    make(Path(BASE.path))
    processor, model = load_processor(BASE.location), load_base(BASE)
    texts = [one.text for one in make_speech(16, 3)]
    sounds = [one.sound for one in make_speech(size.clips, 4)]
    generation = {
        f"batch_{batch}": compare_generation(
            model, processor, texts[:batch], size.frames, size.repeats, "cpu", TARGETS[f"batch_{batch}"]
        )
        for batch in (1, 16)
    }
    encoding = compare_encoding(model, sounds, ENCODE_BATCH, size.repeats, "cpu")
    training = compare_training(processor, model, size)
    recipe = read_settings(Recipe, "train")
    return {
        "machine": describe_machine() | {"peak_gflops": peak("cpu", "float32", 1024) / 1e9},
        "load_average": [*loads, load_average()],
        "training": training,
        "generation": generation,
        "encode": encoding,
        "cost": {"tiny": cost_model(model.config, recipe), "csm_1b": cost_model(CsmConfig(), recipe)},
    }


def table(report: dict) -> str:
    """What was measured, a line each: the stock way, ours, how many times, the target."""
    training = report["training"]
    lines = [("", "stock", "ours", "ratio", "target")]

    def line(name: str, stock: float, ours: float, found: dict) -> None:
        target = f"{found['target']:.1f} {'met' if found['met'] else 'MISSED'}" if "target" in found else ""
        lines.append((name, f"{stock:.1f}", f"{ours:.1f}", f"{found['ratio']:.2f}", target))

    stock = training["notebook"]["audio_seconds_per_second"]
    for way, name in (("codes", "every frame"), ("codes_amortised", "1/16 of the frames")):
        own = training[way]
        line(f"training, s of speech / CPU s, {name}", stock, own["audio_seconds_per_second"], own["against_notebook"])
        tensors = stock / (1 - training["notebook"]["loading_share"])
        line("  had the notebook its rows as tensors", tensors, own["audio_seconds_per_second"], own["against_tensors"])
    for batch, found in report["generation"].items():
        name = f"generation, ms / frame and utterance, {batch.replace('_', ' ')}"
        line(name, found["stock_ms_per_frame"], found["ms_per_frame"], found)
    found = report["encode"]
    line(
        "encoding, s of speech / CPU s",
        found["single_audio_seconds_per_second"],
        found["audio_seconds_per_second"],
        found,
    )
    widths = [max(len(cells[place]) for cells in lines) for place in range(5)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in lines]
    for way in ("notebook", "codes", "codes_amortised"):
        found = training[way]
        text.append(
            f"{way}: held-out loss {found['loss']:.3f} (untrained {training['rows']['loss_untrained']:.3f}), "
            f"{found['useful_positions']:.0%} of positions useful, {found['share_of_peak']:.0%} of "
            f"{report['machine']['peak_gflops']:.0f} GFLOP/s"
        )
    loads = ", ".join(f"{load:.1f}" for load in report["load_average"])
    return "\n".join([*(one.rstrip() for one in text), f"load of the machine before and after: {loads}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in asdict(Size()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    torch.set_num_threads(1)
    report = measure(Size(**vars(parser.parse_args())))
    write_json(REPORT, report, decimals=4)
    print(table(report))


if __name__ == "__main__":
    run(main, "bench")
