"""Measure the base in bases/tiny: `python -m bases.speaking.report` prints its figures and writes report.json.

All on sentences that nothing was trained on, and nothing is picked: the codec there and back for every voice and for
the target, which the base never heard; then the base's own voices, once with every seed; then what `make repro` made of
the base, against those voices. Intervals are 95 %, by bootstrap over the clips.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import numpy as np

from bases.speaking.folders import data_folder
from bases.speaking.listening import (
    Ears,
    Heard,
    interval,
    nearest_share,
    similarity,
    speak,
    stop_rate,
    to_say,
    word_error_rate,
)
from bases.speaking.rivals import against_voices
from bases.speaking.settings import ReportSettings, SynthesiseSettings
from bases.speaking.utterances import Utterance, read_shard
from stages.csm.base import BaseSettings, load_base, load_csm, load_processor
from stages.csm.codec import SAMPLING_RATE, decode, encode
from stages.files.atomic import write_json
from stages.files.settings import read_settings
from stages.process.problem import Problem
from stages.scoring.sentences import read_sentences
from stages.scoring.speaker import centroid

HERE = Path(__file__).parent
PARAMS = HERE / "params.yaml"
MERGED = Path("models/merged")


def read_held_out(folder: Path, settings: SynthesiseSettings) -> dict[str, list[Utterance]]:
    """The measurement's sentences by voice, in the order of the speakers' marks, the target last."""
    voices = [*settings.hibari.voices, *settings.kokoro.voices, settings.target]
    paths = {voice: folder / "held-out" / f"{voice}.npz" for voice in voices}
    for path in paths.values():
        if not path.is_file():
            raise Problem(f"{path}: no such file; run the stage synthesise first")
    return {voice: list(read_shard(path)) for voice, path in paths.items()}


def confused(back: Sequence[Heard], own: Mapping[int, float], centres: Mapping[str, np.ndarray]) -> list[str]:
    """Voices whose clips `back` are on average nearer to another voice's centre than, by `own`, to their originals."""
    found = []
    for voice in centres:
        clips = [one for one in back if one.voice == voice]
        near = {other: np.mean([float(centre @ one.embedding) for one in clips]) for other, centre in centres.items()}
        near[voice] = np.mean([own[id(one)] for one in clips])
        if max(near, key=near.get) != voice:
            found.append(voice)
    return found


def round_trip(model, held_out: dict[str, list[Utterance]], ears: Ears, draws: int) -> dict:
    """Encode and decode every utterance; similarity is to the utterance itself."""
    pairs = [(voice, one) for voice, found in held_out.items() for one in found]
    originals = [ears.listen(voice, one.text, one.sound) for voice, one in pairs]
    codes = encode(model, [one.sound for _, one in pairs])
    back = [ears.listen(voice, one.text, decode(model, code)) for (voice, one), code in zip(pairs, codes, strict=True)]
    voices = {voice: [one.embedding for one in originals if one.voice == voice] for voice in held_out}
    centres = {voice: centroid(found) for voice, found in voices.items()}
    own = {id(made): float(made.embedding @ true.embedding) for made, true in zip(back, originals, strict=True)}
    others = {
        id(made): max(float(centre @ made.embedding) for voice, centre in centres.items() if voice != made.voice)
        for made in back
    }
    figures = {
        "word_errors_of_originals": interval(originals, word_error_rate, draws),
        "word_errors": interval(back, word_error_rate, draws),
        "similarity": interval(back, lambda some: float(np.mean([own[id(one)] for one in some])), draws),
        "above_others": interval(
            back, lambda some: float(np.mean([own[id(one)] > others[id(one)] for one in some])), draws
        ),
    }
    target = [one for one in back if one.voice == list(held_out)[-1]]
    nearest = max(float(centres[voice] @ centres[target[0].voice]) for voice in list(held_out)[:-1])
    figures["confused_voices"] = confused(back, own, centres)
    figures["target_word_errors"] = interval(target, word_error_rate, draws)
    figures["target_similarity"] = interval(target, lambda some: float(np.mean([own[id(one)] for one in some])), draws)
    return {"clips": len(back), **figures, "nearest_base_voice_to_target": nearest}


