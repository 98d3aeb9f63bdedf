"""Measure the real shapes on a GPU, beside the notebook's way: `make bench-gpu`.

    python -m tools.bench_gpu [--presets t4 h100]

CSM-1B's shapes with random weights, so nothing is downloaded: load, LoRA through the preset, train, save, merge,
generate; with PEFT and, where it is installed, Unsloth. Writes reports/bench-gpu.json with device and versions.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from stages.process.stage import run, work_folder  # isort: skip  (first: it fixes the number of threads)

import torch

from stages.files.atomic import replacing_folder, write_json
from stages.process.problem import Problem

REPORT = Path("reports/bench-gpu.json")


def published_shapes(tokenizer):
    """The published model's configuration, with the special ids of the tiny base's tokenizer, all below its 128256."""
    from transformers import CsmConfig

    return CsmConfig(
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        audio_token_id=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
        audio_eos_token_id=tokenizer.convert_tokens_to_ids("<|audio_eos|>"),
    )


def write_base(folder: Path, shapes, device: str, seed: int = 0) -> None:
    """A CSM with the configuration that `shapes` makes for the tiny base's tokenizer, and random weights, in 16 bit."""
    from transformers import CsmForConditionalGeneration, CsmProcessor, EncodecFeatureExtractor

    from stages.csm.base import save_csm
    from stages.csm.codec import SAMPLING_RATE
    from tools.tiny_base import TEMPLATE, tokenizer

    found = tokenizer()
    torch.manual_seed(seed)
    with torch.device(device):
        model = CsmForConditionalGeneration(shapes(found))
    for name, table in model.codec_model.named_buffers():
        if name.endswith("embed_sum"):
            table.normal_()  # empty code books would make every code 0, and that frame is the end of speech
    for generation in (model.generation_config, model.depth_decoder.generation_config):
        generation.suppress_tokens = list(range(model.config.codec_config.codebook_size, model.config.vocab_size))
    extractor = EncodecFeatureExtractor(feature_size=1, sampling_rate=SAMPLING_RATE)
    with replacing_folder(folder) as temporary:
        save_csm(model.to(torch.bfloat16), temporary)
        CsmProcessor(extractor, found, chat_template=TEMPLATE).save_pretrained(temporary)


def measure(preset: str, engine: str, base: Path) -> dict:
    """The report of one back end with one preset, from a process of its own."""
    result = base.parent / f"{preset}-{engine}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tools.benchmarks.gpu", preset, engine, str(base), str(result)]
    if subprocess.run(command).returncode or not result.is_file():
        raise Problem(f"the {engine} run with presets/{preset}.yaml failed; its message is above")
    return json.loads(result.read_text())


def table(reports: dict) -> str:
    """One line per preset, back end and way of training."""
    lines = []
    for name, report in reports.items():
        lines.append(f"{name}: {report['machine'].get('gpu', 'CPU')}, {report['dtype']}")
        for way in ("notebook", "codes", "codes_amortised", "longest"):
            found = report[way]
            lines.append(
                f"  {way:16}{found['audio_seconds_per_second']:8.0f} s of speech/s"
                f"{found['share_of_peak']:6.0%} of {report['peak_tflops']:.0f} TFLOP/s"
                f"{found['peak_memory_gib']:7.1f} GiB{found['useful_positions']:6.0%} useful"
            )
        for key, found in report.items():
            if key.startswith("generate_batch_"):
                lines.append(f"  speaking, batch {found['batch']:<3}{found['ratio']:5.1f} times the stock speed")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", choices=["t4", "h100"], default=["t4", "h100"])
    presets = parser.parse_args().presets
    if not torch.cuda.is_available():
        raise Problem("no GPU is to be found; run `make bench-gpu` on a GPU box, `make bench` measures on any CPU")
    base = work_folder() / "bench-gpu" / "base"
    if not base.is_dir():
        write_base(base, published_shapes, "cuda")
        torch.cuda.empty_cache()
    engines = ["peft"] + (["unsloth"] if importlib.util.find_spec("unsloth") else [])
    reports = {f"{preset} {engine}": measure(preset, engine, base) for preset in presets for engine in engines}
    write_json(REPORT, reports, decimals=4)
    print(table(reports))


if __name__ == "__main__":
    run(main, "bench-gpu")
