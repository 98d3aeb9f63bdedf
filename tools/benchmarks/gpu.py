"""One back end with one preset, the whole way: load, LoRA, train both ways, save, merge, generate.

    python -m tools.benchmarks.gpu t4 peft .work/bench-gpu/base result.json      (tools/bench_gpu.py runs it)

A process of its own, because Unsloth patches what it imports.
"""

import argparse
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import torch

from stages.csm import backend
from stages.csm.recipe import Recipe
from stages.files.atomic import replacing_folder, write_json
from stages.files.settings import parse, read_yaml
from stages.process.problem import Problem

GIB = 2**30
T4_GIB = 14.5  # what a T4's 15 GB leave to a program


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rows: int = 96
    long_rows: int = 16
    longest: float = 15.0  # seconds: segment.max_seconds of both presets
    updates: int = 10
    warm_up: int = 3
    frames: int = 40
    repeats: int = 3
    matrix: int = 8192
    batches: tuple[int, ...] = (1, 16)


def recipe_of(preset: str, engine: str, size: Size) -> Recipe:
    """`train` of params.yaml with the preset merged in, for a few updates on single rows at full depth."""
    train = read_yaml("params.yaml")["train"]
    for key, value in read_yaml(f"presets/{preset}.yaml")["train"].items():
        train[key] = train[key] | value if isinstance(value, dict) else value
    train |= {"backend": engine, "depth_ratio": 1.0, "context_share": 0.0}
    train |= {"epochs": 1000.0, "max_steps": size.updates, "processes": 1}
    if importlib.util.find_spec("bitsandbytes") is None and train["optimizer"] == "adamw_8bit":
        train["optimizer"] = "adamw_torch"
    return parse(Recipe, train, f"presets/{preset}.yaml: train")


def free(device: str) -> None:
    """Give back what a deleted model held."""
    import gc

    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


def prepare(base, size: Size, device: str) -> tuple[dict, dict]:
    """Rows for every way of training, and how fast their codes were made."""
    from stages.csm.base import load_base, load_processor
    from stages.csm.codec import encode
    from tools.benchmarks.rows import LONGEST, make_speech, to_notebook, to_rows
    from tools.benchmarks.speech import compare_encoding

    processor, model = load_processor(base.location), load_base(base, device=device)
    speech = make_speech(size.rows, 1, longest=min(LONGEST, size.longest))
    long = make_speech(size.long_rows, 2, shortest=size.longest, longest=size.longest)
    sounds = [one.sound for one in speech]
    encoding = compare_encoding(model, sounds, 60.0, 1, device)
    rows = to_rows(processor, speech, encode(model, sounds))
    longest = to_rows(processor, long, encode(model, [one.sound for one in long]))
    return {"notebook": to_notebook(processor, speech), "codes": rows, "longest": longest}, encoding


def describe(taken, config, recipe: Recipe, peak: float) -> dict:
    from tools.benchmarks.training import share_of_peak

    return {
        "audio_seconds_per_second": taken.speed,
        "share_of_peak": share_of_peak(taken, config, recipe, peak),
        "useful_positions": taken.useful,
        "loading_share": taken.loading / taken.seconds,
        "peak_memory_gib": taken.peak_bytes / GIB,
        "first_loss": taken.losses[0],
        "last_loss": taken.losses[-1],
    }


