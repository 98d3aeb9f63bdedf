"""Fetch one recording: from a file or the net to 24 kHz mono FLAC, with a note of where it came from.

    python -m stages.fetch KEY

KEY is a recording of data/sources.yaml. Writes data/fetched/KEY.flac and data/fetched/KEY.json. What comes from the
net is kept in .work/downloads, which DVC does not clear: a changed stage decodes again, but does not download again.
"""

from pathlib import Path

from stages.process.stage import recording_key, run, sole_run, work_folder  # isort: skip  (first: it sets the number of threads)
from stages.audio.decode import Decoded, decode
from stages.files.atomic import replacing, write_json
from stages.files.settings import read_settings
from stages.process.problem import Problem
from stages.recordings.download import download, download_folder
from stages.recordings.network import FetchSettings, Network
from stages.recordings.provenance import describe, sha256_of
from stages.recordings.source import SOURCES, Source, read_sources

FETCHED = Path("data/fetched")


def chosen_source(key: str) -> Source:
    sources = read_sources()
    if key not in sources:
        raise Problem(f"{SOURCES}: has no recording {key!r}; known are {', '.join(sources)}")
    return sources[key]


def original_of(source: Source, network: Network, title: str) -> tuple[Path, str, dict | None]:
    """The file to decode, its sha256, and what the site says of it (None for a local file)."""
    if source.url is None:
        path = Path(source.path)
        return path, sha256_of(path) if path.is_file() else "", None
    folder = work_folder() / "downloads"
    with sole_run(f"download-{download_folder(folder, source.url).name[:16]}"):  # two keys may share an address
        path, page = download(source.url, folder, network, title)
    return path, page["sha256"], page


def warn_of_damage(key: str, decoded: Decoded) -> None:
    if decoded.damaged_packets:
        print(f"fetch/{key}: left out {decoded.damaged_packets} damaged packets of the file (a glitch in the sound)")


def main(key: str) -> None:
    source = chosen_source(key)
    network = read_settings(FetchSettings, "fetch").network
    original, sha256, page = original_of(source, network, key)
    with replacing(FETCHED / f"{key}.flac") as temporary:
        name = source.url and f"{source.url} (kept in {original.parent})"
        decoded = decode(original, temporary, source.start, source.end, name)
    write_json(FETCHED / f"{key}.json", describe(source, decoded, sha256, page))
    warn_of_damage(key, decoded)


if __name__ == "__main__":
    key = recording_key()
    run(lambda: main(key), f"fetch/{key}")
