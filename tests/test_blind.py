"""The blind test: which pairs are offered, and whole sessions in a real browser."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from blind_page import row, score, scored, write_page
from browser import browse, needs_chromium

from stages.page.blind import MAX_GAIN_DB, OFFERED, gains, pairs, read_clips
from stages.page.listen import sound_file
from stages.scoring.conditions import CONDITIONS
from stages.scoring.score import as_csv, as_table
from stages.scoring.statistics import wilson
from tools import votes

HOSTILE = "</script><script>document.title='owned'</script> \"it's\" & <img src=x onerror=alert(1)>"
TITLES = [condition.title for condition in CONDITIONS]


def pair_of(found, first, second):
    return next(pair for pair in found["pairs"] if (pair["first"], pair["second"]) == (first, second))


# --- what is offered ---


def test_the_usual_comparison_comes_first():
    found = pairs(scored(conditions=[condition.name for condition in CONDITIONS]))
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == list(OFFERED)
    assert OFFERED[:2] == (("zero_shot", "ft"), ("clone", "ft_clone"))
    assert sorted(number for group in found["groups"].values() for number in group) == list(range(len(OFFERED)))


def test_only_conditions_that_exist_are_offered():
    found = pairs(scored(conditions=["gt", "ft", "ft_clone"]))
    named = [(pair["first"], pair["second"]) for pair in found["pairs"]]
    assert named == [("ft", "ft_clone"), ("ft", "gt"), ("ft_clone", "gt")]
    assert pairs(scored(conditions=["gt"]))["pairs"] == []


def test_texts_and_seeds_are_paired_and_a_recording_stands_beside_each_seed():
    found = pairs(scored(count=2, seeds=(0, 1), conditions=["gt", "gt_codec", "zero_shot", "ft"]))
    expected = [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [trial[:2] for trial in pair_of(found, "zero_shot", "ft")["trials"]] == expected
    assert [trial[:2] for trial in pair_of(found, "ft", "gt")["trials"]] == expected
    assert [trial[:2] for trial in pair_of(found, "gt_codec", "gt")["trials"]] == [[0, None], [1, None]]


def test_clips_without_sound_are_left_out_and_counted():
    found = pairs(scored(seeds=(0, 1), empty=[("ft", 1), ("gt", 2)]))
    assert pair_of(found, "zero_shot", "ft")["silent"] == 2 and len(pair_of(found, "zero_shot", "ft")["trials"]) == 4
    assert pair_of(found, "ft", "gt")["silent"] == 4
    assert [one["recorded"] for one in found["rows"]] == [True, True, False]


def test_speakers_are_kept_apart():
    found = pairs(scored(count=2), {row(0).id: 4, row(1).id: 7})
    assert [one["speaker"] for one in found["rows"]] == [4, 7]


def test_the_louder_clip_is_turned_down_to_the_other():
    assert gains(-20.0, -20.0) == (1.0, 1.0)
    assert gains(-14.0, -20.0) == (pytest.approx(10 ** (-6 / 20), abs=1e-3), 1.0)
    assert gains(-30.0, -27.0) == (1.0, pytest.approx(10 ** (-3 / 20), abs=1e-3))
    assert gains(None, -20.0) == (1.0, 1.0)
    assert gains(0.0, -70.0)[0] == pytest.approx(10 ** (-MAX_GAIN_DB / 20), abs=1e-3)


def test_the_page_and_the_table_name_the_run_alike():
    scores = [score("ft", row(number), 0, loudness=-20 - number / 24_000) for number in range(200)]
    assert pairs(scores)["run"] == read_clips(as_csv(as_table(scores)))[1]


def test_another_sound_is_another_run():
    one = pairs([score("ft", row(0), 0, loudness=-20.0)])["run"]
    assert re.fullmatch(r"[0-9a-f]{16}", one)
    assert one != pairs([score("ft", row(0), 0, loudness=-20.5)])["run"]
    assert one != pairs([score("ft", row(0), 1)])["run"]
    assert one != pairs([score("ft", row(0), 0, text="Other words.")])["run"]


# --- in a browser ---


PRESSED = "[1, 2].map((one) => document.getElementById(`blind-play-${one}`).ariaPressed)"


async def soon(tab, expression):
    """As tab.until, looking more often: the clips are short."""
    look = f"({expression}) ? done() : tries++ > 1000 ? fail(Error('never came true')) : setTimeout(look, 10)"
    await tab.ask(f"new Promise((done, fail) => {{ let tries = 0; const look = () => {{ {look} }}; look(); }})")


async def hear_both(tab):
    await tab.press("ArrowLeft")
    await soon(tab, f"{PRESSED}[0] === 'true'")
    await tab.press("ArrowRight")
    await soon(tab, f"{PRESSED}[1] === 'true' && {PRESSED}[0] === 'false'")


async def hear_and_press(tab, key):
    """Play both clips, then answer."""
    before = await tab.ask("document.getElementById('blind-count').textContent")
    await hear_both(tab)
    await tab.press(key)
    assert await tab.ask("document.getElementById('blind-count').textContent") != before


def text(identity):
    return f"document.getElementById('blind-{identity}').innerText"


SEEN = """[document.getElementById('blind-test').innerText,
  ...[...document.querySelectorAll('#blind-test [aria-label], #blind-test [title], #blind-test [alt]')]
    .filter((one) => one.checkVisibility()).flatMap((one) => [one.ariaLabel, one.title, one.alt])].join(' ')"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def names_in(seen):
    """Titles and names of conditions in what a listener can see or hear read out."""
    names = [condition.name for condition in CONDITIONS if condition.name != "clone"]
    return [name for name in [*TITLES, *names] if re.search(rf"\b{re.escape(name)}\b", seen)]