def own_voices(model, processor, held_out: dict[str, list[Utterance]], ears: Ears, settings: ReportSettings) -> dict:
    """Let every voice of the base say its held-out sentences; voices are told by their real recordings' centroids."""
    voices = list(held_out)[:-1]
    wanted = [to_say(processor, one.text, mark, voice) for mark, voice in enumerate(voices) for one in held_out[voice]]
    centres = {voice: centroid([ears.embed(one.sound) for one in held_out[voice]]) for voice in voices}
    heard, spent, seconds = [], 0.0, 0.0
    for seed in settings.seeds:
        begun = time.process_time()
        clips = speak(model, wanted, settings.temperature, settings.top_k, seed)
        sounds = [decode(model, clip.codes) for clip in clips]
        spent += time.process_time() - begun
        seconds += sum(map(len, sounds)) / SAMPLING_RATE
        heard += [
            ears.listen(one.voice, one.text, sound, clip.stopped)
            for one, sound, clip in zip(wanted, sounds, clips, strict=True)
        ]
    print(f"speed: {seconds / spent:.1f} s of speech in a second of one core, in batches")
    by_voice = {voice: [one for one in heard if one.voice == voice] for voice in voices}
    return {
        "clips": len(heard),
        "word_errors": interval(heard, word_error_rate, settings.draws),
        "stopped": interval(heard, stop_rate, settings.draws),
        "nearest": interval(heard, lambda some: nearest_share(some, centres), settings.draws),
        "similarity": interval(heard, lambda some: similarity(some, centres), settings.draws),
        "by_voice": {voice: word_error_rate(some) for voice, some in by_voice.items()},
        "by_seed": [
            word_error_rate(heard[place * len(wanted) : (place + 1) * len(wanted)])
            for place in range(len(settings.seeds))
        ],
    }


def alone(model, processor, text: str) -> float:
    """Seconds of speech made in a second of processor time, one sentence at a time."""
    one = [to_say(processor, text, 0)]
    speak(model, one, 0.3, 50, 0)
    begun = time.process_time()
    sound = decode(model, speak(model, one, 0.3, 50, 1)[0].codes)
    return len(sound) / SAMPLING_RATE / (time.process_time() - begun)


def show(title: str, figures: dict) -> None:
    print(f"{title} (n = {figures['clips']})")
    for name, value in figures.items():
        if isinstance(value, dict) and "low" in value:
            print(f"  {name:26} {value['value']:.3f}  [{value['low']:.3f}, {value['high']:.3f}]")


def main() -> None:
    settings = read_settings(ReportSettings, "report", PARAMS)
    if not MERGED.is_dir():
        raise Problem(f"{MERGED}: no fine-tuned voice to compare with the base's own; run `make repro` first")
    held_out = read_held_out(data_folder(), read_settings(SynthesiseSettings, "synthesise", PARAMS))
    checkpoint = HERE.parent / "tiny"
    model, processor = load_base(BaseSettings(path=str(checkpoint))), load_processor(checkpoint)
    ears = Ears()
    codec = round_trip(model, held_out, ears, settings.draws)
    show("codec, there and back", codec)
    voices = own_voices(model, processor, held_out, ears, settings)
    show("the base's own voices", voices)
    marks = {voice: mark for mark, voice in enumerate(voices["by_voice"])}
    tuned = against_voices(model, load_csm(MERGED), processor, read_sentences("test"), marks, ears, settings)
    show(f"the default's tuned voice; the nearest of the base's is {tuned['nearest']}", tuned)
    size = sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
    speed = alone(model, processor, next(iter(held_out.values()))[0].text)
    print(f"size: {size / 1e6:.1f} MB; speed alone: {speed:.1f} s of speech in a second of one core")
    write_json(HERE / "report.json", {"codec": codec, "voices": voices, "tuned": tuned, "bytes": size}, 4)


if __name__ == "__main__":
    run(main, "base-report")
