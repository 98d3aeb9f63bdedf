"""Speak a text with the merged voice into a wav file.

    python -m tools.say "Good morning." [--context monday-0012340] [--out say.wav] [--seed 0] [--speaker 0]

With --context the voice hears that row of the training data first, which clones its manner. How it speaks otherwise
(temperature, top_k, device) is what `evaluate` in params.yaml says.
"""

import argparse
import difflib
from pathlib import Path

from stages.process.stage import run  # isort: skip  (fixes OMP_NUM_THREADS before torch is imported)

import numpy as np
import soundfile as sf

from stages.csm.base import load_csm, load_processor
from stages.csm.codec import FRAME_SECONDS, SAMPLING_RATE, decode
from stages.csm.device import torch_device
from stages.csm.generate import Clip, generate
from stages.csm.turns import Prompt, Turn, read_coded, text_ids
from stages.files.atomic import replacing
from stages.files.rows import Row
from stages.files.settings import read_settings
from stages.process.problem import Problem
from stages.scoring.settings import EvaluateSettings

MODEL, ROWS = Path("models/merged"), Path("data/codes/train.parquet")
SECONDS_PER_CHARACTER = 0.2  # three times the usual: slow speech still ends by itself


def find_row(row_id: str) -> tuple[Row, Turn]:
    """The training row to hear first. Raises Problem with the nearest ids for one that is not there."""
    rows = {row.id: (row, turn) for row, turn in read_coded(ROWS)}
    if row_id in rows:
        return rows[row_id]
    near = difflib.get_close_matches(row_id, rows, n=3, cutoff=0.4) or sorted(rows)[:3]
    raise Problem(f"CONTEXT={row_id}: no such row in {ROWS}; there is {', '.join(near)} (of {len(rows)})")


def usual_speaker() -> int:
    """The speaker id that most training rows have; 0 when they are not here."""
    if not ROWS.is_file():
        return 0
    sources = [row.source for row, _ in read_coded(ROWS)]
    return max(set(sources), key=sources.count)


def frames_for(text: str, context: tuple[Turn, ...], prompt_length: int, positions: int) -> int:
    """How many frames the voice may take: enough for slow speech, within the model's `positions`."""
    room = positions - sum(turn.length for turn in context) - prompt_length - 1
    if room < 1:
        raise Problem(f"the text and its context take all of the model's {positions} positions; say less at a time")
    return min(round(max(2.0, len(text) * SECONDS_PER_CHARACTER) / FRAME_SECONDS), room)


def speak(text: str, context: str | None, seed: int, speaker: int | None) -> tuple[Clip, np.ndarray]:
    """The clip and its samples (n,) float32 at 24 kHz."""
    text = " ".join(text.split())
    if not text:
        raise Problem('TEXT is empty; say something: make say TEXT="Good morning."')
    if not (MODEL / "config.json").is_file():
        raise Problem(f"{MODEL}: there is no voice yet; run `make repro`, or `make pull REMOTE=...`")
    settings = read_settings(EvaluateSettings, "evaluate")
    row, turn = find_row(context) if context else (None, None)
    if speaker is None:
        speaker = row.source if row else usual_speaker()
    processor = load_processor(MODEL)
    model = load_csm(MODEL, device=torch_device(settings.device))
    heard = (turn,) if turn else ()
    prompt = Prompt(text_ids(processor, text, speaker), heard)
    limit = frames_for(text, heard, len(prompt.text_ids), model.config.max_position_embeddings)
    sampling = {"temperature": settings.temperature, "top_k": settings.top_k, "seed": seed}
    [clip] = generate(model, [prompt], max_frames=limit, batch_size=1, **sampling)
    return clip, decode(model, clip.codes)


def check_out(out: str) -> Path:
    """The file to write. Raises Problem for a name that is no wav, or a folder that is not there."""
    path = Path(out)
    if path.suffix.lower() != ".wav" or not path.parent.is_dir():
        raise Problem(f"OUT={out}: name a .wav file in a folder that is there")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Speak a text with the merged voice.")
    parser.add_argument("text")
    parser.add_argument("--context", default="", help="id of a training row to hear first")
    parser.add_argument("--out", default="say.wav")
    parser.add_argument("--seed", type=int, default=0, help="another number, another way to say it")
    parser.add_argument("--speaker", type=int, help="speaker id, when the data has several")
    asked = parser.parse_args()
    path = check_out(asked.out)
    clip, samples = speak(asked.text, asked.context or None, asked.seed, asked.speaker)
    if not len(samples):
        raise Problem(f"the voice ended before it said anything; try another SEED than {asked.seed}")
    with replacing(path) as temporary:
        sf.write(temporary, samples, SAMPLING_RATE, "PCM_16")
    cut = "" if clip.stopped else "; it did not end by itself and was cut"
    print(f"{path}: {len(samples) / SAMPLING_RATE:.1f} s{cut}")


if __name__ == "__main__":
    run(main, "say")
