"""Turn the base's speech into codes: `python -m bases.speaking.codes [encoder]`.

At first the codes are the analytic ones, fitted here to the first shards; with `encoder` they come from the trained
Mimi encoder, as a user's recordings will. What is coded already is kept.
"""

import argparse
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import numpy as np
import torch
from tqdm import tqdm

from bases.speaking.acoustics import HOP, STACK, mel_of
from bases.speaking.analytic import Analytic, fit
from bases.speaking.codec import load_codec
from bases.speaking.corpus import Spoken, frame_words, write_spoken
from bases.speaking.folders import data_folder
from bases.speaking.grammar import words
from bases.speaking.settings import CodecSettings, LanguageSettings, SynthesiseSettings
from bases.speaking.tokens import make_processor
from bases.speaking.utterances import Utterance, held_out, read_shard
from stages.csm.turns import Turn, text_ids
from stages.files.atomic import replacing
from stages.files.settings import read_settings
from stages.process.problem import Problem

PARAMS = Path(__file__).with_name("params.yaml")
SHIFTS = {"hibari": 2, "kokoro": 6}  # how many times an utterance is coded, each time cut into other frames
Coder = Callable[[np.ndarray], np.ndarray]


def fit_analytic(folder: Path, settings: CodecSettings) -> Analytic:
    """Fit the analytic codec to the training texts of every voice: its first shard, of Kokoro's all, three times."""
    found = []
    for voice in sorted(path for path in (folder / "speech").glob("*") if path.is_dir()):
        fast = voice.name.startswith("h")
        for path in sorted(voice.glob("*.npz"))[: 1 if fast else None]:
            for one in read_shard(path):
                if not held_out(one.text):
                    found += [(mel_of(one.sound), one.phonemes, one.edges)] * (1 if fast else 3)
    if not found:
        raise Problem(f"{folder / 'speech'}: no speech; run the stage synthesise first")
    return fit(found, settings.codebooks, settings.entries, settings.content_steps, settings.seed)


def analytic_coder(analytic: Analytic) -> Coder:
    return lambda sound: analytic.quantise(analytic.latent(mel_of(sound)))


def encoder_coder(codec) -> Coder:
    @torch.inference_mode()
    def code(sound: np.ndarray) -> np.ndarray:
        padded = np.pad(sound, (0, -len(sound) % (HOP * STACK)))
        return codec.encode(torch.from_numpy(padded)[None, None]).audio_codes[0].T.numpy().astype(np.int16)

    return code


def coded(one: Utterance, voice: str, mark: int, times: int, processor, coder: Coder, draw) -> Iterator[Spoken]:
    """One utterance as turns of the speaker with number `mark`, each beginning in another part of a frame."""
    tokenizer = processor.tokenizer
    names = [tokenizer(word.strip(".,?"), add_special_tokens=False)["input_ids"][-1] for word in one.text.split()]
    for _ in range(times):
        steps = int(draw.integers(STACK))
        codes = coder(np.concatenate([np.zeros(steps * HOP, np.float32), one.sound]))
        spoken = frame_words(names, one.phonemes, one.edges, len(codes), steps)
        yield Spoken(voice, one.text, Turn(text_ids(processor, one.text, mark), codes), spoken)


def code_all(
    folder: Path, target: Path, settings: SynthesiseSettings, coder: Coder, hibari_shards: int | None = None
) -> None:
    """Write the codes of every shard of speech that has none yet to `target`/<voice>; of hibari's the first few."""
    voices = [*settings.hibari.voices, *settings.kokoro.voices]
    processor = make_processor(words())
    paths = sorted((folder / "speech").glob("*/*.npz"), key=lambda path: (path.stem, path.parent.name))
    if hibari_shards is not None:
        last = f"{hibari_shards:03d}"
        paths = [path for path in paths if path.parent.name not in settings.hibari.voices or path.stem < last]
    todo = [path for path in paths if not (target / path.parent.name / path.name).is_file()]
    for path in tqdm(todo, desc="codes", unit="shard"):
        voice, out = path.parent.name, target / path.parent.name / path.name
        if voice not in voices:
            raise Problem(f"{path.parent}: a voice that params.yaml does not name; remove the folder")
        draw = np.random.default_rng(zlib.crc32(f"{voice}/{path.name}".encode()))
        times = SHIFTS["hibari" if voice in settings.hibari.voices else "kokoro"]
        found = []
        for one in read_shard(path):
            found += coded(one, voice, voices.index(voice), times, processor, coder, draw)
        write_spoken(out, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="analytic", choices=["analytic", "encoder"])
    folder, settings = data_folder(), read_settings(CodecSettings, "codec", PARAMS)
    synthesise = read_settings(SynthesiseSettings, "synthesise", PARAMS)
    path = folder / "analytic.pt"
    if parser.parse_args().source == "encoder":
        settle = read_settings(LanguageSettings, "language", PARAMS).settle
        coder = encoder_coder(load_codec(folder, settings))
        code_all(folder, folder / "codes-encoder", synthesise, coder, settle.hibari_shards)
        return
    if not path.is_file():
        with replacing(path) as temporary:
            fit_analytic(folder, settings).save(temporary)
    code_all(folder, folder / "codes", synthesise, analytic_coder(Analytic.load(path)))


if __name__ == "__main__":
    run(main, "codes")
