"""How a voice grows: what it said at each evaluation of its training, and how well.

One number, the score, ranks the checkpoints, so that the one which sounds best is kept. Loss cannot do that: it goes on
falling while the voice stops following the text, and it says little about whether a clip ends.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

from stages.files.atomic import replacing_folder, write_json
from stages.files.rows import Row
from stages.process.problem import Problem
from stages.scoring.words import Errors

LISTING = "growth.json"
UNDERSTOOD, VOICE, PACE = 0.5, 0.35, 0.15  # shares of a clip's score; together 1
NOT_STOPPED = 0.5  # what a clip that ran into the limit keeps of the first two


@dataclass(frozen=True)
class Sample:
    """One sentence as a checkpoint says it. An empty clip has no `file`, and similarity and duration ratio 0."""

    row: str
    words: Errors
    characters: Errors
    similarity: float  # cosine to the speaker's held-out recordings
    duration_ratio: float  # to the recording of the same text
    stopped: bool
    heard: str
    file: str | None  # beside the listing

    @property
    def score(self) -> float:
        """0 to 1; higher is better.

        The clip's worth is half whether it is understood (1 less the mean of word and character error rate, each at
        most 1: characters still tell near misses from noise when no word is right), about a third whether it is the
        speaker's voice, and the rest whether it has the recording's pace (1 when as long, 0.5 when half or twice as
        long). A clip that does not end by itself is a failed clip: its length is the limit's, so it has no pace, and
        it keeps half of the rest - not nothing, so that the checkpoints of a voice that never ends still have an order.
        An empty clip scores 0.

        So a model that cannot speak has a finite score of some 0.1, from how near its noise comes to a voice. With a
        dozen sentences the mean is good to a few hundredths; smaller differences are luck.
        """
        if self.file is None:
            return 0.0
        understood = 1 - (min(self.words.rate, 1.0) + min(self.characters.rate, 1.0)) / 2
        worth = UNDERSTOOD * understood + VOICE * min(max(self.similarity, 0.0), 1.0)
        if not self.stopped:
            return NOT_STOPPED * worth
        return worth + PACE * min(self.duration_ratio, 1 / self.duration_ratio)


def summarise(samples: Sequence[Sample]) -> dict[str, float]:
    """Figures over all samples, defined like those of metrics.json, but that an empty clip has similarity 0."""
    return {
        "score": fmean(sample.score for sample in samples),
        "stop_rate": fmean(sample.stopped for sample in samples),
        "wer": sum(one.words.count for one in samples) / sum(one.words.total for one in samples),
        "cer": sum(one.characters.count for one in samples) / sum(one.characters.total for one in samples),
        "similarity": fmean(sample.similarity for sample in samples),
        "duration_ratio": median(sample.duration_ratio for sample in samples),
    }


@dataclass(frozen=True)
class Stage:
    """The voice at one evaluation: after so many updates, its figures (eval_loss, score, ...) and what it said."""

    step: int
    figures: dict[str, float]
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Growth:
    """All stages of one training; the weights of step `chosen` became the voice, by `criterion`."""

    criterion: str
    chosen: int
    texts: dict[str, str]  # of every row that is said, by its id
    stages: tuple[Stage, ...]


def write_samples(folder: Path, rows: Sequence[Row], samples: Sequence[Sample]) -> None:
    """Write one evaluation's samples and texts beside its sounds, in scratch."""
    texts = {row.id: row.text for row in rows}
    write_json(folder / LISTING, {"texts": texts, "samples": [asdict(sample) for sample in samples]})


def _samples(records: Sequence[dict]) -> tuple[Sample, ...]:
    return tuple(
        Sample(**record | {kind: Errors(**record[kind]) for kind in ("words", "characters")}) for record in records
    )


def gather(folder: Path, scratch: Path, evaluations: Sequence[dict], criterion: str, chosen: int) -> None:
    """Write `folder`: the sounds of every evaluation as <step>/<row id>.mp3, and the listing of them all.

    evaluations: the Trainer's history, with figures named eval_...; scratch: what `write_samples` wrote, by step. Where
    nothing was listened to, the listing holds the figures alone.
    """
    texts: dict[str, str] = {}
    stages = []
    with replacing_folder(folder) as temporary:
        for entry in evaluations:
            step, samples = str(entry["step"]), []
            figures = {name.removeprefix("eval_"): value for name, value in entry.items() if name.startswith("eval_")}
            if "score" in figures:
                found = json.loads((scratch / step / LISTING).read_text(encoding="utf-8"))
                texts, samples = found["texts"], found["samples"]
                for sample in samples:
                    if sample["file"]:
                        (temporary / step).mkdir(exist_ok=True)
                        shutil.copyfile(scratch / step / sample["file"], temporary / step / sample["file"])
                        sample["file"] = f"{step}/{sample['file']}"
            stages.append({"step": entry["step"], "figures": figures, "samples": samples})
        content = {"criterion": criterion, "chosen": chosen, "texts": texts, "stages": stages}
        write_json(temporary / LISTING, content)


def read_growth(folder: str | Path) -> Growth:
    """Read what `gather` wrote."""
    path = Path(folder) / LISTING
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem(f"{path}: no such file; run `dvc repro train` (or `dvc pull`) first") from None
    stages = [Stage(one["step"], one["figures"], _samples(one["samples"])) for one in content["stages"]]
    return Growth(content["criterion"], content["chosen"], content["texts"], tuple(stages))
