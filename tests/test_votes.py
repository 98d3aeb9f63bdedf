"""Counting votes: what is counted, what is kept, and what is refused with one line and nothing changed."""

import json
from pathlib import Path

import pytest

from stages.page.blind import read_clips
from stages.process.problem import Problem
from stages.scoring.statistics import wilson
from tools import votes

HEAD = "condition,row,seed,seconds,loudness_lufs,empty,text\n"
ROWS = ("talk-0000000", "talk-0005000", "talk-0010000")
ANN, BOB = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


def table(loudness=-20.0):
    lines = [f"gt,{row},,2.5,-21.0,0,Words.\n" for row in ROWS]
    for condition in ("zero_shot", "ft"):
        for row in ROWS:
            silent = int(condition == "zero_shot" and row == ROWS[2])
            lines += [f"{condition},{row},{seed},2.4,{loudness},{silent},Words.\n" for seed in (0, 1)]
    return HEAD + "".join(lines)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Three recordings, and two conditions with two seeds, of which one says nothing to the last text."""
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()
    Path("reports/clips.csv").write_text(table())
    return tmp_path


def vote(winner, row=0, seed=0, **changes):
    names = {"question": "similar", "first": "zero_shot", "second": "ft", "row": ROWS[row], "seed": seed}
    return {**names, "winner": winner, "left": "first", "repeat": False, **changes}


def export(*given, listener=ANN, name="votes.json", **changes):
    run = read_clips(table())[1]
    content = {"schema": 1, "run": run, "listener": listener, "votes": list(given), **changes}
    Path(name).write_text(json.dumps(content))
    return name


def add(*files):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["votes", *files])
        votes.main()


def counted():
    return json.loads(Path("reports/votes.json").read_text())


def everything():
    return {path: path.read_bytes() for path in sorted(Path("reports").rglob("*")) if path.is_file()}


def test_two_listeners_are_counted_together(project, capsys):
    add(export(vote("second"), vote("second", 1), vote("tie", 0, 1)))
    add(export(vote("first"), vote("second", 1), listener=BOB))
    found = counted()
    assert (found["listeners"], found["votes"]) == (2, 5)
    low, high = wilson(3, 4)
    assert found["zero_shot_to_ft"] == {
        "similar": {
            "votes": 5, "listeners": 2, "wins": 3, "losses": 1, "ties": 1,
            "win_rate": 0.75, "win_rate_low": round(low, 4), "win_rate_high": round(high, 4),
        }
    }  # fmt: skip
    shown = capsys.readouterr().out
    assert "zero_shot / ft" in shown and "75%" in shown and "30% to 95%" in shown
    assert "5 votes of 2 listeners" in shown


def test_the_two_questions_are_counted_apart(project):
    add(export(vote("second"), vote("first", question="better")))
    assert counted()["zero_shot_to_ft"]["similar"]["wins"] == 1
    assert counted()["zero_shot_to_ft"]["better"]["losses"] == 1


def test_ties_alone_make_no_rate(project):
    add(export(vote("tie")))
    assert "win_rate" not in counted()["zero_shot_to_ft"]["similar"]


def test_repeats_tell_how_steady_a_listener_is_and_are_no_votes(project, capsys):
    again = {"repeat": True, "left": "second"}
    add(export(vote("second"), vote("second", 1), vote("second", **again), vote("first", 1, **again)))
    found = counted()["zero_shot_to_ft"]["similar"]
    assert (found["votes"], found["wins"], found["repeats"], found["repeats_alike"]) == (2, 2, 2, 1)
    assert "1 of 2" in capsys.readouterr().out


def test_a_recording_is_compared_under_the_seed_of_the_voice(project):
    add(export(vote("second", first="ft", second="gt", seed=1)))
    assert counted()["ft_to_gt"]["similar"]["wins"] == 1


def test_the_same_file_twice_changes_nothing(project):
    add(export(vote("second")))
    before = everything()
    add("votes.json", "votes.json")
    assert everything() == before


def test_the_order_of_files_and_votes_does_not_matter(project):
    one = export(vote("second"), vote("first", 1), name="one.json")
    two = export(vote("tie"), listener=BOB, name="two.json")
    add(one, two)
    before = everything()
    for path in before:
        path.unlink() if path.name != "clips.csv" else None
    export(vote("first", 1), vote("second"), name="one.json")
    add(two)
    add(one)
    assert everything() == before


def test_a_later_export_adds_what_is_new_and_an_earlier_one_loses_nothing(project):
    early, late = export(vote("second"), name="early.json"), export(vote("second"), vote("first", 1), name="late.json")
    add(early)
    add(late)
    assert counted()["votes"] == 2
    add(early)
    assert counted()["votes"] == 2


def test_a_folder_of_files(project):
    Path("from friends").mkdir()
    export(vote("second"), name="from friends/votes (1).json")
    export(vote("second"), listener=BOB, name="from friends/votes (2).json")
    add("from friends")
    assert counted()["listeners"] == 2
    Path("none").mkdir()
    with pytest.raises(Problem, match="none: a folder without a .json file"):
        add("none")


def test_without_votes_there_is_a_count_of_none(project, capsys):
    add("")
    assert counted() == {"listeners": 0, "votes": 0}
    assert "0 votes of 0 listeners" in capsys.readouterr().out


def test_another_run_is_counted_anew_and_the_old_votes_stay(project):
    add(export(vote("second")))
    assert votes.stale() == ""
    kept = set(Path("reports/votes").rglob("*.json"))
    Path("reports/clips.csv").write_text(table(loudness=-23.5))  # the voice changed
    assert "make votes" in votes.stale()
    with pytest.raises(Problem, match=r"^votes.json: votes on another run \(\w{16}\) than reports/clips.csv has"):
        add("votes.json")
    add()
    assert counted()["votes"] == 0 and votes.stale() == ""
    assert set(Path("reports/votes").rglob("*.json")) == kept


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not a file of votes"),
        (b'{"schema": 1, "run": "0123', "not a file of votes"),
        (b"\xff\xfe\x00", "not a file of votes"),
        (b"[" * 100_000, "not a file of votes"),
        (b"[]", "valid dictionary"),
        (b"null", "valid dictionary"),
        (b'{"schema": 1, "run": "x"}', "run"),
    ],
)
def test_what_is_no_file_of_votes_is_refused(project, content, message):
    Path("votes.json").write_bytes(content)
    with pytest.raises(Problem, match=message) as problem:
        add("votes.json")
    assert str(problem.value).startswith("votes.json") and "\n" not in str(problem.value)
    assert list(everything()) == [Path("reports/clips.csv")]


def test_files_that_are_not_there(project):
    with pytest.raises(Problem, match="^votes.json: no such file; export"):
        add("votes.json")
    Path("reports/clips.csv").unlink()
    with pytest.raises(Problem, match="^reports/clips.csv: no such file; run `make repro`"):
        add()


@pytest.mark.parametrize("broken", ["", "condition,row\ngt,a\n", HEAD + "gt,a,x,1,1,0,a\n", HEAD + "gt,a\n"])
def test_a_broken_table_of_clips(project, broken):
    Path("reports/clips.csv").write_text(broken)
    with pytest.raises(Problem, match="^reports/clips.csv: not the table of clips that evaluate writes"):
        add()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"schema": 2}, "schema: Input should be 1, not 2"),
        ({"listener": "../../etc/me"}, "listener: String should match"),
        ({"votes": []}, "holds no vote"),
        ({"votes": {"0": 1}}, "votes: Input should be a valid list"),
        ({"more": 1}, "more: unknown key"),
    ],
)
def test_a_wrong_head_is_refused(project, changes, message):
    with pytest.raises(Problem, match=f"^votes.json[.:] ?{message}"):
        add(export(vote("second"), **changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"row": "talk-9999999"}, r"votes.1: 'talk-9999999', seed 0, .* no such pair"),
        ({"row": ROWS[2]}, "no such pair"),  # one of its clips has no sound
        ({"seed": 7}, "no such pair"),
        ({"seed": None}, "no such pair"),
        ({"first": "ft", "second": "zero_shot"}, "no such pair"),
        ({"first": "clone"}, "no such pair"),
        ({"winner": "ft"}, "votes.1.winner: Input should be 'first', 'second' or 'tie', not 'ft'"),
        ({"question": "louder"}, "votes.1.question"),
        ({"seed": "0"}, "votes.1.seed: Input should be a valid integer, not '0'"),
        ({"repeat": 1}, "votes.1.repeat"),
        ({"row": ROWS[0]}, "votes.1: .* answered twice"),
    ],
)
def test_one_wrong_vote_and_nothing_is_counted(project, changes, message):
    add(export(vote("second"), listener=BOB))
    before = everything()
    export(vote("first"), vote("second", 1) | changes, name="wrong.json")
    good = export(vote("second", 1), name="good.json")
    with pytest.raises(Problem, match=f"^wrong.json.*{message}"):
        add(good, "wrong.json")
    assert everything() == before


def test_a_listener_who_answers_otherwise_in_another_file_is_refused(project):
    add(export(vote("second")))
    before = everything()
    with pytest.raises(Problem, match=f"^other.json: listener {ANN} answers .* otherwise than in reports/votes/.*json"):
        add(export(vote("first"), name="other.json"))
    assert everything() == before
