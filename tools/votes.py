"""Add the votes of blind listening to the measurements.

    python -m tools.votes FILE...     (`make votes FILE=votes.json`)
    python -m tools.votes             (count the votes that are there anew, after another run)

FILE is what "Export votes" on the listening page saved, or a folder of such files. Every listener's votes are kept in
reports/votes/<run>/<listener>.json, and counted in reports/votes.json: per pair of conditions and question how often
the second of them won. A file that was added before changes nothing; a later export of the same listener adds what is
new. Nothing is written unless every file is in order.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from stages.process.stage import run  # isort: skip  (the frame of every tool)

from pydantic import Field

from stages.files.atomic import write_json
from stages.files.settings import Settings, parse
from stages.page.blind import OFFERED, QUESTIONS, offered, read_clips
from stages.process.problem import Problem
from stages.scoring.statistics import wilson

CLIPS, KEPT, METRICS = Path("reports/clips.csv"), Path("reports/votes"), Path("reports/votes.json")


class Vote(Settings):
    """One answer; see stages/page/blind.py."""

    question: Literal["similar", "better"]
    first: str
    second: str
    row: str
    seed: int | None
    winner: Literal["first", "second", "tie"]
    left: Literal["first", "second"]
    repeat: bool

    @property
    def pair(self) -> tuple[str, str]:
        return self.first, self.second

    @property
    def place(self) -> tuple[str, str, int]:
        """Sortable, whether or not there is a seed."""
        return "_to_".join(self.pair), self.row, -1 if self.seed is None else self.seed

    @property
    def asked(self) -> tuple:
        """What a listener answers once only."""
        return self.question, *self.place, self.repeat

    def __str__(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        again = ", repeated" if self.repeat else ""
        return f"{self.row!r}{seed}, {self.first!r} and {self.second!r} ({self.question}{again})"


class Ballot(Settings):
    """One listener's votes on one run: the content of an exported file."""

    version: Literal[1] = Field(alias="schema")
    run: str = Field(pattern=r"^[0-9a-f]{16}$")
    listener: str = Field(pattern=r"^[0-9a-f]{12}$")  # a file name
    votes: list[Vote]


class Run:
    """What can be voted on, from reports/clips.csv."""

    def __init__(self, path: Path = CLIPS):
        try:
            with path.open(encoding="utf-8", newline="") as file:
                clips, self.name = read_clips(file.read(), str(path))
        except FileNotFoundError:
            raise Problem(f"{path}: no such file; run `make repro` first") from None
        except UnicodeDecodeError as error:
            raise Problem(f"{path}: not a text file ({error}); run `make repro`") from None
        self.trials = {
            ((pair.first, pair.second), trial.row, trial.seed) for pair in offered(clips) for trial in pair.trials
        }

    def has(self, vote: Vote) -> bool:
        return (vote.pair, vote.row, vote.seed) in self.trials


