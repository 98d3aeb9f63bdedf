"""Say what this machine can run, and what params.yaml as it is now lacks here.

    python -m tools.doctor

Every line is ok, warn (something else would want it) or fail (this params.yaml needs it), with the remedy. Ends with
status 1 when there is a fail. Never waits long: questions to the network have a deadline.
"""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stages.files.settings import read_yaml
from stages.process.problem import Problem
from stages.process.stage import run
from stages.recordings.source import SOURCES, read_sources
from stages.speech.package_weights import PREFIX, packaged_folder
from tools.hub import Base, answers, check_access
from tools.machine import GIB, Gpu, find_gpu
from tools.preset import available

DEADLINE = 3.0  # seconds that the network is waited for
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "datasets",
    "dvc",
    "av",
    "soundfile",
    "faster_whisper",
    "whisper",
    "yt_dlp",
)


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    level: str  # ok, warn, fail
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.level:<5} {self.what}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Needs:
    """What a preset asks of the machine, GiB. Disk: weights, their cache, the merged model, DVC's copies."""

    gpu: float
    memory: float
    disk: float


NEEDS = {"embedded": Needs(0, 4, 2), "t4": Needs(14, 12, 30), "h100": Needs(70, 16, 30)}
BASE_ON_DISK = 10.0  # GiB: CSM-1B from the hub


def value(params: dict, dotted: str):
    """The value at a dotted key of nested mappings, or None."""
    for key in dotted.split("."):
        params = params.get(key) if isinstance(params, dict) else None
    return params


class Asked:
    """A question to the network, asked in the background. A daemon thread: a deaf network keeps nothing alive."""

    def __init__(self, question: Callable[[], Check]):
        self.answers: list[Check] = []
        self.thread = threading.Thread(target=lambda: self.answers.append(question()), daemon=True)
        self.thread.start()

    def answer(self, late: Check, seconds: float = DEADLINE) -> Check:
        """The answer, or `late` when none has come in that time."""
        self.thread.join(seconds)
        return self.answers[0] if self.answers else late


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    what = f"Python {version[0]}.{version[1]}"
    return Check("ok", what) if version >= (3, 11) else Check("fail", what, "3.11 or later is needed")


def check_packages() -> Check:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        return Check("fail", f"packages missing: {', '.join(missing)}", "run `make setup`")
    return Check("ok", "packages are installed; no ffmpeg binary is needed")


def check_disk(free_gib: float, base: Base) -> Check:
    needed = BASE_ON_DISK if base.name and not base.is_cached else NEEDS["embedded"].disk
    what = f"disk: {free_gib:.0f} GiB free"
    return Check("ok", what) if free_gib >= needed else Check("fail", what, f"{needed:.0f} GiB are needed; free some")


def check_memory(total_gib: float) -> Check:
    what = f"memory: {total_gib:.0f} GiB"
    if total_gib >= NEEDS["embedded"].memory:
        return Check("ok", what)
    return Check("warn", what, f"{NEEDS['embedded'].memory:.0f} GiB are advised; close other programs")


def check_gpu(gpu: Gpu | None, params: dict) -> Check:
    wants = [key for key in ("encode.device", "evaluate.device") if str(value(params, key)).startswith("cuda")]
    if value(params, "train.backend") == "unsloth":
        wants.insert(0, "train.backend")
    if gpu:
        kind = "bfloat16" if gpu.bfloat16 else "float16"
        return Check("ok", f"GPU: {gpu.name}, {gpu.memory_gib:.0f} GiB, {kind}")
    if wants:
        remedy = "run `make preset NAME=embedded`, or go to a GPU box (with a CUDA build of torch)"
        return Check("fail", f"GPU: none, but params.yaml asks for one in {', '.join(wants)}", remedy)
    return Check("ok", "GPU: none; the embedded default needs none")


def check_unsloth(gpu: Gpu | None, params: dict) -> list[Check]:
    """The optional packages of the GPU road, asked for without importing them: unsloth patches others on import."""
    checks = []
    backend, optimizer = value(params, "train.backend"), str(value(params, "train.optimizer"))
    if find_spec("unsloth"):
        checks.append(Check("ok", "unsloth is installed"))
    elif backend == "unsloth":
        remedy = "run `make setup-gpu`, or set train.backend: peft"
        checks.append(Check("fail", "unsloth is not installed, but params.yaml names it in train.backend", remedy))
    elif gpu:
        checks.append(Check("warn", "unsloth is not installed", "run `make setup-gpu` for speed"))
    if "8bit" in optimizer and not find_spec("bitsandbytes"):
        remedy = "run `make setup-gpu`, or set train.optimizer: adamw_torch"
        checks.append(Check("fail", f"bitsandbytes is not installed, but train.optimizer is {optimizer}", remedy))
    return checks


def check_presets(gpu: Gpu | None, memory_gib: float, disk_gib: float) -> list[Check]:
    """One line for each preset whose needs are known."""
    checks = []
    for name in available():
        if name not in NEEDS:
            continue
        needs, lacks = NEEDS[name], []
        if (gpu.memory_gib if gpu else 0) < needs.gpu:
            lacks.append(f"a GPU with {needs.gpu:.0f} GiB")
        if memory_gib < needs.memory:
            lacks.append(f"{needs.memory:.0f} GiB of memory")
        if disk_gib < needs.disk:
            lacks.append(f"{needs.disk:.0f} GiB of free disk")
        if lacks:
            checks.append(Check("warn", f"preset {name} does not fit here", f"it needs {' and '.join(lacks)}"))
        else:
            checks.append(Check("ok", f"preset {name} fits"))
    return checks


