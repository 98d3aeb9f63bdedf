"""The fetch stage: what data/sources.yaml may say, and how a recording comes from a file or the net."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.audio.decode import decode
from stages.audio.sound import read_sound
from stages.files.settings import read_settings
from stages.process.problem import Problem
from stages.recordings.download import RECORD, download, download_folder
from stages.recordings.network import FetchSettings, Network
from stages.recordings.provenance import clean
from stages.recordings.source import read_sources, seconds_of

ROOT = Path(__file__).parents[1]
RIGHTS = {"basis": "own-voice", "speaker": "Ada Example", "evidence": "recorded by myself"}
NETWORK = Network(cookies_file=None, cookies_from_browser=None, proxy=None, rate_limit=None, timeout=5)


def write_sources(folder, **sources):
    path = folder / "data" / "sources.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"sources": sources}))  # JSON is YAML
    return str(path)


def refusal(folder, key="talk", **item):
    with pytest.raises(Problem) as caught:
        read_sources(write_sources(folder, **{key: item}))
    return str(caught.value)


# data/sources.yaml


def test_sources_keep_their_order_and_times_become_seconds(tmp_path):
    zebra = {"path": "talks/a b.wav", "start": "1:02:03.5", "end": 4000, "speaker": 1, "rights": RIGHTS}
    apple = {"path": "data/online", "url": "https://example.org/watch?v=1&t=2", "rights": RIGHTS}
    sources = read_sources(write_sources(tmp_path, zebra=zebra, apple=apple))
    assert list(sources) == ["zebra", "apple"]
    assert (sources["zebra"].start, sources["zebra"].end, sources["zebra"].speaker) == (3723.5, 4000.0, 1)
    assert (sources["apple"].start, sources["apple"].end, sources["apple"].speaker) == (None, None, 0)
    assert sources["apple"].rights.speaker == "Ada Example"


@pytest.mark.parametrize(
    ("time", "seconds"), [(90, 90), (0.25, 0.25), ("1:30", 90), ("75:00", 4500), ("0:00:01.5", 1.5), ("2:00:00", 7200)]
)
def test_times(time, seconds):
    assert seconds_of(time) == seconds


@pytest.mark.parametrize("time", ["90", "1:75", "1:75:00", "1:2", "soon", "", True, -1, float("nan"), [1], "-1:00"])
def test_what_is_no_time(time):
    with pytest.raises(ValueError, match="time"):
        seconds_of(time)


def test_an_unquoted_time_is_read_as_it_is_meant(tmp_path):
    rights = json.dumps(RIGHTS)
    path = tmp_path / "sources.yaml"
    path.write_text(
        f"sources:\n  talk:\n    path: a.wav\n    start: 12:30:00\n    end: 12:31:00\n    rights: {rights}\n"
    )
    assert read_sources(str(path))["talk"].start == 45000  # not 12.5 minutes, not a number in base 60 by chance


@pytest.mark.parametrize("key", ["../etc", "a.b", "a;reboot", "$(id)", "a b", "-rf", "A", "a" * 65, "", "é", "a\n"])
def test_a_key_that_could_be_a_path_or_a_command_is_refused(tmp_path, key):
    message = refusal(tmp_path, key, path="a.wav", rights=RIGHTS)
    assert f"{key!r} cannot be the key of a recording; use a-z, 0-9, - and _" in message


def test_no_rights_no_recording(tmp_path):
    message = refusal(tmp_path, path="a.wav")
    assert "sources.talk has no `rights`, so it is not fetched; add rights with basis: own-voice, licence or" in message
    without_evidence = {name: value for name, value in RIGHTS.items() if name != "evidence"}
    assert "talk.rights.evidence: missing; add it" in refusal(tmp_path, path="a.wav", rights=without_evidence)
    assert "'own-voice', 'licence' or 'consent'" in refusal(tmp_path, path="a.wav", rights=RIGHTS | {"basis": "fan"})
    assert "talk.rights.speaker" in refusal(tmp_path, path="a.wav", rights=RIGHTS | {"speaker": " "})


def test_a_source_that_contradicts_itself_is_refused(tmp_path):
    def message(**item):
        return refusal(tmp_path, rights=RIGHTS, **item)

    assert "the range 10-10 s is empty" in message(path="a.wav", start=10, end="0:10")
    assert "talk.start: -1 is before the recording begins" in message(path="a.wav", start=-1)
    assert "write path: data/online, or remove `url`" in message(path="a.wav", url="https://example.org/a.mp3")
    assert "add its `url`" in message(path="data/online")
    assert "is no http or https address" in message(path="data/online", url="file:///etc/passwd")
    assert "is no http or https address" in message(path="data/online", url="-exec=reboot")
    assert "a password would be kept" in message(path="data/online", url="https://ada:secret@example.org/a.mp3")
    assert "an address belongs under `url`" in message(path="https://example.org/a.mp3")
    assert "has control characters" in message(path="a\x1b[2J.wav")
    assert "talk.speed: unknown key; known are end, path, rights, speaker, start, url" in message(path="a.wav", speed=2)
    assert "talk.speaker: Input should be a valid integer, not '0'" in message(path="a.wav", speaker="0")


@pytest.mark.parametrize("text", ["", "sources:", "sources: []", "recordings: {}"])
def test_a_file_without_recordings(tmp_path, text):
    (tmp_path / "sources.yaml").write_text(text)
    with pytest.raises(Problem, match="names no recording; add one under `sources:`"):
        read_sources(str(tmp_path / "sources.yaml"))


# the network settings


def test_the_settings_of_this_repository_are_read():
    assert read_settings(FetchSettings, "fetch", ROOT / "params.yaml").network.timeout > 0


def test_cookies_that_cannot_be_used_are_named(tmp_path):
    missing = NETWORK.model_copy(update={"cookies_file": str(tmp_path / "cookies.txt")})
    with pytest.raises(Problem, match="fetch.network.cookies_file: .*cookies.txt: No such file or directory; mend it"):
        download("http://127.0.0.1:9/a.mp3", tmp_path, missing)
    (tmp_path / "cookies.txt").write_text("session=1")
    with pytest.raises(Problem, match="cookies.txt: not in Netscape format .*; mend it"):
        download("http://127.0.0.1:9/a.mp3", tmp_path, missing)
    unknown = NETWORK.model_copy(update={"cookies_from_browser": "lynx"})
    with pytest.raises(Problem, match="cookies_from_browser: 'lynx' is none of brave, chrome"):
        download("http://127.0.0.1:9/a.mp3", tmp_path, unknown)


def test_cookies_are_sent_and_their_file_is_left_alone(tmp_path, server):
    server.files["/a.mp3"] = b"sound" * 1000
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t9999999999\tpass\tbiscuit\n")
    before = cookies.read_bytes()
    download(server.address + "/a.mp3", tmp_path / "d", NETWORK.model_copy(update={"cookies_file": str(cookies)}))
    assert server.headers[-1]["Cookie"] == "pass=biscuit"
    assert cookies.read_bytes() == before


# downloads


def test_a_download_is_kept_and_asked_for_only_once(tmp_path, server):
    server.files["/talk.mp3"] = os.urandom(300_000)
    path, record = download(server.address + "/talk.mp3", tmp_path, NETWORK)
    assert path.read_bytes() == server.files["/talk.mp3"]
    assert record["sha256"] == hashlib.sha256(server.files["/talk.mp3"]).hexdigest()
    assert (record["title"], record["extractor"], record["url"]) == ("talk", "generic", server.address + "/talk.mp3")
    server.requests.clear()
    assert download(server.address + "/talk.mp3", tmp_path, NETWORK) == (path, record)
    assert server.requests == []


def test_a_broken_download_goes_on_where_it_broke(tmp_path, server):
    content = os.urandom(2_000_000)
    url, server.files["/talk.mp3"], server.cut["/talk.mp3"] = server.address + "/talk.mp3", content, 1_200_000
    with pytest.raises(Problem, match="run again: it goes on"):
        download(url, tmp_path, NETWORK)
    (part,) = download_folder(tmp_path, url).iterdir()
    held = part.stat().st_size
    assert part.suffix == ".part" and 1_000_000 < held <= 1_200_000
    server.cut.clear()
    server.requests.clear()
    path, _ = download(url, tmp_path, NETWORK)
    assert ("/talk.mp3", f"bytes={held}-") in server.requests
    assert path.read_bytes() == content
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, RECORD])


def test_a_kept_file_that_was_changed_is_fetched_again(tmp_path, server):
    url, server.files["/a.mp3"] = server.address + "/a.mp3", b"sound" * 1000
    path, _ = download(url, tmp_path, NETWORK)
    path.write_bytes(b"sound" * 10)
    path, _ = download(url, tmp_path, NETWORK)
    assert path.read_bytes() == server.files["/a.mp3"]


def test_two_addresses_with_one_file_name_do_not_collide(tmp_path, server):
    server.files |= {"/one/talk.mp3": b"one" * 1000, "/two/talk.mp3": b"two" * 1000}
    one, _ = download(server.address + "/one/talk.mp3", tmp_path, NETWORK)
    two, _ = download(server.address + "/two/talk.mp3", tmp_path, NETWORK)
    assert (one.read_bytes()[:3], two.read_bytes()[:3]) == (b"one", b"two")


def test_a_redirect_is_followed(tmp_path, server):
    server.redirects["/latest"] = "/talk.mp3"
    server.files["/talk.mp3"] = b"sound" * 1000
    path, record = download(server.address + "/latest", tmp_path, NETWORK)
    assert path.read_bytes() == server.files["/talk.mp3"]
    assert record["url"] == server.address + "/latest"


def test_a_redirect_to_a_file_of_this_machine_is_not_followed(tmp_path, server):
    (tmp_path / "secret.mp3").write_bytes(b"secret" * 1000)
    server.redirects["/latest"] = f"file://{tmp_path}/secret.mp3"
    with pytest.raises(Problem):
        download(server.address + "/latest", tmp_path / "d", NETWORK)


def test_nothing_at_the_address(tmp_path, server, capfd):
    with pytest.raises(Problem, match="/gone.mp3: .*HTTP Error 404.*; nothing is at this address; mend `url`"):
        download(server.address + "/gone.mp3", tmp_path, NETWORK)
    assert capfd.readouterr() == ("", "")


def test_a_server_that_says_nothing_is_given_up(tmp_path, server):
    server.stalls.add("/talk.mp3")
    begin = time.monotonic()
    with pytest.raises(Problem, match="no answer within 0.5 s; check the net, or raise fetch.network.timeout"):
        download(server.address + "/talk.mp3", tmp_path, NETWORK.model_copy(update={"timeout": 0.5}))
    assert time.monotonic() - begin < 5


def test_a_server_that_falls_silent_in_the_middle_is_given_up(tmp_path, server):
    server.files["/talk.mp3"], server.silent["/talk.mp3"] = b"sound" * 100_000, 200_000
    begin = time.monotonic()
    with pytest.raises(Problem, match="no answer within 0.5 s"):
        download(server.address + "/talk.mp3", tmp_path, NETWORK.model_copy(update={"timeout": 0.5}))
    assert time.monotonic() - begin < 6


def test_no_server(tmp_path):
    with pytest.raises(Problem, match="Connection refused.*; check the address, the net and fetch.network.proxy"):
        download("http://127.0.0.1:9/talk.mp3", tmp_path, NETWORK)


def test_a_page_without_a_recording(tmp_path, server):
    server.files["/page"], server.types["/page"] = b"<html><body>words</body></html>", "text/html"
    with pytest.raises(Problem, match="Unsupported URL.*; yt-dlp finds no recording there"):
        download(server.address + "/page", tmp_path, NETWORK)


def test_a_feed_is_a_list_of_which_one_must_be_chosen(tmp_path, server):
    items = "".join(f"<item><title>{n}</title><link>{server.address}/{n}.mp3</link></item>" for n in (1, 2))
    feed = f'<?xml version="1.0"?><rss version="2.0"><channel><title>Show</title>{items}</channel></rss>'
    server.files["/feed"], server.types["/feed"] = feed.encode(), "application/rss+xml"
    with pytest.raises(Problem, match=r"is a list of recordings \(the first is http://.*/1.mp3\); give one entry in"):
        download(server.address + "/feed", tmp_path, NETWORK)
    assert not any(path.startswith(("/1", "/2")) for path, _ in server.requests)


def test_a_list_of_one_is_that_one(tmp_path, server):
    item = f"<item><title>1</title><link>{server.address}/1.mp3</link></item>"
    feed = f'<?xml version="1.0"?><rss version="2.0"><channel><title>Show</title>{item}</channel></rss>'
    server.files |= {"/feed": feed.encode(), "/1.mp3": b"sound" * 1000}
    server.types["/feed"] = "application/rss+xml"
    path, _ = download(server.address + "/feed", tmp_path, NETWORK)
    assert path.read_bytes() == server.files["/1.mp3"]


def test_a_stream_in_pieces_is_put_together(tmp_path, tone, encode, server):
    encode(tmp_path / "talk.m3u8", tone(9), 24_000, "aac", "hls")
    server.files = {f"/{path.name}": path.read_bytes() for path in tmp_path.iterdir()}
    server.types["/talk.m3u8"] = "application/vnd.apple.mpegurl"
    assert len(server.files) > 3
    path, _ = download(server.address + "/talk.m3u8", tmp_path / "downloads", NETWORK)
    assert decode(path, tmp_path / "talk.flac").seconds == pytest.approx(9, abs=0.1)
    assert len(list(path.parent.iterdir())) == 2


def test_a_full_disk_while_downloading_is_an_os_error(tmp_path, server):
    url, server.files["/talk.mp3"] = server.address + "/talk.mp3", b"sound" * 100_000
    path, _ = download(url, tmp_path, NETWORK)
    (path.parent / RECORD).unlink()
    path.unlink()
    path.with_name(path.name + ".part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        download(url, tmp_path, NETWORK)


def test_titles_are_data():
    assert clean("A\x1b[31m\x07 talk\n\n; rm -rf /\u202e \ud800$(id)") == "A[31m talk ; rm -rf / $(id)"
    assert clean("x" * 1000) == "x" * 300
    assert clean("\n \x00") is None


# the stage


@pytest.fixture
def project(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("timeout: 30", "timeout: 0.5"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "online").touch()
    return tmp_path


def stage(project, key):
    environment = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.fetch", key]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=60)


def fetched(project):
    return {path.name: path.read_bytes() for path in (project / "data" / "fetched").iterdir()}


def test_a_file_is_fetched_with_its_provenance(project, tone, encode):
    recording = encode(project / "data" / "talk.m4a", tone(4, 44_100, channels=2), 44_100, "aac")
    write_sources(project, talk={"path": "data/talk.m4a", "start": "0:01", "end": 3.5, "rights": RIGHTS})
    done = stage(project, "talk")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(fetched(project)) == ["talk.flac", "talk.json"]
    assert len(read_sound(project / "data/fetched/talk.flac")) == 60_000
    provenance = json.loads(fetched(project)["talk.json"])
    assert provenance["source"] == "data/talk.m4a" and provenance["rights"] == RIGHTS
    assert (provenance["start"], provenance["end"], provenance["seconds"]) == (1.0, 3.5, 2.5)
    assert provenance["sha256"] == hashlib.sha256(recording.read_bytes()).hexdigest()
    assert provenance["original"]["codec"] == "aac" and provenance["original"]["sampling_rate"] == 44_100
    assert str(project) not in fetched(project)["talk.json"].decode()
    before = fetched(project)
    assert stage(project, "talk").returncode == 0 and fetched(project) == before


def test_an_address_is_fetched_once_and_decoded_again(project, tone, encode, server):
    title = '../../x \x1b[2J\u202e"; touch y; $(touch z)'
    page = f'<html><head><title>{title}</title></head><audio src="/a.mp3"></audio></html>'
    server.files["/talk"], server.types["/talk"] = page.encode(), "text/html; charset=utf-8"
    server.files["/a.mp3"] = encode(project / "a.mp3", tone(3), 24_000, "mp3").read_bytes()
    write_sources(project, talk={"path": "data/online", "url": server.address + "/talk", "rights": RIGHTS})
    assert stage(project, "talk").returncode == 0
    before, requests = fetched(project), len(server.requests)
    provenance = json.loads(before["talk.json"])
    assert provenance["source"] == provenance["webpage_url"] == server.address + "/talk"
    assert provenance["title"].startswith('../../x [2J"; touch y; $(touch z)')
    assert provenance["sha256"] == hashlib.sha256(server.files["/a.mp3"]).hexdigest()
    (project / "data/fetched/talk.flac").unlink()
    assert stage(project, "talk").returncode == 0
    assert fetched(project) == before and len(server.requests) == requests
    assert sorted(path.name for path in project.iterdir()) == [".work", "a.mp3", "data", "params.yaml"]


def test_bad_input_ends_in_one_line_and_leaves_the_last_result(project, tone, encode, server):
    encode(project / "data" / "talk.wav", tone(1), 24_000, "pcm_s16le")
    write_sources(project, talk={"path": "data/talk.wav", "rights": RIGHTS})
    assert stage(project, "talk").returncode == 0
    before = fetched(project)
    (project / "data" / "talk.wav").write_bytes(b"no sound" * 1000)
    failed = stage(project, "talk")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("fetch/talk: data/talk.wav: not audio, or damaged")
    assert failed.stderr.count("\n") == 1 and fetched(project) == before

    server.stalls.add("/talk.mp3")
    write_sources(project, talk={"path": "data/online", "url": server.address + "/talk.mp3", "rights": RIGHTS})
    failed = stage(project, "talk")
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1 and "fetch.network.timeout" in failed.stderr
    assert fetched(project) == before


@pytest.mark.parametrize("key", ["gone", "../../etc/passwd", "$(id)", "a" * 400])
def test_a_key_that_is_not_in_the_sources(project, key):
    write_sources(project, talk={"path": "data/talk.wav", "rights": RIGHTS})
    failed = stage(project, key)
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1
    assert f"data/sources.yaml: has no recording {key!r}; known are talk" in failed.stderr


def test_a_full_disk_ends_in_one_line(project, tone, encode, server):
    content = encode(project / "talk.mp3", tone(3), 24_000, "mp3").read_bytes()
    url, server.files["/talk.mp3"] = server.address + "/talk.mp3", content
    path, _ = download(url, project / ".work" / "downloads", NETWORK)
    (path.parent / RECORD).unlink()
    path.rename(path.with_name("elsewhere"))
    path.with_name(path.name + ".part").symlink_to("/dev/full")
    write_sources(project, talk={"path": "data/online", "url": url, "rights": RIGHTS})
    failed = stage(project, "talk")
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1
    assert "fetch/talk: the disk is full" in failed.stderr and "free some space and run again" in failed.stderr
