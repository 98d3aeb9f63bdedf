"""Clips as reports/clips.csv holds them, for the tests of comparisons."""

import csv
import io

ENGINES = {"recogniser": "whisper tiny.en", "normaliser": "Whisper English", "speaker": "GE2E", "quality": "DNSMOS"}
COLUMNS = ["condition", "row", "seed", "wer", "words", "word_errors", "similarity", "stopped", "empty", "seconds"]
COLUMNS += ["quality", "failures", "text", "heard"]


def clip(condition, number, seed, errors, similarity=0.8, **more):
    cells = {"condition": condition, "row": f"talk-{number:07d}", "seed": "" if seed is None else seed}
    cells |= {"wer": errors / 10, "words": 10, "word_errors": errors, "similarity": similarity, "empty": 0}
    cells |= {"stopped": "" if seed is None else 1, "seconds": 2.5, "quality": 3.1, "failures": ""}
    return cells | {"text": f"This is sentence {number}.", "heard": f"this is sentence {number}"} | more


def voice(errors, texts=range(8), seeds=(0, 1), **more):
    """Clips of the recordings, of the base and of the tuned voice, which makes `errors` of ten words wrong."""
    spoken = [clip("gt", number, None, 0, 0.95, **more) for number in texts]
    spoken += [clip("zero_shot", number, seed, 6, 0.5, **more) for number in texts for seed in seeds]
    return spoken + [clip("ft", number, seed, errors, 0.9 - errors / 20, **more) for number in texts for seed in seeds]


def as_csv(clips, columns=COLUMNS):
    text = io.StringIO()
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(clips)
    return text.getvalue()