HUB_SILENT = Check("warn", "hub: does not answer", "only models from the hub and pushing need it")


def ask_hub(base: Base) -> Check:
    """What the hub says of the base, or, when the base is no matter of the hub's, whether it answers at all."""
    if not base.name or base.is_cached:
        return Check("ok", "hub: answers") if answers() else HUB_SILENT
    try:
        check_access(base)
    except Problem as problem:
        return Check("fail", f"base: {problem}")
    return Check("ok", f"base: {base.name} is on the hub and open to you; it is downloaded on first use")


def check_base(base: Base, hub: Asked) -> list[Check]:
    """The base model: a folder that is there, or on the hub and cached, or to be had now."""
    if base.name and not base.is_cached:
        remedy = "check the network, or fill the cache where there is one and copy it here"
        return [hub.answer(Check("fail", f"base: {base.name} is not cached and the hub does not answer", remedy))]
    folder = Path(base.path or "")
    if base.name:
        found = Check("ok", f"base: {base.name} is in the cache; no hub is needed")
    elif any(folder.glob("*config.json")) and any(folder.glob("*.safetensors*")):
        found = Check("ok", f"base: {base.path}")
    else:
        remedy = "run `git checkout bases` or `make pull REMOTE=...`, or name another in base.path"
        found = Check("fail", f"base: no checkpoint in {base.path}", remedy)
    return [found, hub.answer(HUB_SILENT)]


def check_token() -> Check:
    if os.environ.get("HF_TOKEN"):
        return Check("ok", "HF_TOKEN is set")
    return Check("ok", "HF_TOKEN is not set; only gated models and pushing to the hub need it")


def check_recogniser(params: dict, section: str) -> Check:
    """The Whisper model of a section: in a package, in a folder, in a cache, or to be downloaded."""
    engine, model = value(params, f"{section}.engine"), str(value(params, f"{section}.model"))
    what = f"{section}: {engine} {model}"
    if model.startswith(PREFIX):
        try:
            packaged_folder(model)
        except Problem as problem:
            return Check("fail", f"{section}: {problem}")
        return Check("ok", f"{what} comes with a package")
    if "/" in model or Path(model).exists():
        if Path(model).exists():
            return Check("ok", what)
        return Check(
            "warn", f"{what}: no such path", "a name on the hub is downloaded on first use; else mend the path"
        )
    cached = (
        Path.home() / ".cache/whisper" / f"{ {'turbo': 'large-v3-turbo', 'large': 'large-v3'}.get(model, model) }.pt"
    )
    if engine == "openai-whisper" and cached.is_file():
        return Check("ok", f"{what} is in the cache")
    return Check("warn", f"{what}: not in the cache", "it is downloaded on first use, which needs the network")


def check_sources() -> list[Check]:
    """Every recording: it is described as it must be, rights included, and its file is there."""
    try:
        sources = read_sources()
    except Problem as problem:
        return [Check("fail", str(problem))]
    remedy = "put the file there, or run `make pull REMOTE=...`"
    absent = {key: source.path for key, source in sources.items() if not Path(source.path).exists()}
    missing = [Check("fail", f"{SOURCES}: {key}: there is no {path}", remedy) for key, path in absent.items()]
    return missing or [Check("ok", f"recordings: {len(sources)}, each with its rights")]


def check_cookies(params: dict) -> list[Check]:
    cookies = value(params, "fetch.network.cookies_file")
    if not cookies:
        return []
    if Path(cookies).is_file():
        return [Check("ok", f"cookies: {cookies}")]
    remedy = "export it from your browser, or set fetch.network.cookies_file: null"
    return [Check("fail", f"cookies: there is no file {cookies}", remedy)]


def read_params() -> dict:
    params = read_yaml("params.yaml")
    if not isinstance(params, dict):
        raise Problem("params.yaml: is no mapping of sections; restore it with `git checkout params.yaml`")
    return params


def examine() -> list[Check]:
    """All checks, in the order they are shown."""
    params = read_params()
    base = Base.of(params)
    hub = Asked(lambda: ask_hub(base))  # first: it answers while torch is being imported
    disk_gib = shutil.disk_usage(".").free / GIB
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    gpu = find_gpu() if find_spec("torch") else None
    return [
        check_python(),
        check_packages(),
        check_disk(disk_gib, base),
        check_memory(memory_gib),
        check_gpu(gpu, params),
        *check_unsloth(gpu, params),
        *check_presets(gpu, memory_gib, disk_gib),
        *check_base(base, hub),
        check_token(),
        check_recogniser(params, "transcribe"),
        check_recogniser(params, "evaluate"),
        *check_sources(),
        *check_cookies(params),
    ]


def main() -> None:
    checks = examine()
    print(*checks, sep="\n")
    if failed := sum(check.level == "fail" for check in checks):
        raise Problem(
            f"{failed} of {len(checks)} checks failed; this params.yaml will not run here before they are mended"
        )


if __name__ == "__main__":
    run(main, "doctor")
