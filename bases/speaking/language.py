"""Train the base's language model on codes: `python -m bases.speaking.language [settle]`.

Can be killed at any time and goes on where it was. With more `steps` in params.yaml it goes on further; new shards of
codes are taken in at every start.
"""

import argparse
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import torch
from transformers import CsmForConditionalGeneration

from bases.speaking.codec_model import codec_config
from bases.speaking.corpus import Spoken, batches, collate, read_spoken
from bases.speaking.folders import data_folder
from bases.speaking.grammar import words
from bases.speaking.language_model import PLAIN_ATTENTION, Losses, Noise, csm_config
from bases.speaking.muon import Muon
from bases.speaking.settings import CodecSettings, LanguageSettings
from bases.speaking.tokens import make_tokenizer
from bases.speaking.training import Average, Schedule, load_state, train
from bases.speaking.utterances import held_out
from stages.csm.base import tie
from stages.files.settings import read_settings
from stages.process.problem import Problem

PARAMS = Path(__file__).with_name("params.yaml")
MEASURED = 96  # held-out utterances


def make_model(settings: LanguageSettings, codec: CodecSettings) -> Losses:
    """An untrained model with the sizes of params.yaml, embeddings tied. Its codec is trained elsewhere."""
    config = csm_config(make_tokenizer(words()), codec_config(codec), **settings.size.model_dump())
    csm = CsmForConditionalGeneration(config)
    tie(csm)
    csm.codec_model = None
    for part in (csm.backbone_model, csm.depth_decoder.model):
        part.set_attn_implementation(PLAIN_ATTENTION)
    return Losses(csm)


def read_all(folder: Path) -> tuple[list[Spoken], list[Spoken]]:
    """All spoken turns to train on, and MEASURED held-out ones spread over the voices."""
    found = [one for path in sorted(folder.glob("*/*.npz")) for one in read_spoken(path)]
    if not found:
        raise Problem(f"{folder}: no codes; run the stage codes first")
    kept = sorted((one for one in found if held_out(one.text)), key=lambda one: (one.text, one.voice))
    return [one for one in found if not held_out(one.text)], kept[:: max(1, len(kept) // MEASURED)][:MEASURED]


def voice_weights(spoken: list[Spoken], rare: float) -> list[float]:
    """How often each turn is drawn: so that a voice's share is its number of turns to the power of 1 - `rare`."""
    counts: dict[str, int] = {}
    for one in spoken:
        counts[one.voice] = counts.get(one.voice, 0) + 1
    return [counts[one.voice] ** -rare for one in spoken]


@torch.inference_mode()
def measure(losses: Losses, kept: list[Spoken]) -> dict[str, float]:
    """Held-out losses; `wrong_text` is what codebook 0 costs more when each row is given another row's text."""
    losses.eval()
    batch = collate(kept)
    right = losses(batch)
    swapped = collate(kept)
    marks = batch.ids[:, 1:2].clone()
    swapped.ids, swapped.texts = batch.ids.roll(1, 0), batch.texts.roll(1, 0)
    swapped.ids[:, 1:2] = marks  # the voice stays, only the words change
    wrong = losses(swapped, 0.01)
    losses.train()
    figures = {f"held_out_{name}": float(value) for name, value in right.items()}
    return figures | {"wrong_text": float(wrong["codebook0"] - right["codebook0"])}


def train_language(folder: Path, settings: LanguageSettings, codec: CodecSettings, phase: str = "language") -> None:
    """Train until `steps`; state and curve lie in `folder`/language.

    The phase `language` learns from the analytic codes, `settle` goes on from its averaged weights with the codes of
    the trained encoder, while the learning rate falls.
    """
    settling = phase == "settle"
    rows, kept = read_all(folder / ("codes-encoder" if settling else "codes"))
    torch.manual_seed(settings.seed)
    losses = make_model(settings, codec).train()
    path = folder / "language" / f"{phase}.pt"
    steps, peak, decay, rare = settings.steps, settings.learning_rate, settings.decay, settings.rare
    if settling:
        last = settings.settle
        steps, peak, decay, rare = last.steps, last.learning_rate, last.steps, last.rare
        copy_average(losses, folder / "language" / "language.pt")
    tables = [weight for name, weight in losses.named_parameters() if "embed" in name or "head" in name]
    optimizer = Muon(losses.parameters(), peak, settings.weight_decay, (0.9, 0.98), tables)
    lengths, weights = [len(one.turn.codes) for one in rows], voice_weights(rows, rare)
    noise = Noise(**settings.noise.model_dump())

    def losses_of(seed: int):
        draws = batches(lengths, weights, settings.batch_size, torch.Generator().manual_seed(seed))

        def following() -> dict[str, torch.Tensor]:
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
                batch = collate([rows[row] for row in next(draws)])
                return losses(batch, settings.depth_ratio, noise, settings.acoustic_slope)

        return following

    def weigh(found: dict[str, torch.Tensor]) -> torch.Tensor:
        return found["codebook0"] + settings.acoustic_weight * found["acoustic"] + settings.word_weight * found["words"]

    schedule = Schedule(steps, peak, settings.warmup, decay, settings.save_steps, settings.seed)
    average = Average(losses, settings.average)
    train(path, losses, optimizer, average, schedule, losses_of, weigh, lambda: measure(losses, kept))


@torch.no_grad()
def copy_average(losses: Losses, path: Path) -> None:
    """Give `losses` the averaged weights of the training whose state lies at `path`."""
    state = load_state(path)
    if state is None:
        raise Problem(f"{path}: no language model yet; run the stage language first")
    for name, weight in losses.named_parameters():
        weight.copy_(state["average"][name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("phase", nargs="?", default="language", choices=["language", "settle"])
    language = read_settings(LanguageSettings, "language", PARAMS)
    codec = read_settings(CodecSettings, "codec", PARAMS)
    train_language(data_folder(), language, codec, parser.parse_args().phase)


if __name__ == "__main__":
    run(main, "language")
