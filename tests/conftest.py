"""Fixtures for every test: a small project folder, tones, media files of any container, a server on the loopback."""

import contextlib

import stages.process.stage  # noqa: F401  # isort: skip  (fixes the number of threads before torch is imported)

import re
import threading
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest
import tiny  # noqa: F401  (makes the tests' base before pytest-xdist starts its workers)


@pytest.fixture
def tone():
    """tone(seconds, rate, channels=1, hertz=220, level=0.5) -> float32 samples (channels, n): a sweep-free sine."""

    def make(seconds, rate=24_000, channels=1, hertz=220.0, level=0.5):
        times = np.arange(round(seconds * rate)) / rate
        return np.tile(level * np.sin(2 * np.pi * hertz * times), (channels, 1)).astype(np.float32)

    return make


@pytest.fixture
def encode():
    """encode(path, samples, rate, codec, format=None) -> path: write (channels, n) float32 samples with PyAV."""

    def make(path, samples, rate, codec, container=None):
        layout = {1: "mono", 2: "stereo"}[len(samples)]
        with av.open(str(path), "w", format=container) as output:
            stream = output.add_stream(codec, rate=rate, layout=layout)
            resampler = av.AudioResampler(stream.format, layout, rate, frame_size=stream.frame_size or 1024)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
                output.mux(stream.encode(piece))
        return path

    return make


class LoopbackServer:
    """Files, redirects and faults by path. `requests` records (path, Range header) of every GET."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.stalls: set[str] = set()  # never answered
        self.cut: dict[str, int] = {}  # path -> byte at which the connection breaks
        self.silent: dict[str, int] = {}  # path -> byte after which nothing more is sent
        self.types: dict[str, str] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def handle(self):
                with contextlib.suppress(ConnectionError):  # yt-dlp breaks its probe off
                    super().handle()

            def answer(self, body):
                asked = self.headers.get("Range")
                outer.requests.append((self.path, asked))
                outer.headers.append(dict(self.headers))
                if self.path in outer.stalls:
                    outer.closing.wait(30)
                    self.close_connection = True
                elif target := outer.redirects.get(self.path):
                    self.send_response(302)
                    self.send_header("Location", target)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif self.path not in outer.files:
                    self.send_error(404)
                else:
                    self.send_file(outer.files[self.path], asked, body)

            def send_file(self, content, asked, body):
                begin = int(re.fullmatch(r"bytes=(\d+)-\d*", asked)[1]) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("Content-Type", outer.types.get(self.path, "audio/mpeg"))
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(content) - begin))
                if asked:
                    self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
                self.end_headers()
                if not body:
                    return
                limit = min(outer.cut.get(self.path, len(content)), outer.silent.get(self.path, len(content)))
                self.wfile.write(content[begin:limit])
                if self.path in outer.silent:
                    outer.closing.wait(30)
                self.close_connection = limit < len(content)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server():
    loopback = LoopbackServer()
    yield loopback
    loopback.close()
