"""The listening page in a real browser: it plays, obeys the keyboard, fits the screen and complains of nothing."""

import pytest
from browser import browse, needs_chromium
from pages import HOSTILE, QUIET, write

pytestmark = needs_chromium
NAMED = {"button", "link", "textbox", "searchbox", "checkbox", "combobox", "slider", "DisclosureTriangle", "radio"}
CLIPS = (
    "var clips = [...document.querySelectorAll('.sentences .clip .play')]; var sound = document.getElementById('sound')"
)
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
COLUMN = "document.activeElement.closest('[data-column]')?.dataset.column"
NOW = "document.querySelector('.current')?.closest('[data-column]')?.dataset.column"
PLAYING = "!sound.paused && sound.currentTime > 0"
SHARE = "sound.currentTime / sound.duration"
PAPER = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("page") / "listen", texts=(HOSTILE, QUIET, "The last of the lines."))
    return (folder / "index.html").as_uri()


@pytest.fixture
def visiting(address, tmp_path):
    """visiting(visit, width): open the page, await visit(tab), and see that the browser complained of nothing."""

    def go(visit, width=1200):
        async def visit_and_check(tab):
            await tab.loaded()
            await tab.resize(width)
            await tab.ask(CLIPS)
            await visit(tab)
            assert await tab.ask("document.title") == "Timbre: listen"  # the hostile text ran no script
            assert tab.complaints == []

        browse(tmp_path / "profile", address, visit_and_check, width)

    return go


@pytest.mark.parametrize("width", [1200, 380])
def test_the_keyboard_plays_and_moves(visiting, width):
    async def visit(tab):
        await tab.press(" ")  # nothing has the focus: the first clip
        await tab.until(PLAYING)
        assert await tab.ask(COLUMN) is None and await tab.ask(NOW) == "gt"
        await tab.press(" ")
        assert await tab.ask("sound.paused")
        await tab.ask("clips[0].focus()")
        await tab.press(" ")
        await tab.until(PLAYING)
        await tab.press("ArrowRight")
        assert await tab.ask(COLUMN) == "gt_codec" and await tab.ask(NOW) == "gt"
        await tab.press(" ")
        await tab.until(f"{PLAYING} && {NOW} === 'gt_codec'")
        assert (
            await tab.ask("document.querySelectorAll('.play[aria-pressed=true]').length") == 2
        )  # its own and the dock's
        await tab.press("ArrowRight")
        label = await tab.ask("document.activeElement.getAttribute('aria-label')")
        assert label.startswith("Base, seed 1: </q>")  # seed 0 has no sound
        await tab.press("ArrowDown")
        label = await tab.ask("document.activeElement.getAttribute('aria-label')")
        assert label == f"Base, seed 0: {QUIET}"
        await tab.press("ArrowUp")
        await tab.press("ArrowLeft")
        await tab.press("ArrowLeft")
        await tab.press("ArrowLeft")  # there is nothing further
        assert await tab.ask("document.activeElement === clips[0]")
        assert await tab.ask("sound.duration") == pytest.approx(5, abs=0.1)
        assert await tab.ask(WIDER) <= 0

    visiting(visit, width)


def test_the_condition_is_switched_in_place(visiting):
    async def visit(tab):
        line = "[...document.querySelectorAll('.sentences [data-line]')][1]"
        await tab.ask(f"{line}.querySelector('[data-column=zero_shot] [data-seed=\"1\"] .play').focus()")
        await tab.press(" ")
        await tab.until(PLAYING)
        await tab.ask("sound.currentTime = 2.5")
        for key, column in [
            ("b", "ft"),
            ("a", "zero_shot"),
            ("4", "clone"),
            ("b", "ft_clone"),
            ("a", "clone"),
            ("1", "gt"),
        ]:
            await tab.press(key)
            await tab.until(f"{NOW} === '{column}' && sound.duration && {PLAYING}")
            assert 0.45 < await tab.ask(SHARE) < 0.95, key
            assert await tab.ask(COLUMN) == column
        await tab.press("5")  # back from the recording, which has no seed
        assert (await tab.ask("document.getElementById('dock-title').textContent")).startswith("Tuned, seed 1")
        await tab.until(PLAYING)
        await tab.press(" ")
        await tab.press("6")
        assert await tab.ask(f"sound.paused && {NOW} === 'ft_clone'")  # it goes on as it was: silent
        await tab.ask("clips[0].focus()")
        await tab.press(" ")
        await tab.until(f"{PLAYING} && {NOW} === 'gt'")
        await tab.click(".switch [data-column=ft]")
        await tab.until(f"{PLAYING} && {NOW} === 'ft'")
        assert await tab.ask("document.querySelector('.switch [aria-pressed=true]').dataset.column") == "ft"

    visiting(visit)


