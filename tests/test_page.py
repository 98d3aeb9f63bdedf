"""The listening page: safe, self-contained, playable with the keyboard."""

import asyncio
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from stages.audio.mp3 import mp3_bytes, write_mp3
from stages.csm.turns import Turn
from stages.files.atomic import write_json
from stages.files.rows import Row
from stages.page.figures import clock, percent
from stages.page.listen import sound_file, write_page
from stages.scoring.conditions import CONDITIONS
from stages.scoring.score import Score, as_table, summarise
from stages.scoring.sentences import Sentence
from stages.scoring.settings import EvaluateSettings
from stages.scoring.speak import Utterance

HOSTILE = '</q><script>document.title="owned"</script> "it\'s" & <img src=x onerror=alert(1)>'
ENGINES = {"recogniser": "parrot 1", "speaker": "ear 2", "normaliser": "none"}


def tone(seconds=5.0):
    return (0.2 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * 24_000)) / 24_000)).astype(np.float32)


class Spoken(Sentence):
    def recording(self):
        return tone()


def sentence(number, text):
    row = Row("talk", 3590.0 + 8 * number, 3595.0 + 8 * number, text, 0, "test")
    return Spoken(row, Turn([1], np.zeros((1, 2))), b"")


def score(condition, row, seed, empty=False, stopped=True):
    counts = {"words": 4, "word_errors": 4 * empty, "substitutions": 0, "deletions": 4 * empty, "insertions": 0}
    sound = {"seconds": 1.0, "duration_ratio": 1.0, "pitch_hz": 200.0, "pitch_spread_st": 2.0, "pace": 4.0}
    letters = {"wer": float(empty), "cer": 0.5, "characters": 20, "character_errors": 10, "loudness_lufs": None}
    similarity = None if empty else 0.91
    named = {"condition": condition, "row": row.id, "seed": seed, "similarity": similarity, "stopped": stopped}
    return Score(**named, **counts, **sound, **letters, empty=empty, text=row.text, heard="" if empty else HOSTILE)


@pytest.fixture
def page(tmp_path):
    """Two sentences, two seeds; the base's first clip is empty and its second did not stop."""
    sentences = [sentence(0, HOSTILE), sentence(1, "A quiet line.")]
    scores, utterances = [], []
    for one in sentences:
        for condition in CONDITIONS:
            for seed in (0, 1) if condition.generated else (None,):
                first = condition.name == "zero_shot" and one is sentences[0]
                stopped = not (first and seed == 1) if condition.generated else None
                scores.append(score(condition.name, one.row, seed, first and seed == 0, stopped))
                utterances.append(Utterance(condition.name, one, tone, seed))
    settings = EvaluateSettings(
        max_texts=2, seeds=[0, 1], temperature=0.9, top_k=50, max_seconds=8.0, context_seconds=6.0, batch_size=2,
        device="cpu", engine="faster-whisper", model="x", language="en",
    )  # fmt: skip
    summary = summarise(as_table(scores))
    write_json(tmp_path / "growth" / "growth.json", {"criterion": "last", "chosen": 1, "texts": {}, "stages": []})

    def write(folder="listen", warnings=(), speaks=True, growth="growth"):
        path, grown = tmp_path / folder, tmp_path / growth
        write_page(path, summary, scores, utterances, {0: sentences[1:]}, ENGINES, settings, warnings, speaks, grown)
        return path

    return write


class Elements(HTMLParser):
    """Every element with its attributes, and the page's text."""

    def __init__(self, html):
        super().__init__()
        self.found, self.words = [], []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def read(folder):
    return Elements((folder / "index.html").read_text(encoding="utf-8"))


def test_hostile_text_is_text(page):
    found = read(page(warnings=[HOSTILE]))
    assert len(found.all("script")) == 1 and not found.all("img")
    assert re.sub(r"\s+", " ", HOSTILE) in found.text
    assert not [name for _, attributes in found.found for name in attributes if name.startswith("on")]


def test_the_folder_stands_alone(page):
    folder = page()
    html = (folder / "index.html").read_text()
    assert "http" not in html and "//cdn" not in html and "@import" not in html and "url(" not in html
    players = read(folder).all("audio")
    assert players and all((folder / player["src"]).stat().st_size > 5_000 for player in players)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.mp3")} == {player["src"] for player in players}


def test_every_player_waits_and_has_a_name(page):
    players = read(page()).all("audio")
    assert len(players) == 2 * (2 + 4 * 2) - 1 + 1  # one clip is empty; the context has one row
    assert all(player["preload"] == "none" and "controls" in player for player in players)
    assert len({player["aria-label"] for player in players}) == len(players)


