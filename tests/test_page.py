"""The listening page: safe, self-contained, honest about what could not be measured."""

import re

import numpy as np
import pytest
import soundfile
from pages import HOSTILE, QUIET, Elements, parts_of_page, read, tone, write

from stages.audio.mp3 import mp3_bytes, write_mp3
from stages.files.rows import Row
from stages.page.figures import clock, duration, kinds, percent, probability, signed
from stages.page.listen import render, sound_file

PLAYERS = 2 * (2 + 4 * 2) - 1 + 1  # two sentences, two seeds; one clip is empty; the context has one row


@pytest.fixture
def page(tmp_path):
    return lambda folder="listen", **changes: write(tmp_path / folder, **changes)


def test_hostile_text_is_text(page):
    found = read(page(warnings=[HOSTILE], verdict=[HOSTILE]))
    assert len(found.all("script")) == 2 and not found.all("img") and not found.all("b") and not found.all("i")
    assert found.text.count(re.sub(r"\s+", " ", HOSTILE)) >= 3
    assert not [name for _, attributes in found.found for name in attributes if name.startswith("on")]


def test_the_folder_stands_alone(page):
    folder = page()
    html = (folder / "index.html").read_text()
    assert "http" not in html and "//cdn" not in html and "@import" not in html and "url(" not in html
    players = read(folder).players
    assert players and all((folder / player["data-src"]).stat().st_size > 5_000 for player in players)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.mp3")} == {one["data-src"] for one in players}


def test_every_player_has_a_name_of_its_own(page):
    players = read(page()).players
    assert len(players) == PLAYERS
    assert len({player["aria-label"] for player in players}) == len(players)


@pytest.mark.parametrize(("seeds", "players"), [((7,), 12), ((0, 1, 2), 28)])
def test_one_seed_and_three(page, seeds, players):
    folder = page(seeds=seeds)
    found, html = read(folder), (folder / "index.html").read_text()
    assert len(found.players) == players
    assert ("<span>seed " in html) == (len(seeds) > 1)  # a single one needs no name beside every clip
    assert [one.get("id") for one in found.all("select")].count("seed") == (len(seeds) > 1)
    assert "with seed 7." in found.text or "with seeds 0, 1, 2." in found.text


def test_what_went_wrong_is_marked(page):
    found = read(page())
    badges = re.findall(r'<span class="badge" title="[^"]+">([^<]+)</span>', (page() / "index.html").read_text())
    assert sorted(badges) == ["did not stop", "mostly wrong", "no sound"] and "nothing to play" in found.text


def test_wrong_words_are_marked_and_right_ones_are_not_repeated(page):
    html = re.sub(r"\s+", " ", (page() / "index.html").read_text())
    swapped = '<span class="swap"><ins>lion roars</ins> <del>quiet line</del></span>'
    assert f'<p class="said">a <ins>quick</ins> {swapped}</p>' in html
    assert html.count("as written</p>") == PLAYERS - 2  # all but the context and that one


def test_the_clip_has_its_numbers(page):
    found = read(page())
    assert "SIM 0.91" in found.text and "200 Hz" in found.text and "−23.0 LUFS" in found.text
    assert "2nd WER" not in found.text  # there was no second recogniser


def test_every_clip_has_its_picture(page):
    html = (page() / "index.html").read_text()
    assert html.count('<path d="M1 ') == PLAYERS
    assert html.count('<path class="pitch"') == PLAYERS - 1  # the context's pitch was not measured
    assert '<path class="pitch"' not in (page(heards=False) / "index.html").read_text()


def test_a_base_that_cannot_speak_is_called_so(page):
    assert "cannot speak" in read(page(speaks=False, verdict=())).text
    assert "cannot speak" not in read(page(speaks=True)).text
    assert "cannot speak" not in read(page(speaks=None)).text


def test_what_a_base_says_of_itself_is_shown_as_text(page):
    found = read(page(limits="Only <b>small</b> talk."))
    assert "What this base can and cannot do. Only <b>small</b> talk." in found.text and not found.all("b")
    assert "cannot do" not in read(page(folder="other")).text


def test_every_sentence_names_its_place(page):
    found = read(page())
    assert "data/recordings/talk.ogg, 59:50–59:55" in found.text
    assert "data/recordings/talk.ogg, 59:58–1:00:03" in found.text


def test_a_row_on_the_web_is_linked_to_its_second(page):
    origin = {"source": "x", "webpage_url": "https://www.youtube.com/watch?v=abc&t=5s", "start": 10.0}
    links = read(page(origins={"talk": origin})).all("a")
    found = [link["href"] for link in links if link["href"].startswith("http")]
    assert found[:2] == [
        "https://www.youtube.com/watch?v=abc&t=3608s",  # the context comes first
        "https://www.youtube.com/watch?v=abc&t=3600s",
    ]
    assert all(link["rel"] == "noreferrer" for link in links if link["href"].startswith("http"))


def test_the_data_section_says_what_became_of_the_recordings(page):
    text = read(page()).text
    assert "11 rows, 55 s of 1 min 3 s recorded" in text
    assert "3 s in 1 piece: says what a held-out row says" in text
    assert "not found: longer than segment.max_seconds" in text
    assert "3 corrections of misheard words, by 1 rule" in text and "<b>gr[oa]y" in text and "tea <i>" in text


def test_differences_say_what_is_clear(page):
    text = read(page()).text
    assert "Base → Tuned tuning alone" in text and "no clear difference" in text and "p = " in text


def test_what_was_not_measured_is_a_dash():
    found = Elements(render(**parts_of_page()))
    assert "Failures" not in found.text.split("Sentence by sentence")[0]
    assert found.text.split("Sentence by sentence")[0].count("–") >= 6 * 3
    assert "How the voice grew" not in found.text and "The data" not in found.text


def test_the_same_clips_give_the_same_bytes(page):
    one, other = page("one"), page("other")
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_an_old_page_leaves_nothing_behind(page):
    (page() / "audio" / "old.mp3").touch()
    assert not (page() / "audio" / "old.mp3").exists()


def test_a_large_page_stays_light(page):
    """A hundred texts with three seeds have 1,400 clips: at most some 3 kB each."""
    texts = [f"{QUIET} And number {number} of them." for number in range(6)]
    small, large = (len((page(texts=texts[:count]) / "index.html").read_bytes()) for count in (2, 6))
    assert (large - small) / (4 * (2 + 4 * 2)) < 3_000


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
    assert (duration(48.4), duration(367), duration(7500)) == ("48 s", "6 min 7 s", "2 h 5 min")
    assert (signed("-0.02"), signed("3"), signed("-0"), signed("0.00")) == ("−0.02", "+3", "0", "0.00")
    assert (probability(0.0004), probability(0.0123), probability(1.0)) == ("p < 0.001", "p = 0.012", "p = 1.00")


def test_a_failure_without_a_title_is_called_by_its_name():
    assert [one.title for one in kinds("no_stop melted_away")] == ["did not stop", "melted away"]
    assert kinds("") == ()
