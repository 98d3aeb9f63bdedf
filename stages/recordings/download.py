"""Recordings from the net with yt-dlp's Python API: resumed when broken off, kept, and asked for only once.

Needs no ffmpeg program: one audio stream is taken as it is, nothing is merged or converted.
"""

import errno
import hashlib
import io
import json
import re
from pathlib import Path

import yt_dlp
from tqdm import tqdm
from yt_dlp.cookies import SUPPORTED_BROWSERS
from yt_dlp.utils import YoutubeDLError

from stages.files.atomic import write_json
from stages.process.problem import Problem
from stages.recordings.network import Network
from stages.recordings.provenance import clean, sha256_of

RECORD = "download.json"  # beside a finished download; without it the folder holds at most a part
RETRIES = 2
COOKIES = "give cookies of a browser where you are signed in: fetch.network.cookies_from_browser or cookies_file"
PAGE_FIELDS = ("title", "uploader", "extractor", "id", "webpage_url")
# What yt-dlp's message says (lower case) -> what to do about it; the first that is found counts.
REMEDIES = (
    (("unsupported url",), "yt-dlp finds no recording there; give the page of one, or a link to the file"),
    (("error 404", "error 410"), "nothing is at this address; mend `url` in data/sources.yaml"),
    (("error 401", "error 403"), f"the site refuses; {COOKIES}, or update yt-dlp"),
    (("error 429",), f"the site asks to slow down; try later, set fetch.network.rate_limit, or {COOKIES}"),
    (("error 5",), "the site has a fault; try again later"),
    (("timed out", "timeout"), "no answer within {timeout:g} s; check the net, or raise fetch.network.timeout"),
    (("in your country", "geo restrict", "geo-restrict", "from your location"), "set fetch.network.proxy"),
    (("proxy",), "check fetch.network.proxy"),
    (("certificate",), "the connection is not safe; check this machine's clock and certificates"),
    (
        ("failed to resolve", "name or service", "connection refused", "unreachable", "failed to establish"),
        "check the address, the net and fetch.network.proxy",
    ),
    (("cookies database", "load cookies"), "mend fetch.network.cookies_from_browser, or set it to null"),
    (("sign in", "not a bot", "log in", "login", "logged-in", "private", "members", "cookies"), COOKIES),
    (("drm",), "protected recordings cannot be fetched; choose another"),
    (
        ("content too short", "bytes read", "connection broken", "incompleteread", "reset by peer"),
        "run again: it goes on",
    ),
    (("ffmpeg",), "this stream needs the ffmpeg program; fetch the file yourself and give it as `path`"),
)
OTHERWISE = "check `url` in data/sources.yaml, or update yt-dlp (pip install -U yt-dlp): sites change often"


class _Quiet:
    """Takes what yt-dlp prints; what matters of it comes back as an exception."""

    def debug(self, message):
        pass

    info = warning = error = debug


def download_folder(folder: Path, url: str) -> Path:
    """The place of one address under `folder`: by its hash, so that no part of it is used as a name."""
    return folder / hashlib.sha256(url.encode()).hexdigest()


def download(url: str, folder: Path, network: Network, title: str = "download") -> tuple[Path, dict]:
    """The file at `url` under `folder`, fetched if it is not there yet, and what the site says of it.

    The second value has title, uploader, licence, extractor, id, webpage_url, duration (each may be None), url,
    sha256 and file. Raises Problem with a remedy for what yt-dlp cannot do, OSError for a full disk.
    """
    place = download_folder(folder, url)
    if record := _finished(place):
        return place / record["file"], record
    place.mkdir(parents=True, exist_ok=True)
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc=title, disable=None) as bar:
        try:
            path, info = _fetch(url, _options(place, network, bar))
        except (YoutubeDLError, OSError) as error:
            if full := _full_disk(error):
                raise OSError(errno.ENOSPC, full.strerror, str(place)) from None
            raise _explained(url, error, network) from None
    record = {"url": url, "licence": clean(info.get("license")), "duration": info.get("duration")}
    record |= {name: clean(info.get(name)) for name in PAGE_FIELDS}
    record["uploader"] = record["uploader"] or clean(info.get("channel"))
    record |= {"file": path.name, "sha256": sha256_of(path)}
    write_json(place / RECORD, record)
    return path, record


def _finished(place: Path) -> dict | None:
    """The record of a finished download whose file is still what it was."""
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    path = place / record["file"]
    if path.is_file() and sha256_of(path) == record["sha256"]:
        return record
    path.unlink(missing_ok=True)  # changed or cut: yt-dlp would take it for the finished file
    return None