def test_what_went_wrong_is_marked(page):
    text = read(page()).text
    assert text.count("no sound") == 1 and text.count("did not stop") == 1 and "nothing to play" in text


def test_a_base_that_cannot_speak_is_called_so(page):
    assert "cannot speak" in read(page(speaks=False)).text
    assert "cannot speak" not in read(page(speaks=True)).text
    assert "cannot speak" not in read(page(speaks=None)).text


def test_every_sentence_names_its_place(page):
    assert "talk, 59:50–59:55" in read(page()).text
    assert "talk, 59:58–1:00:03" in read(page()).text


def test_the_same_clips_give_the_same_bytes(page):
    one, other = page("one"), page("other")
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_an_old_page_leaves_nothing_behind(page):
    (page() / "audio" / "old.mp3").touch()
    assert not (page() / "audio" / "old.mp3").exists()


def test_an_unsafe_row_id_is_never_a_path():
    with pytest.raises(ValueError, match="cannot be a file name"):
        sound_file("gt", Row("../../etc", 0.0, 1.0, "a"))


def test_sound_survives_mp3(tmp_path):
    write_mp3(tmp_path / "a" / "tone.mp3", 8 * tone())  # far too loud: cut, not wrapped around
    samples, rate = soundfile.read(tmp_path / "a" / "tone.mp3")
    assert rate == 24_000 and abs(len(samples) / rate - 5) < 0.1 and np.abs(samples).max() > 0.9
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.fft.rfftfreq(len(samples), 1 / rate)[spectrum.argmax()] == pytest.approx(220, abs=3)
    assert len(mp3_bytes(tone(10))) < 100_000


def test_numbers_are_written_for_people():
    assert (percent(0.125), percent(1.333)) == ("12 %", "133 %")
    assert (clock(9.9), clock(75), clock(3661)) == ("0:09", "1:15", "1:01:01")


# In a browser


class Tab:
    """A page in a headless Chromium, driven over its debugging protocol; keys are pressed as by a hand."""

    def __init__(self, socket):
        self.socket, self.number, self.complaints = socket, 0, []

    async def call(self, method, **params):
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": params})
        async for message in self.socket:
            content = json.loads(message.data)
            if content.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(content["params"])
            if content.get("id") == self.number:
                return content["result"]

    async def ask(self, expression):
        options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = await self.call("Runtime.evaluate", **options)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression):
        for _ in range(100):
            if await self.ask(expression):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"never came true: {expression}")

    async def press(self, key):
        text = {"text": " "} if key == " " else {}
        code = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": 32 if key == " " else 0}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **code)


async def in_chromium(profile, url, width, visit):
    """Open `url` and await visit(tab)."""
    aiohttp = pytest.importorskip("aiohttp")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-first-run", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={profile}", f"--window-size={width},900", url]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = profile / "DevToolsActivePort"
        while not (port.exists() and port.read_text()):
            await asyncio.sleep(0.1)
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"http://127.0.0.1:{port.read_text().split()[0]}/json")
            target = next(target for target in await answer.json() if target["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"]) as socket:
                await visit(Tab(socket))
    finally:
        browser.terminate()
        browser.wait(10)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
@pytest.mark.parametrize("width", [1200, 500])
def test_in_a_browser_the_keyboard_plays_and_moves(page, tmp_path, width):
    async def visit(tab):
        await tab.call("Log.enable")
        await tab.call("Runtime.enable")
        await tab.until("location.protocol === 'file:' && document.readyState === 'complete'")
        await tab.ask("var cells = [...document.querySelectorAll('tbody audio')]; cells[0].focus()")
        await tab.press(" ")
        await tab.until("!cells[0].paused && cells[0].currentTime > 0")
        await tab.press(" ")
        assert await tab.ask("cells[0].paused")
        await tab.press(" ")
        await tab.press("ArrowRight")
        assert await tab.ask("document.activeElement === cells[1]")
        await tab.press(" ")
        await tab.until("!cells[1].paused && cells[0].paused")  # one at a time
        await tab.press("ArrowLeft")
        await tab.press("ArrowDown")
        place = "[document.activeElement.dataset.row, document.activeElement.dataset.column]"
        assert await tab.ask(place) == ["1", "0"]
        assert await tab.ask("cells[0].duration") == pytest.approx(5, abs=0.1)
        assert await tab.ask("document.title") == "Timbre: listen"  # the hostile text ran no script
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await tab.ask(wider) <= 0  # only the table's own container scrolls sideways
        assert tab.complaints == []

    url = (page() / "index.html").as_uri()
    asyncio.run(asyncio.wait_for(in_chromium(tmp_path / "profile", url, width, visit), 60))