@needs_chromium
@pytest.mark.parametrize("width", [1200, 380])
def test_a_session_with_reload_undo_result_and_export(tmp_path, monkeypatch, width):
    scores = scored(count=9, empty=[("ft", 8)], texts={3: HOSTILE})
    url = write_page(tmp_path / "page", scores)
    downloads = tmp_path / "downloads"

    async def visit(tab):
        await tab.loaded()
        await tab.resize(width)
        await tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        # eight that can be heard, and one of them is asked twice
        assert await tab.ask(text("extent")) == "9 pairs. 1 pair is left out: a clip has no sound."
        await tab.click("#blind-start")
        assert await tab.ask("document.activeElement.id") == "blind-stage"
        await tab.press("1")  # nothing was heard yet
        await tab.press("ArrowLeft")
        await tab.press("1")
        assert "Listen to both" in await tab.ask(text("hint"))
        assert await tab.ask("document.getElementById('blind-votes').hidden")
        given = []
        for key in "1210":
            seen = await tab.ask(SEEN)
            assert names_in(seen) == [] and "Which sounds more like the speaker?" in seen
            given.append(await tab.ask(text("text")))
            await hear_and_press(tab, key)
        assert await tab.ask(text("progress")) == "Pair 5 of 9"
        now = await tab.ask(text("text"))

        await tab.ask("window.old = true")
        await tab.call("Page.reload")
        await tab.until("!window.old && document.readyState === 'complete'")
        assert await tab.ask(text("count")) == "4 votes"
        assert "4 of 9 pairs voted" in await tab.ask(text("extent"))
        assert await tab.ask(text("start")) == "Go on"
        await tab.click("#blind-start")
        assert await tab.ask(text("text")) == now  # the same order as before
        await tab.press("u")
        assert await tab.ask(text("text")) == given[3] and await tab.ask(text("count")) == "3 votes"
        for key in "02112":
            await hear_and_press(tab, key)
        await tab.click("#blind-play-1")  # with the mouse
        await soon(tab, f"{PRESSED}[0] === 'true'")
        await tab.click("#blind-play-2")
        await soon(tab, f"{PRESSED}[1] === 'true'")
        assert await tab.ask("document.getElementById('blind-stage').getBoundingClientRect().right < innerWidth")
        await tab.click("#blind-choose-2")
        assert names_in(await tab.ask("document.getElementById('blind-result').innerText")) == []
        assert "9 of 9 pairs voted" in await tab.ask(text("extent"))
        assert await tab.ask("document.getElementById('blind-start').disabled")

        await tab.click("#blind-reveal")
        result = await tab.ask(text("result"))
        assert "Base / Tuned" in result and "no difference 1." in result and "1 pair asked twice" in result
        await tab.ask("document.querySelector('#blind-result details').open = true")
        assert await tab.ask("document.querySelectorAll('#blind-result li').length") == 9
        assert re.sub(r"\s+", " ", HOSTILE) in await tab.ask(text("result"))
        assert await tab.ask(WIDER) <= 0
        await tab.click("#blind-export")
        for _ in range(100):
            if list(downloads.glob("*.json")):
                break
            await asyncio.sleep(0.1)
        assert await tab.ask("document.title") == "Test" and tab.complaints == []
        shown.append(result)

    shown = []
    browse(tmp_path / "profile", url, visit, width)
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()
    Path("reports/clips.csv").write_text(as_csv(as_table(scores)))
    [file] = downloads.glob("*.json")
    monkeypatch.setattr("sys.argv", ["votes", str(file)])
    votes.main()
    found = json.loads(Path("reports/votes.json").read_text())
    one = found["zero_shot_to_ft"]["similar"]
    assert found["votes"] == 8 and one["ties"] == 1 and one["wins"] + one["losses"] == 7 and one["repeats"] == 1
    low, high = wilson(one["wins"], 7)
    assert f"{round(100 * low)} to {round(100 * high)} %" in shown[0]
    assert f"“Base” {one['losses']}, “Tuned” {one['wins']}" in shown[0]