def _fetch(url: str, options: dict) -> tuple[Path, dict]:
    with yt_dlp.YoutubeDL(options) as downloader:
        info = _only_one(downloader, url, downloader.extract_info(url, download=False))
        if info.get("live_status") in ("is_live", "is_upcoming"):
            raise Problem(f"{url}: is live, it has no end yet; wait until it is over, or choose another recording")
        # The part of a broken download belongs to one format: the name says which, in our own characters.
        form = f"{info.get('extractor')} {info.get('id')} {info.get('format_id')} {info.get('ext')}"
        info["own_name"] = f"recording-{hashlib.sha256(form.encode()).hexdigest()[:12]}"
        downloader.process_info(info)
    path = Path(options["paths"]["home"]) / info["own_name"]
    if not path.is_file():
        raise Problem(f"{url}: nothing came back; {OTHERWISE}")
    return path, info


def _only_one(downloader: yt_dlp.YoutubeDL, url: str, info: dict) -> dict:
    """The recording that was found; Problem if there are several."""
    if info.get("_type", "video") == "video":
        return info
    entries = [entry for entry in info.get("entries") or () if entry]
    if not entries:
        raise Problem(f"{url}: is a list without recordings; give the page of one, or a link to the file")
    first = entries[0]
    if len(entries) > 1:
        address = clean(first.get("url") or first.get("webpage_url"))
        remedy = "give one entry in data/sources.yaml for each that you want"
        raise Problem(f"{url}: is a list of recordings (the first is {address}); {remedy}")
    if first.get("_type", "video") != "video":
        first = downloader.extract_info(first["url"], download=False, ie_key=first.get("ie_key"))
    return _only_one(downloader, url, first)


def _options(place: Path, network: Network, bar: tqdm) -> dict:
    options = {
        "format": "bestaudio/best",
        "paths": {"home": str(place)},
        "outtmpl": {"default": "%(own_name)s"},
        "noplaylist": True,
        "extract_flat": "in_playlist",
        "playlist_items": "1:2",  # enough to tell a list from a page with one recording
        "continuedl": True,
        "fixup": "never",  # would call the ffmpeg program
        "hls_prefer_native": True,
        "retries": RETRIES,
        "fragment_retries": RETRIES,
        "extractor_retries": RETRIES,
        "skip_unavailable_fragments": False,  # a hole in the sound is an error
        "socket_timeout": network.timeout,
        "ratelimit": network.rate_limit,
        "proxy": network.proxy,
        "js_runtimes": {"deno": {}, "node": {}, "bun": {}, "quickjs": {}},  # YouTube wants one; whichever is here
        "quiet": True,
        "noprogress": True,
        "color": "no_color",
        "logger": _Quiet(),
        "progress_hooks": [lambda state: _show(bar, state)],
    }
    if network.cookies_from_browser is not None:
        if network.cookies_from_browser not in SUPPORTED_BROWSERS:
            known = ", ".join(sorted(SUPPORTED_BROWSERS))
            raise Problem(f"fetch.network.cookies_from_browser: {network.cookies_from_browser!r} is none of {known}")
        options["cookiesfrombrowser"] = (network.cookies_from_browser,)
    if network.cookies_file is not None:
        options["cookiefile"] = _cookies(network.cookies_file)
    return options


def _cookies(path: str) -> io.StringIO:
    """A copy in memory of a cookies.txt: given the file itself, yt-dlp would write it anew when it is done."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
    else:
        if re.match(r"#( Netscape)? HTTP Cookie File", text):
            return io.StringIO(text)
        reason = "not in Netscape format (its first line must be: # Netscape HTTP Cookie File)"
    raise Problem(f"fetch.network.cookies_file: {path}: {reason}; mend it or set null")


def _show(bar: tqdm, state: dict) -> None:
    bar.total = state.get("total_bytes") or state.get("total_bytes_estimate") or bar.total
    bar.update(max(0, (state.get("downloaded_bytes") or 0) - bar.n))


def _full_disk(error: BaseException | None) -> OSError | None:
    """The "no space left" that an error of yt-dlp was made of, if it was."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return error
        inner = getattr(error, "exc_info", None)
        error = (inner[1] if inner else None) or error.__cause__ or error.__context__
    return None


def _explained(url: str, error: Exception, network: Network) -> Problem:
    """One line: the address, yt-dlp's reason without its advice to report a bug, and the remedy."""
    text = (clean(error) or type(error).__name__).removeprefix("ERROR: ")
    reason = (
        text.split(" (caused by")[0].split("; please report this issue")[0].split(" If you believe")[0].rstrip(". ")
    )
    found = (remedy for signs, remedy in REMEDIES if any(sign in text.lower() for sign in signs))
    return Problem(f"{url}: {reason}; {next(found, OTHERWISE).format(timeout=network.timeout)}")