def train_all(base, recipe: Recipe, material: dict, size: Size, place: tuple[str, str], folder: Path) -> dict:
    """Every way of training, each from the base; the adapter of ours is saved. `place` is (device, dtype)."""
    from stages.csm.lora import check_trainable
    from tools.benchmarks.clock import peak
    from tools.benchmarks.training import held_out_loss, train

    device, dtype = place
    able = peak(device, dtype, size.matrix)
    report: dict = {"peak_tflops": able / 1e12, "dtype": dtype, "optimizer": recipe.optimizer}
    amortised = recipe.model_copy(update={"depth_ratio": 1 / 16})
    brief = recipe.model_copy(update={"max_steps": 2})
    ways = {"notebook": recipe, "codes": recipe, "codes_amortised": amortised, "longest": brief}
    for way, chosen in ways.items():
        model = backend.load_trainable(recipe.backend, base, chosen, dtype)
        report["trainable_parameters"] = check_trainable(model, chosen)[0]
        rows = material["codes" if way == "codes_amortised" else way]
        warm_up = 0 if way == "longest" else size.warm_up
        taken = train(model, rows, chosen, folder / "trainer", dtype, device, warm_up)
        report[way] = describe(taken, backend.unwrapped(model).config, chosen, able)
        if way == "codes":
            report["loss"] = held_out_loss(model, material["longest"], recipe, folder / "trainer", dtype, device)
            with replacing_folder(folder / "adapter") as temporary:
                model.save_pretrained(temporary, save_embedding_layers=False)
        del model
        free(device)
    for way in ("codes", "codes_amortised"):
        speed = report[way]["audio_seconds_per_second"] / report["notebook"]["audio_seconds_per_second"]
        report[way]["times_notebook"] = speed
    return report


def merge_and_speak(base, recipe: Recipe, material: dict, size: Size, place: tuple[str, str], folder: Path) -> dict:
    """Merge the saved adapter, save, load again, and speak both ways; the loss says whether the voice survived."""
    from stages.csm.base import load_csm, load_processor, save_csm
    from stages.csm.device import DTYPES
    from stages.csm.inputs import accept_codes
    from tools.benchmarks.rows import make_speech
    from tools.benchmarks.speech import compare_generation
    from tools.benchmarks.training import held_out_loss

    device, dtype = place
    with replacing_folder(folder / "merged") as temporary:
        save_csm(load_csm(folder / "adapter", dtype=DTYPES[dtype], device=device), temporary)
    model = load_csm(folder / "merged", dtype=DTYPES[dtype], device=device)
    accept_codes(model)
    loss = held_out_loss(model, material["longest"], recipe, folder / "trainer", dtype, device)
    processor, texts = load_processor(base.location), [one.text for one in make_speech(max(size.batches), 3)]
    return {"merged_loss": loss} | {
        f"generate_batch_{batch}": compare_generation(
            model, processor, texts[:batch], size.frames, size.repeats, device
        )
        for batch in size.batches
    }


def whole_way(preset: str, engine: str, base_folder: Path, folder: Path, size: Size, device: str) -> dict:
    """Everything that one back end can show with one preset. Raises Problem if it does not fit what it is for."""
    recipe = recipe_of(preset, engine, size)
    backend.activate(engine)
    # From here on transformers and peft may be imported: Unsloth, if it is used, came first.
    from stages.csm.base import BaseSettings
    from stages.csm.device import training_dtype
    from tools.benchmarks.clock import describe_machine

    base = BaseSettings(path=str(base_folder))
    place = (device, training_dtype(recipe.dtype, device))
    material, encoding = prepare(base, size, device)
    free(device)
    report = {"machine": describe_machine(device), "encode": encoding, "batch_size": recipe.batch_size}
    report |= {"accumulation": recipe.accumulation, "batch_tokens": recipe.batch_tokens}
    report |= train_all(base, recipe, material, size, place, folder)
    report |= merge_and_speak(base, recipe, material, size, place, folder)
    most = max(report[way]["peak_memory_gib"] for way in ("codes", "codes_amortised", "longest"))
    if preset == "t4" and most > T4_GIB:
        raise Problem(f"training with presets/t4.yaml took {most:.1f} GiB, a T4 has {T4_GIB}; lower its batch_size")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", choices=["t4", "h100"])
    parser.add_argument("engine", choices=["peft", "unsloth"])
    parser.add_argument("base", type=Path)
    parser.add_argument("result", type=Path)
    asked = parser.parse_args()
    write_json(
        asked.result,
        whole_way(asked.preset, asked.engine, asked.base, asked.base.parent, Size(), "cuda"),
    )


if __name__ == "__main__":
    run(main, "bench-gpu-part")
