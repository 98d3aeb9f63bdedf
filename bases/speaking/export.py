"""Write the base as a checkpoint: `python -m bases.speaking.export [FOLDER]` (default: bases/tiny).

In transformers' format, 16 bit, with the processor. The table of audio embeddings is written once, as in the published
CSM checkpoint; `stages.csm.base.load_csm` shares it again. exported.json says what it was made of.
"""

import argparse
import hashlib
import shutil
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import torch
from transformers import CsmForConditionalGeneration

from bases.speaking.codec import load_codec
from bases.speaking.folders import data_folder
from bases.speaking.grammar import words
from bases.speaking.language import copy_average, make_model
from bases.speaking.settings import CodecSettings, ExportSettings, LanguageSettings
from bases.speaking.tokens import make_processor
from bases.speaking.training import load_state
from stages.csm.base import tie
from stages.files.atomic import replacing_folder, write_json
from stages.files.settings import read_settings
from stages.process.problem import Problem

HERE = Path(__file__).parent
PARAMS = HERE / "params.yaml"
LIMITS = """\
It speaks only the sentences of a narrow grammar: some 160 words - names, colours, things, places, numbers, days - such
as "Anna found the small red boat near the river." Other words are spelled by letters and come out as babble. It was
trained on synthetic voices, through a codec small enough for a laptop that leaves part of every voice behind, and never
on a sentence after another: it does not clone from a context. A base to hear the pipeline work on, not a voice to use.
"""
LIMIT = 25e6  # bytes that the base may take in git
PARTS = ["language/language", "language/settle", "codec/decoder", "codec/encoder"]


@torch.no_grad()
def assemble(folder: Path, language: LanguageSettings, codec: CodecSettings) -> CsmForConditionalGeneration:
    """One model of what the trainings reached: averaged weights everywhere, embeddings tied, float32."""
    settled = folder / "language" / "settle.pt"
    losses = make_model(language, codec)
    copy_average(losses, settled if settled.is_file() else settled.with_name("language.pt"))
    model = CsmForConditionalGeneration(losses.csm.config)
    tie(model)
    model.load_state_dict(losses.csm.state_dict(), strict=False)
    model.codec_model.load_state_dict(load_codec(folder, codec).state_dict())
    return model.eval()


def set_generation(model: CsmForConditionalGeneration, settings: ExportSettings, entries: int) -> None:
    """How the checkpoint speaks when nothing else is asked for."""
    for generation in (model.generation_config, model.depth_decoder.generation_config):
        generation.do_sample, generation.top_k, generation.temperature = True, settings.top_k, settings.temperature
        generation.suppress_tokens = list(range(entries, entries + 3))
        generation._from_model_config = False  # else the depth decoder's settings are dropped on load
    model.generation_config.max_new_tokens = settings.max_frames


def write(model: CsmForConditionalGeneration, target: Path) -> int:
    """Save model and processor; gives the bytes taken. Raises Problem when they are too many."""
    with replacing_folder(target) as temporary:
        model.to(torch.float16).save_pretrained(temporary)
        make_processor(words()).save_pretrained(temporary)
        (temporary / "limits.txt").write_text(LIMITS, encoding="utf-8")
        size = sum(file.stat().st_size for file in temporary.rglob("*") if file.is_file())
        if size > LIMIT:
            raise Problem(f"the base takes {size / 1e6:.1f} MB, more than {LIMIT / 1e6:.0f}; make it smaller")
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=HERE.parent / "tiny")
    target, folder = parser.parse_args().folder, data_folder()
    codec = read_settings(CodecSettings, "codec", PARAMS)
    model = assemble(folder, read_settings(LanguageSettings, "language", PARAMS), codec)
    set_generation(model, read_settings(ExportSettings, "export", PARAMS), codec.entries)
    size = write(model, target)
    steps = {}
    for name in PARTS:
        if state := load_state(folder / f"{name}.pt"):
            steps[Path(name).name] = {"steps": state["step"], "cpu_seconds": round(state["seconds"])}
            (HERE / "curves").mkdir(exist_ok=True)
            shutil.copyfile(folder / f"{name}.csv", HERE / "curves" / f"{Path(name).name}.csv")
    digest = hashlib.sha256((target / "model.safetensors").read_bytes()).hexdigest()
    write_json(HERE / "exported.json", {"bytes": size, "sha256": digest, "trainings": steps})
    print(f"{target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main, "export")
