"""Merge the adapter into the base, in 16 bit, and refuse to finish unless both say the same.

    python -m stages.merge

Reads models/adapter, the base model and a few validation rows. Writes models/merged (model and processor, loadable by
any reader of CSM) and reports/merge.json with the largest differences of logits.
"""

import json
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import torch
from peft import PeftModel

from stages.csm.base import BaseSettings, load_base, load_csm, load_processor, resolved, save_csm
from stages.csm.device import DTYPES
from stages.csm.inputs import accept_codes, collate
from stages.csm.turns import Turn, read_coded
from stages.files.atomic import replacing_folder, write_json
from stages.files.settings import Settings, read_settings
from stages.process.problem import Problem

CODES, ADAPTER, MERGED, REPORT = (
    Path("data/codes"),
    Path("models/adapter"),
    Path("models/merged"),
    Path("reports/merge.json"),
)
ROWS = 4  # enough to reach every layer; more rows find nothing else


class MergeSettings(Settings):
    """See `merge` in params.yaml."""

    dtype: str
    tolerance: float
    rounding_tolerance: float


@torch.inference_mode()
def logits(model, turns: list[Turn]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of codebook 0 at the labelled positions and of the acoustic codebooks at every frame, float32."""
    batch = collate([[turn] for turn in turns], model.config)
    outputs = model(**batch)
    heard = batch["attention_mask"].bool()
    return outputs.logits[heard].float(), outputs.depth_decoder_logits.float()


def difference(first: tuple[torch.Tensor, ...], second: tuple[torch.Tensor, ...]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


def distance(first: tuple[torch.Tensor, ...], second: tuple[torch.Tensor, ...]) -> float:
    """Root mean square of the differences, as a share of the spread of the logits themselves."""
    return max(float((a - b).square().mean().sqrt() / a.std()) for a, b in zip(first, second, strict=True))


def agreement(first: tuple[torch.Tensor, ...], second: tuple[torch.Tensor, ...]) -> float:
    """Share of positions at which both would choose the same code."""
    same = torch.cat([(a.argmax(-1) == b.argmax(-1)).reshape(-1) for a, b in zip(first, second, strict=True)])
    return float(same.float().mean())


def attach(model, base: BaseSettings):
    """The trained model: the base with the adapter attached or, after full training, the model that was saved."""
    record = ADAPTER / "adapter_config.json"
    if not record.is_file():
        trained = load_csm(ADAPTER)
        accept_codes(trained)
        return trained
    trained_on = json.loads(record.read_text())["base_model_name_or_path"]
    if trained_on != base.location:
        raise Problem(f"{ADAPTER} is an adapter of {trained_on}, but base names {base.location}; run `dvc repro train`")
    try:
        return PeftModel.from_pretrained(model, ADAPTER).eval()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise Problem(f"{ADAPTER} does not fit {base.location} ({reason}); run `dvc repro --force train`") from error


def check(name: str, found: float, allowed: float) -> None:
    if not found <= allowed:
        raise Problem(
            f"the merged model is not the trained one: logits differ by {found:.2g}, "
            f"merge.{name} allows {allowed:.2g}; nothing was written"
        )


def main() -> None:
    base = resolved(read_settings(BaseSettings, "base"), CODES)
    settings = read_settings(MergeSettings, "merge")
    turns = [turn for _, turn in read_coded(CODES / "validation.parquet")][:ROWS]
    model = load_base(base)
    accept_codes(model)
    untouched = logits(model, turns)
    adapted = attach(model, base)
    trained = logits(adapted, turns)
    merged = adapted.merge_and_unload() if isinstance(adapted, PeftModel) else adapted
    exact = difference(trained, logits(merged, turns))
    check("tolerance", exact, settings.tolerance)
    with replacing_folder(MERGED) as temporary:
        save_csm(merged.to(DTYPES[settings.dtype]), temporary)
        load_processor(base.location, base.revision).save_pretrained(temporary)
        reloaded = load_csm(temporary)
        accept_codes(reloaded)
        rounded = logits(reloaded, turns)
        check("rounding_tolerance", distance(trained, rounded), settings.rounding_tolerance)
    report = {
        "logits_difference": exact,
        "logits_difference_on_disk": difference(trained, rounded),
        "logits_distance_on_disk": distance(trained, rounded),
        "same_choice_on_disk": agreement(trained, rounded),
        "logits_moved_by_training": difference(untouched, trained),
    }
    write_json(REPORT, report)
    print(f"merged: logits differ by {exact:.2g}, by {report['logits_difference_on_disk']:.2g} as written")


if __name__ == "__main__":
    run(main, "merge")