def read_ballot(path: Path, of: Run) -> Ballot:
    """An exported file. Raises Problem unless it is whole, about this run, and answers everything once at most."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem(f"{path}: no such file; export the votes from the listening page first") from None
    except OSError as error:
        raise Problem(f"{path}: cannot be read ({error.strerror}); name a file of votes") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise Problem(f"{path}: not a file of votes ({error}); export it from the listening page again") from None
    ballot = parse(Ballot, content, str(path))
    if ballot.run != of.name:
        raise Problem(
            f"{path}: votes on another run ({ballot.run}) than {CLIPS} has ({of.name}); vote on this run's page, or "
            "count them at the commit they belong to"
        )
    if not ballot.votes:
        raise Problem(f"{path}: holds no vote; listen, choose, and export the votes again")
    seen = set()
    for number, vote in enumerate(ballot.votes):
        if not of.has(vote):
            raise Problem(f"{path}: votes.{number}: {vote}: this run has no such pair to hear; export the votes again")
        if vote.asked in seen:
            raise Problem(f"{path}: votes.{number}: {vote}: answered twice; remove one of the two votes")
        seen.add(vote.asked)
    return ballot


def merge(ballots: Iterable[tuple[Path, Ballot]]) -> dict[str, Ballot]:
    """Listener -> all their votes, sorted. Raises Problem where two files of one listener disagree."""
    votes: dict[str, dict[tuple, tuple[Vote, Path]]] = {}
    named = ""
    for path, ballot in ballots:
        own, named = votes.setdefault(ballot.listener, {}), ballot.run
        for vote in ballot.votes:
            before, where = own.setdefault(vote.asked, (vote, path))
            if before != vote:
                raise Problem(
                    f"{path}: listener {ballot.listener} answers {vote} otherwise than in {where}; remove the one that "
                    "does not hold"
                )
    return {
        listener: Ballot(schema=1, run=named, listener=listener, votes=[own[asked][0] for asked in sorted(own)])
        for listener, own in sorted(votes.items())
    }


def files_in(names: Sequence[str]) -> list[Path]:
    """The files that are named, and the *.json of the folders that are."""
    found = []
    for path in map(Path, filter(None, names)):
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise Problem(f"{path}: a folder without a .json file; name a file of votes")
        found += inside
    return found


def figures(ballots: Iterable[Ballot], pair: tuple[str, str], question: str) -> dict[str, int | float]:
    """How often the second of a pair won, was beaten, or was found no different.

    The rate is that of the votes that chose, with Wilson's 95 % interval, which takes votes as independent. Repeated
    pairs are counted apart: `repeats`, and how many of them were answered as the first time.
    """
    own = [[vote for vote in ballot.votes if (vote.pair, vote.question) == (pair, question)] for ballot in ballots]
    once = [vote for votes in own for vote in votes if not vote.repeat]
    wins, losses, ties = (sum(vote.winner == winner for vote in once) for winner in ("second", "first", "tie"))
    again = [
        (vote.winner, before.winner)
        for votes in own
        for vote in votes
        for before in votes
        if vote.repeat and not before.repeat and vote.place == before.place
    ]
    found = {"votes": len(once), "listeners": sum(map(bool, own)), "wins": wins, "losses": losses, "ties": ties}
    if again:
        found |= {"repeats": len(again), "repeats_alike": sum(one == other for one, other in again)}
    if wins + losses:
        low, high = wilson(wins, wins + losses)
        rates = {"win_rate": wins / (wins + losses), "win_rate_low": low, "win_rate_high": high}
        found |= {name: round(value, 4) for name, value in rates.items()}
    return found


def count(ballots: Mapping[str, Ballot]) -> dict:
    """The content of reports/votes.json: {"<first>_to_<second>": {question: figures}}, and of which run."""
    voted = [ballot for ballot in ballots.values() if ballot.votes]
    found: dict = {"listeners": len(voted), "votes": sum(not vote.repeat for one in voted for vote in one.votes)}
    if voted:
        found["run"] = voted[0].run
    for first, second in OFFERED:
        answers = {question: figures(voted, (first, second), question) for question in QUESTIONS}
        if answered := {question: one for question, one in answers.items() if one["votes"]}:
            found[f"{first}_to_{second}"] = answered
    return found


def table(counted: Mapping) -> list[str]:
    """The counts for people, one line per pair and question."""
    head = ("pair", "question", "second wins", "first wins", "ties", "win rate", "95 % interval", "repeats alike")
    lines = [head]
    for first, second in OFFERED:
        for question, one in counted.get(f"{first}_to_{second}", {}).items():
            rate, interval = "-", "-"
            if "win_rate" in one:
                rate = f"{one['win_rate']:.0%}"
                interval = f"{one['win_rate_low']:.0%} to {one['win_rate_high']:.0%}"
            alike = f"{one['repeats_alike']} of {one['repeats']}" if "repeats" in one else "-"
            counts = (str(one[name]) for name in ("wins", "losses", "ties"))
            lines.append((f"{first} / {second}", question, *counts, rate, interval, alike))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join([*map(str.ljust, line[:2], widths[:2]), *map(str.rjust, line[2:], widths[2:])]).rstrip()
        for line in lines
    ]


def stale() -> str:
    """A line when reports/votes.json counts the votes of another run than reports/clips.csv has; else nothing."""
    if not METRICS.is_file() or not CLIPS.is_file():
        return ""
    counted = json.loads(METRICS.read_text(encoding="utf-8")).get("run")
    if counted in (None, Run().name):
        return ""
    return f"{METRICS} counts votes on an earlier run; `make votes` counts those on this one."


def main() -> None:
    parser = argparse.ArgumentParser(description="Add the votes of blind listening to the measurements.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="votes exported from the listening page, or a folder")
    asked = files_in(parser.parse_args().files)
    this = Run()
    folder = KEPT / this.name
    kept = sorted(folder.glob("*.json"))
    ballots = merge((path, read_ballot(path, this)) for path in [*kept, *asked])
    for listener, ballot in ballots.items():
        write_json(folder / f"{listener}.json", ballot.model_dump(by_alias=True))
    counted = count(ballots)
    write_json(METRICS, counted)
    if counted["votes"]:
        print("\n".join(table(counted)))
    listeners = f"{counted['listeners']} listener{'' if counted['listeners'] == 1 else 's'}"
    print(f"{METRICS}: {counted['votes']} votes of {listeners} on run {this.name}")


if __name__ == "__main__":
    run(main, "votes")
