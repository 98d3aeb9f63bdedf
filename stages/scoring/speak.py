"""Every sentence spoken in a condition, batch by batch; a finished batch is never generated twice."""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from tqdm import tqdm

from stages.audio.sound import read_sound
from stages.csm.codec import FRAME_SECONDS, decode
from stages.csm.generate import generate
from stages.csm.turns import Prompt, Turn
from stages.files.atomic import replacing
from stages.process.problem import Problem
from stages.scoring.conditions import BEFORE_AFTER, GT, GT_CODEC, Condition
from stages.scoring.sentences import Sentence
from stages.scoring.settings import EvaluateSettings
from stages.scoring.store import Store, code_digest


@dataclass(frozen=True, eq=False)
class Utterance:
    """One clip: a sentence in a condition. `codes` and `stopped` are None for recorded sound, and so is `seed`.

    `load` gives the samples (n,) float32 at 24 kHz; n may be 0.
    """

    condition: str
    sentence: Sentence
    load: Callable[[], np.ndarray]
    seed: int | None = None
    codes: np.ndarray | None = None
    stopped: bool | None = None


def recorded(sentences: Sequence[Sentence], codec_folder: str | Path = "data/codec") -> list[Utterance]:
    """The references: recordings, and their codec round trips from `codec_folder`/<row id>.flac."""
    clips = [Utterance(GT, sentence, sentence.recording) for sentence in sentences]
    for sentence in sentences:
        path = Path(codec_folder) / f"{sentence.row.id}.flac"
        clips.append(Utterance(GT_CODEC, sentence, partial(read_sound, path)))
    return clips


def fingerprint(model) -> str:
    """A hash of a model's configuration and of all its weights, wherever they were loaded from."""
    sha = hashlib.sha256(model.config.to_json_string().encode())
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


def _turn_digest(turn: Turn) -> str:
    return hashlib.sha256(np.array(turn.text_ids, np.int64).tobytes() + b"|" + turn.codes.tobytes()).hexdigest()


def _save(path: Path, clips, sounds) -> None:
    """Write a batch; codes as they came, sound as float32."""
    arrays = {f"codes_{place}": clip.codes for place, clip in enumerate(clips)}
    arrays |= {f"sound_{place}": sound for place, sound in enumerate(sounds)}
    buffer = io.BytesIO()
    np.savez(buffer, stopped=np.array([clip.stopped for clip in clips]), **arrays)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _load(path: Path, name: str) -> np.ndarray:
    with np.load(path) as arrays:
        return arrays[name]


def speak(
    model,
    condition: Condition,
    sentences: Sequence[Sentence],
    contexts: Mapping[int, Sequence[Sentence]],
    settings: EvaluateSettings,
    store: Store,
) -> list[Utterance]:
    """Every sentence with every seed. Texts, seeds, batches and sampling are the same for all conditions.

    contexts: speaker id -> the training rows heard first; used when the condition wants them.
    """
    made_by = {
        "weights": fingerprint(model),
        "code": code_digest("stages.csm", "stages.scoring.speak"),
        "libraries": [torch.__version__, transformers.__version__, str(model.device)],
    }
    options = {
        "max_frames": int(settings.max_seconds / FRAME_SECONDS),
        "temperature": settings.temperature,
        "top_k": settings.top_k,
    }
    starts = range(0, len(sentences), settings.batch_size)
    spoken = []
    with tqdm(total=len(sentences) * len(settings.seeds), desc=condition.name, unit="clip") as bar:
        for seed in settings.seeds:
            for number, start in enumerate(starts):
                batch = sentences[start : start + settings.batch_size]
                prompts = [_prompt(sentence, contexts if condition.context else {}) for sentence in batch]
                chosen = options | {"seed": seed * 100_003 + number}  # no two batches share their noise
                turns = [[prompt.text_ids, *map(_turn_digest, prompt.context)] for prompt in prompts]
                path = store.path("clips", made_by | chosen | {"turns": turns}, ".npz")
                if not path.exists():
                    clips = generate(model, prompts, batch_size=len(prompts), **chosen)
                    _save(path, clips, [decode(model, clip.codes) for clip in clips])
                spoken += _utterances(path, condition, batch, seed)
                bar.update(len(batch))
    return spoken


def _prompt(sentence: Sentence, contexts: Mapping[int, Sequence[Sentence]]) -> Prompt:
    heard = contexts.get(sentence.row.source, ())
    return Prompt(sentence.turn.text_ids, tuple(before.turn for before in heard))


def _utterances(path: Path, condition: Condition, batch: Sequence[Sentence], seed: int) -> list[Utterance]:
    with np.load(path) as arrays:
        stopped = arrays["stopped"].tolist()
        codes = [arrays[f"codes_{place}"] for place in range(len(batch))]
    return [
        Utterance(condition.name, sentence, partial(_load, path, f"sound_{place}"), seed, codes[place], stopped[place])
        for place, sentence in enumerate(batch)
    ]


TELLING = 25  # frames, 2 s: a base that falls silent after a context says less, and after a short training the same


def check_tuning_has_effect(utterances: Sequence[Utterance]) -> None:
    """Raise Problem when tuned and untuned speech have the same codes throughout, at equal texts and seeds.

    Each condition is compared with its own before; those that say fewer than TELLING frames only all together.
    """
    by_condition: dict[str, list[np.ndarray]] = {}
    for utterance in utterances:
        if utterance.codes is not None:
            by_condition.setdefault(utterance.condition, []).append(utterance.codes)
    pairs = {names: list(zip(*map(by_condition.get, names), strict=True)) for names in BEFORE_AFTER}
    said = {names: sum(len(codes) for pair in found for codes in pair) for names, found in pairs.items()}
    telling = {names: found for names, found in pairs.items() if said[names] >= TELLING}
    together = {("the base", "the tuned voice"): [pair for found in pairs.values() for pair in found]}
    for (before, after), found in (telling or together).items():
        if any(said.values()) and all(np.array_equal(*pair) for pair in found):
            raise Problem(
                f"{after} speaks exactly like {before} at equal seeds: the adapter has no effect on models/merged; "
                "check that training changed it (reports/train.json) and run `dvc repro --force train merge`"
            )
