"""Texts that nobody has read aloud: the model says them in every generated condition, beside the held-out rows.

A speaker of half an hour has some twenty held-out sentences, too few for a claim; and none of them asks for numbers,
questions or tongue twisters. So lists of texts fill up. They have no recording: word errors, voice and failures are
measured as ever, length beside what the speaker's own pace would make of the text.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.csm.turns import Turn
from stages.files.rows import Row
from stages.process.problem import Problem
from stages.scoring.prosody import syllables
from stages.scoring.sentences import Sentence

FOLDER = Path("data/texts")
PREFIX = "Text-"  # of a row's recording: keys of recordings have no capitals
LONGEST = 1000  # characters of one text


def is_text(row: Row) -> bool:
    """Whether a row is a line of a list, not of a recording."""
    return row.recording.startswith(PREFIX)


def text_place(row: Row) -> str:
    """The file and line of such a row."""
    return f"{FOLDER}/{row.recording.removeprefix(PREFIX)}.txt, line {round(row.start)}"


def read_list(name: str, folder: str | Path = FOLDER) -> list[tuple[int, str]]:
    """(line number, text) of the list `name`; empty lines and those that begin with # are none.

    Raises Problem for a name that is no plain one, a list that is not there or empty, or a line that is too long.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise Problem(
            f"evaluate.texts: {name!r} is no name of a list; letters, digits, - and _ (data/texts/<name>.txt)"
        )
    path = Path(folder) / f"{name}.txt"
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        there = ", ".join(sorted(one.stem for one in Path(folder).glob("*.txt"))) or "none"
        raise Problem(f"{path}: no such list of texts (evaluate.texts); there are: {there}") from None
    except UnicodeDecodeError:
        raise Problem(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        text = " ".join(line.split())
        if len(text) > LONGEST:
            raise Problem(f"{path}: line {number} has {len(text)} characters; at most {LONGEST}, a sentence or two")
        if text and not text.startswith("#"):
            found.append((number, text))
    if not found:
        raise Problem(f"{path}: holds no text; one sentence a line")
    return found


def speaking_rate(train: Sequence[Sentence], source: int) -> float:
    """Syllables a second of a speaker's training rows, the silence at their edges included."""
    rows = [sentence.row for sentence in train if sentence.row.source == source]
    seconds, spoken = sum(row.seconds for row in rows), sum(syllables(row.text) for row in rows)
    return spoken / seconds if spoken else 4.0  # an alphabet without the vowels we count: an ordinary pace


def listed_sentences(
    names: Sequence[str],
    train: Sequence[Sentence],
    text_ids: Callable[[str, int], list[int]],
    codebooks: int,
    folder: str | Path = FOLDER,
) -> list[Sentence]:
    """All texts of the lists, said by the speaker with the most training rows. A text that is said twice counts once.

    text_ids: text and speaker id to the ids the model reads. The times of a row are its line and its expected length.
    """
    source = Counter(sentence.row.source for sentence in train).most_common(1)[0][0]
    rate = speaking_rate(train, source)
    found, seen = [], set()
    for name in names:
        for number, text in read_list(name, folder):
            if text in seen:
                continue
            seen.add(text)
            expected = round(max(syllables(text), 1) / rate, 3)
            row = Row(f"{PREFIX}{name}", float(number), number + expected, text, source, "test")
            found.append(Sentence(row, Turn.unsaid(text_ids(text, source), codebooks), None))
    return found
