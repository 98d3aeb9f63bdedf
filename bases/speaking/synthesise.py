"""Speak the base's training data: `python -m bases.speaking.synthesise`.

Every voice says sentences of the grammar that the others do not say. What a killed run finished is kept; more `shards`
in params.yaml add to what is there. Kokoro is the slow part: half as long as the speech it makes, on one core.
"""

import zlib
from collections.abc import Iterator
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

from tqdm import tqdm

from bases.speaking.folders import data_folder
from bases.speaking.grammar import sentences
from bases.speaking.hibari_voice import HibariVoice
from bases.speaking.settings import SynthesiseSettings
from bases.speaking.utterances import Utterance, held_out, trimmed, write_shard
from stages.files.settings import read_settings
from stages.process.problem import Problem
from tools.kokoro import Kokoro

PARAMS = Path(__file__).with_name("params.yaml")
HELD_OUT = -1  # in place of a shard's number: sentences for measurements, kept apart


def factor_of(voice: str) -> float:
    """1.25 of h125: by how much a pseudo-speaker is smaller than `heart`."""
    return int(voice[1:]) / 100


def hibari_shard(hibari: HibariVoice, voice: str, shard: int, count: int) -> Iterator[Utterance]:
    factor = factor_of(voice)
    texts = islice(sentences(100_000 + 1000 * shard + round(factor * 100)), count)
    for number, text in enumerate(texts):
        spoken = hibari(text, factor, seed=number)
        yield trimmed(text, spoken.samples, spoken.phonemes, spoken.edges)


def kokoro_shard(kokoro: Kokoro, voice: str, place: int, shard: int, count: int) -> Iterator[Utterance]:
    """`place` is the voice's place in params.yaml: no two voices draw the same sentences."""
    for text in islice(sentences(1000 * (shard + 1) + place), count):
        spoken = kokoro(text, voice)
        yield trimmed(text, spoken.samples, spoken.phonemes, spoken.edges)


def held_out_texts(voice: str, count: int) -> list[str]:
    """Sentences that no voice was trained on, for `voice` to say in measurements."""
    seed = 10_000_000 + zlib.crc32(voice.encode())
    return list(islice((text for text in sentences(seed) if held_out(text)), count))


def held_out_shard(hibari: HibariVoice, kokoro: Kokoro, voice: str, count: int) -> Iterator[Utterance]:
    for number, text in enumerate(held_out_texts(voice, count)):
        slow = voice in kokoro.styles
        spoken = kokoro(text, voice) if slow else hibari(text, factor_of(voice), seed=number)
        yield trimmed(text, spoken.samples, spoken.phonemes, spoken.edges)


def missing(folder: Path, settings: SynthesiseSettings) -> list[tuple[str, int]]:
    """(voice, shard) still to be made, the first shards of all voices before the second ones."""
    wanted = [(voice, shard) for voice in settings.kokoro.voices for shard in range(settings.kokoro.shards)]
    wanted += [(voice, shard) for voice in settings.hibari.voices for shard in range(settings.hibari.shards)]
    wanted += [(voice, HELD_OUT) for voice in [*settings.kokoro.voices, *settings.hibari.voices, settings.target]]
    return sorted((pair for pair in wanted if not shard_path(folder, *pair).is_file()), key=lambda pair: pair[1])


def shard_path(folder: Path, voice: str, shard: int) -> Path:
    if shard == HELD_OUT:
        return folder / "held-out" / f"{voice}.npz"
    return folder / "speech" / voice / f"{shard:03d}.npz"


def _prepare(folder: Path, settings: SynthesiseSettings) -> None:
    global _speakers  # one pair of synthesisers per process
    kokoro = Kokoro(folder / settings.styles, folder / "kokoro.onnx")
    _speakers = HibariVoice(folder / "hibari.onnx"), kokoro, folder, settings


def _make(pair: tuple[str, int]) -> None:
    (hibari, kokoro, folder, settings), (voice, shard) = _speakers, pair
    if shard == HELD_OUT:
        found = held_out_shard(hibari, kokoro, voice, settings.held_out)
    elif voice in settings.kokoro.voices:
        place = settings.kokoro.voices.index(voice)
        found = kokoro_shard(kokoro, voice, place, shard, settings.kokoro.sentences)
    else:
        found = hibari_shard(hibari, voice, shard, settings.hibari.sentences)
    write_shard(shard_path(folder, voice, shard), found)


def main() -> None:
    folder, settings = data_folder(), read_settings(SynthesiseSettings, "synthesise", PARAMS)
    if heard := {settings.target, "af_heart"} & set(settings.kokoro.voices):
        raise Problem(f"{PARAMS.name}: synthesise.kokoro.voices holds {heard.pop()}, which the base must not hear")
    todo = missing(folder, settings)
    if not todo:
        return
    _prepare(folder, settings)  # here first, so that only one process builds the models
    with get_context("spawn").Pool(settings.processes, _prepare, (folder, settings)) as pool:
        for _ in tqdm(pool.imap_unordered(_make, todo), total=len(todo), desc="speech", unit="shard"):
            pass


if __name__ == "__main__":
    run(main, "synthesise")