@needs_chromium
def test_the_answer_goes_to_the_clip_that_was_chosen(tmp_path):
    """Always choosing the sound of the tuned voice, by the name of its file, must make it win every time."""
    spy = """window.sounds = []; const play = HTMLMediaElement.prototype.play;
        HTMLMediaElement.prototype.play = function () { sounds.push(this.src); return play.call(this); };"""
    url = write_page(tmp_path / "page", scored(count=6), before=spy)

    async def visit(tab):
        await tab.loaded()
        await tab.click("#blind-start")
        sides = []
        for _ in range(6):
            await hear_both(tab)
            first, second = await tab.ask("sounds.slice(-2)")
            assert {first.split("/")[-2], second.split("/")[-2]} == {"zero_shot", "ft"}
            assert first.split("/")[-1] == second.split("/")[-1]
            await tab.press("r")
            reference = await tab.ask("sounds.at(-1)")
            assert "/gt/" in reference and reference[-16:-4] not in first  # another sentence
            sides.append("1" if "/ft/" in first else "2")
            await tab.press(sides[-1])
        await tab.click("#blind-reveal")
        assert "“Base” 0, “Tuned” 6, no difference 0." in await tab.ask(text("result"))
        assert tab.complaints == []

    browse(tmp_path / "profile", url, visit)


@needs_chromium
def test_one_clip_plays_at_a_time_and_space_pauses(tmp_path):
    url = write_page(tmp_path / "page", scored(count=2))

    async def visit(tab):
        await tab.loaded()
        await tab.click("#blind-start")
        await tab.ask("document.getElementById('other').play()")
        await tab.press("ArrowLeft")
        await soon(tab, f"{PRESSED}[0] === 'true'")
        assert await tab.ask("document.getElementById('other').paused")
        await soon(tab, "document.getElementById('blind-time-1').value > 0")
        await tab.press("ArrowRight")
        await soon(tab, f"{PRESSED}[1] === 'true' && {PRESSED}[0] === 'false'")
        await tab.press(" ")
        await soon(tab, f"{PRESSED}[1] === 'false'")
        await tab.press(" ")
        await soon(tab, f"{PRESSED}[1] === 'true'")
        await tab.ask("document.getElementById('other').play()")
        await soon(tab, f"{PRESSED}[1] === 'false'")
        assert tab.complaints == []

    browse(tmp_path / "profile", url, visit)