def test_the_mouse_plays_from_a_place(visiting):
    async def visit(tab):
        await tab.click(".sentences [data-column=ft] .wave")  # its middle
        await tab.until(f"{PLAYING} && {NOW} === 'ft' && {SHARE} > 0.45")
        assert await tab.ask(SHARE) < 0.9
        assert await tab.ask("document.activeElement.matches('.play') || document.activeElement === document.body")
        place = "document.getElementById('dock-place')"
        await tab.ask(
            f"{place}.value = 100; for (const name of ['input', 'change']) {place}.dispatchEvent(new Event(name))"
        )
        await tab.until(f"{SHARE} < 0.3")
        await tab.click("#dock-play")
        assert await tab.ask("sound.paused")
        await tab.ask("document.querySelector('.context').closest('details').open = true")
        await tab.click(".context .play")
        await tab.until(f"{PLAYING} && !{NOW}")
        assert await tab.ask("[...document.querySelectorAll('.switch button')].every((one) => one.disabled)")

    visiting(visit)


def test_search_finds_texts_failures_and_what_was_heard(visiting):
    async def visit(tab):
        shown = "[...document.querySelectorAll('.sentences [data-line]')].map((line) => line.hidden ? 0 : 1).join('')"
        await tab.press("/")
        assert await tab.ask("document.activeElement.id") == "search"
        await tab.write("Quiet LINE")
        assert await tab.ask(shown) == "010"
        assert await tab.ask("document.getElementById('found').textContent") == "1 of 3 sentences"
        await tab.press(" ")  # a letter here, no command
        assert await tab.ask("sound.paused")
        await tab.press("Escape")
        assert await tab.ask(shown) == "111" and await tab.ask("document.activeElement.id") == ""
        for words, found in [
            ("did not stop", "001"),
            ("quick lion", "001"),
            ("<script>", "100"),
            ("the of", "001"),
            ("zzz", "000"),
        ]:
            await tab.press("/")
            await tab.write(words)
            assert await tab.ask(shown) == found, words
            await tab.press("Escape")
        await tab.click("[data-search='no sound']")
        assert await tab.ask(shown) == "100"
        await tab.ask("document.getElementById('search').blur(); clips[0].focus()")
        await tab.press("ArrowDown")
        assert await tab.ask("document.activeElement === clips[0]")  # what is filtered out is not gone to
        await tab.ask(
            "var seeds = document.getElementById('seed'); seeds.value = '1'; seeds.dispatchEvent(new Event('change'))"
        )
        assert await tab.ask("[...document.querySelectorAll('.clip[data-seed=\"0\"]')].every((one) => one.hidden)")
        await tab.click("#numbers")
        assert await tab.ask("document.querySelector('.more').checkVisibility()")

    visiting(visit)


def test_the_keys_are_told(visiting):
    async def visit(tab):
        dialog = "document.getElementById('keys').open"
        await tab.press("?")
        assert await tab.ask(dialog)
        await tab.press("b")
        assert await tab.ask("sound.paused && document.getElementById('dock').hidden")
        await tab.press("?")
        assert not await tab.ask(dialog)
        await tab.click("#help")
        assert await tab.ask(dialog)
        await tab.press("Enter")  # its button
        assert not await tab.ask(dialog)

    visiting(visit)


def test_dark_and_light(visiting):
    async def visit(tab):
        dark, light = "rgb(23, 22, 20)", "rgb(251, 250, 247)"
        choose = "var box = document.getElementById('theme'); box.value = '{}'; box.dispatchEvent(new Event('change'))"
        for scheme, paper in (("dark", dark), ("light", light)):
            await tab.prefer(scheme)
            assert await tab.ask(PAPER) == paper
        await tab.ask(choose.format("dark"))
        assert await tab.ask(PAPER) == dark
        await tab.call("Page.reload")
        await tab.until("document.readyState === 'complete' && document.getElementById('theme')?.value === 'dark'")
        assert await tab.ask(PAPER) == dark
        await tab.ask(choose.format(""))
        assert await tab.ask(PAPER) == light

    visiting(visit)


@pytest.mark.parametrize("width", [1400, 800, 380])
def test_it_fits_the_screen_and_every_control_has_a_name(visiting, width):
    async def visit(tab):
        await tab.ask("for (const one of document.querySelectorAll('details')) one.open = true; clips[0].click()")
        await tab.until(PLAYING)
        assert await tab.ask(WIDER) <= 0
        await tab.call("Accessibility.enable")
        nodes = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
        controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in NAMED]
        assert len(controls) > len(await tab.ask("clips.map(() => 1)"))
        assert [node for node in controls if not node.get("name", {}).get("value")] == []
        roles = [node["role"]["value"] for node in nodes if not node["ignored"]]
        assert roles.count("columnheader") >= 7 and roles.count("rowheader") >= 3  # the grid is still a table

    visiting(visit, width)


def test_a_sound_that_is_gone_is_told(tmp_path):
    folder = write(tmp_path / "listen")

    async def visit(tab):
        await tab.loaded()
        for sound in folder.rglob("*.mp3"):
            sound.unlink()
        await tab.press(" ")
        await tab.until("document.getElementById('status').textContent.includes('cannot be loaded')")
        thrown = [one for one in tab.complaints if "exceptionDetails" in one]
        assert thrown == []  # the browser logs the missing file; the page's own script does not fail

    browse(tmp_path / "profile", (folder / "index.html").as_uri(), visit)
