"""Make the other voices of the evaluation: `python -m tools.make_others kokoro-js-1.2.1.tgz` writes data/others.

One clip of about five seconds for every English voice of Kokoro-82M but the speaker of the default recordings. Each
voice says a sentence of its own. See tools/kokoro.py for what it needs; the clips are committed, so nothing else needs
it.
"""

import argparse
from pathlib import Path

import numpy as np

from stages.process.stage import run, work_folder  # isort: skip  (first: it fixes the number of threads)

from tools.kokoro import RATE, Kokoro
from tools.make_recordings import VOICE, write_audio

FOLDER = Path("data/others")
CODEC, BIT_RATE = "libopus", 28_000
EDGE = 0.2  # seconds of silence kept before and after what is heard
AUDIBLE = 0.01  # of full scale
PEAK = 0.7  # of full scale; room for the overshoot of a lossy codec
SENTENCES = [
    "The ferry leaves at nine, but the ticket office opens half an hour before that.",
    "My brother keeps two bicycles in the hall, and neither of them has a working bell.",
    "We planted the apple trees in March, when the ground was still hard and cold.",
    "If the kettle starts to whistle, please take it off the stove and pour the tea.",
    "The train was late again, so we waited on the platform and shared an orange.",
    "A thin line of smoke rose from the cottage at the far end of the valley.",
    "She wrote the address on the back of an old envelope and put it in her pocket.",
    "There is a small bakery on the corner that sells warm bread before sunrise.",
    "The teacher drew a circle on the board and asked us to divide it into five parts.",
    "After the storm, the whole beach was covered with shells and broken branches.",
    "He repaired the radio with a piece of wire that he found under the workbench.",
    "The map shows a path through the woods, but nobody has walked it for many years.",
    "Every Thursday the library stays open late, and the reading room is quite full.",
    "I would like a window seat, because the mountains are beautiful at this time of day.",
    "The dog slept beside the fire while the rain ran slowly down the glass.",
    "Our neighbour grows tomatoes on her balcony and gives most of them away.",
    "They crossed the bridge on foot and stopped in the middle to watch the boats.",
    "The recipe needs three eggs, a cup of flour, and just a little bit of salt.",
    "When the lights went out, somebody found a candle in the kitchen drawer.",
    "The museum closes at six, so we only have time to see the upper floor.",
    "Please leave the parcel with the porter, and tell him that I will call tomorrow.",
    "A yellow kite was caught in the tree, and two children were trying to reach it.",
    "The new road is wider than the old one, but it goes a long way around the lake.",
    "My grandfather could name every bird in the garden by the sound of its song.",
    "We changed trains twice and arrived in the city shortly before midnight.",
    "The violin was made two hundred years ago, and it still sounds clear and warm.",
    "Nobody remembered who had painted the door green, but everyone liked it.",
]


def cut(samples: np.ndarray) -> np.ndarray:
    """What is heard of (n,) samples, with EDGE before and after, at PEAK."""
    heard = (np.abs(samples) > AUDIBLE).nonzero()[0]
    edge = round(EDGE * RATE)
    samples = samples[max(0, heard[0] - edge) : heard[-1] + edge]
    return samples * (PEAK / np.abs(samples).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path, help="what `npm pack kokoro-js@1.2.1` wrote")
    kokoro = Kokoro(parser.parse_args().archive, work_folder() / "kokoro.onnx")
    voices = [voice for voice in kokoro.styles if voice != VOICE]
    for voice, text in zip(voices, SENTENCES, strict=True):
        path = FOLDER / f"{voice}.ogg"
        samples = cut(kokoro(text, voice).samples)
        write_audio(path, samples, CODEC, BIT_RATE)
        print(f"{path}: {len(samples) / RATE:.1f} s, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    run(main, "make_others")