@needs_chromium
def test_the_other_question_another_pair_and_a_fresh_start(tmp_path):
    url = write_page(tmp_path / "page", scored(count=4))
    dock = "document.querySelector('.dock').checkVisibility()"

    async def visit(tab):
        await tab.loaded()
        options = await tab.ask("[...document.querySelectorAll('#blind-pair option')].map((one) => one.textContent)")
        assert options == ["Base / Tuned", "Tuned / Recording", "Base / Recording"]
        await tab.ask("document.getElementById('blind-pair').focus()")
        await tab.press("ArrowDown")
        await tab.click("#blind-setup input[value=better]")
        await tab.click("#blind-start")
        assert await tab.ask(text("question")) == "Which sounds better?"
        assert await tab.ask("document.getElementById('blind-reference').checkVisibility()") is False
        await hear_and_press(tab, "2")
        assert not await tab.ask(dock)  # the page's player names conditions
        await tab.click("#blind-pause")
        assert await tab.ask(dock)
        assert await tab.ask("document.getElementById('blind-pair').value") == "1"
        await tab.click("#blind-reveal")
        assert "Tuned / Recording" in await tab.ask(text("result"))
        listener = (
            "JSON.parse(Object.entries(localStorage).find(([key]) => key.startsWith('timbre-votes'))[1]).listener"
        )
        before = await tab.ask(listener)
        await tab.click("#blind-clear")
        assert "Clear 1 vote for good" in await tab.ask(text("sure"))
        await tab.click("#blind-clear-no")
        assert await tab.ask(text("count")) == "1 vote"
        await tab.click("#blind-clear")
        await tab.click("#blind-clear-yes")
        assert await tab.ask("document.getElementById('blind-votes').hidden")
        assert await tab.ask(listener) != before
        assert tab.complaints == []

    browse(tmp_path / "profile", url, visit)


@needs_chromium
def test_missing_sounds_are_said_once(tmp_path):
    folder = tmp_path / "page"
    url = write_page(folder, scored(count=4))
    (folder / sound_file("ft", row(1), 0)).unlink()

    async def visit(tab):
        await tab.loaded()
        await tab.click("#blind-setup input[value=better]")
        await tab.click("#blind-start")
        for _ in range(50):
            if await tab.ask("!document.getElementById('blind-setup').hidden"):
                break
            for key in ("ArrowLeft", "ArrowRight", "1"):
                await tab.press(key)
                await asyncio.sleep(0.1)
        said = await tab.ask(text("trouble"))
        assert said.startswith("The sound of 1 pair could not be loaded: is the folder")
        assert names_in(said) == [] and await tab.ask(text("count")) == "3 votes"

    browse(tmp_path / "profile", url, visit)


@needs_chromium
def test_a_page_without_its_folder_of_sounds(tmp_path):
    url = write_page(tmp_path / "page", scored(count=20), sounds=False)

    async def visit(tab):
        await tab.loaded()
        await tab.click("#blind-start")
        await tab.until("!document.getElementById('blind-setup').hidden")
        said = await tab.ask(text("trouble"))
        assert said.startswith("No sound could be loaded: is the folder") and said.count("loaded") == 1
        assert await tab.ask("document.getElementById('blind-start').disabled")

    browse(tmp_path / "profile", url, visit)


@needs_chromium
@pytest.mark.parametrize("how", ["forbidden", "unreadable"])
def test_a_browser_that_does_not_keep_votes(tmp_path, how):
    scores = scored(count=3)
    forbidden = (
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } })"
    )
    unreadable = f"localStorage.getItem('seen') || localStorage.setItem('timbre-votes-{pairs(scores)['run']}', '{{bad')"
    unreadable += "; localStorage.setItem('seen', 1)"
    source = forbidden if how == "forbidden" else unreadable
    url = write_page(tmp_path / "page", scores, before=source)

    async def visit(tab):
        await tab.loaded()
        await tab.click("#blind-start")
        await hear_and_press(tab, "1")
        said = await tab.ask(text("trouble"))
        assert ("set aside" if how == "unreadable" else "keeps nothing for this page: export your votes") in said
        assert await tab.ask(text("count")) == "1 vote"
        assert tab.complaints == []

    browse(tmp_path / "profile", url, visit)


@needs_chromium
def test_nothing_to_compare_and_no_other_recording(tmp_path):
    nothing = write_page(tmp_path / "nothing", scored(conditions=["gt"]))
    two_people = {row(0).id: 0, row(1).id: 1}
    alone = write_page(tmp_path / "alone", scored(count=2), speakers=two_people)

    async def visit(tab):
        await tab.loaded()
        assert "No two conditions" in await tab.ask("document.getElementById('blind-test').innerText")
        await tab.call("Page.navigate", url=alone)
        await tab.until("document.getElementById('blind-extent')?.innerText")
        assert "ask which sounds better" in await tab.ask(text("extent"))
        assert await tab.ask("document.getElementById('blind-start').disabled")
        await tab.click("#blind-setup input[value=better]")
        assert not await tab.ask("document.getElementById('blind-start').disabled")
        assert tab.complaints == []

    browse(tmp_path / "profile", nothing, visit)
