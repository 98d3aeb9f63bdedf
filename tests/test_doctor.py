"""The doctor: what is said of a machine and of params.yaml, each line with its remedy, in time whatever the network."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory

from stages.process.problem import Problem
from tools import doctor, preset
from tools.doctor import Check
from tools.hub import Base
from tools.machine import Gpu

ROOT = Path(__file__).parents[1]
T4, H100 = Gpu("Tesla T4", 14.6, False), Gpu("NVIDIA H100", 79.1, True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The default settings, the small base and one recording; no network, an empty cache of the hub."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "presets", "presets")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    preset.apply("embedded")
    for name in ("bases/tiny/config.json", "bases/tiny/model.safetensors", "data/talk.mp3"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}")
    rights = "rights: {basis: own-voice, speaker: Ada, evidence: mine}"
    Path("data/sources.yaml").write_text(f"sources: {{talk: {{path: data/talk.mp3, {rights}}}}}\n")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(doctor, "find_gpu", lambda: None)
    return tmp_path


def lines(level: str) -> list[str]:
    return [str(check) for check in doctor.examine() if check.level == level]


def edit(old: str, new: str, path: str = "params.yaml") -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def test_the_default_runs_on_a_small_machine_without_a_network(project, capsys):
    doctor.main()
    shown = capsys.readouterr().out
    assert "fail" not in shown
    assert "ok    GPU: none; the embedded default needs none" in shown and "ok    preset embedded fits" in shown
    assert "warn  preset t4 does not fit here; it needs a GPU with 14 GiB" in shown
    assert "warn  hub: does not answer; only models from the hub and pushing need it" in shown
    assert "no ffmpeg binary is needed" in shown


@pytest.mark.parametrize("name", ["t4", "h100"])
def test_a_gpu_preset_on_a_laptop_fails_with_the_remedies(project, name):
    preset.apply(name)
    failed = "\n".join(lines("fail"))
    assert "GPU: none, but params.yaml asks for one in train.backend; run `make preset NAME=embedded`" in failed
    assert "base: unsloth/csm-1b: the hub does not answer" in failed
    with pytest.raises(Problem, match=r"\d of \d+ checks failed"):
        doctor.main()


def test_every_preset_has_its_needs():
    assert set(doctor.NEEDS) == {path.stem for path in (ROOT / "presets").glob("*.yaml")}


@pytest.mark.parametrize(
    ("gpu", "fitting"), [(None, ["embedded"]), (T4, ["embedded", "t4"]), (H100, ["embedded", "h100", "t4"])]
)
def test_which_presets_fit(project, gpu, fitting):
    checks = doctor.check_presets(gpu, memory_gib=64, disk_gib=100)
    assert [check.what for check in checks if check.level == "ok"] == [f"preset {name} fits" for name in fitting]


def test_what_a_preset_lacks_is_named(project):
    [check] = [check for check in doctor.check_presets(T4, 8, 5) if "t4" in check.what]
    assert check.remedy == "it needs 12 GiB of memory and 30 GiB of free disk"


def test_the_gpu_and_its_number_format():
    assert str(doctor.check_gpu(T4, {})) == "ok    GPU: Tesla T4, 15 GiB, float16"
    assert str(doctor.check_gpu(H100, {})) == "ok    GPU: NVIDIA H100, 79 GiB, bfloat16"
    cuda = doctor.check_gpu(None, {"evaluate": {"device": "cuda"}})
    assert cuda.level == "fail" and "evaluate.device" in cuda.what


@pytest.mark.parametrize(
    ("gpu", "train", "levels"),
    [
        (None, {"backend": "auto", "optimizer": "adamw_torch"}, []),
        (T4, {"backend": "auto", "optimizer": "adamw_torch"}, ["warn"]),
        (T4, {"backend": "peft", "optimizer": "adamw_8bit"}, ["warn", "fail"]),
        (T4, {"backend": "unsloth", "optimizer": "adamw_8bit"}, ["fail", "fail"]),
    ],
)
def test_missing_gpu_packages(monkeypatch, gpu, train, levels):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert [check.level for check in doctor.check_unsloth(gpu, {"train": train})] == levels
    monkeypatch.setattr(doctor, "find_spec", lambda name: name)
    assert [check.level for check in doctor.check_unsloth(gpu, {"train": train})] == ["ok"]


def test_missing_packages(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "peft" else name)
    assert str(doctor.check_packages()) == "fail  packages missing: peft; run `make setup`"


def test_python_disk_and_memory():
    assert doctor.check_python((3, 10)).level == "fail" and doctor.check_python((3, 11)).level == "ok"
    assert doctor.check_memory(2).level == "warn" and doctor.check_memory(8).level == "ok"
    local = Base("bases/tiny", None, None)
    assert doctor.check_disk(1, local).level == "fail" and doctor.check_disk(5, local).level == "ok"


def test_a_base_from_the_hub_needs_room_until_it_is_cached(project):
    base = Base("bases/hub", "unsloth/csm-1b", "main")
    assert str(doctor.check_disk(5, base)) == "fail  disk: 5 GiB free; 10 GiB are needed; free some"
    cache(project)
    assert doctor.check_disk(5, base).level == "ok"


def cache(project: Path) -> None:
    """Put unsloth/csm-1b in the hub's cache, as a download does."""
    place = project / "cache/models--unsloth--csm-1b"
    commit = "a" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text(commit)
    for name in ("config.json", "model.safetensors"):
        (place / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (place / "snapshots" / commit / name).write_text("{}")


def test_a_cached_base_needs_no_hub(project):
    preset.apply("t4")
    cache(project)
    assert "ok    base: unsloth/csm-1b is in the cache; no hub is needed" in lines("ok")
    assert not any("base" in line for line in lines("fail"))


@pytest.mark.parametrize(
    ("status", "body", "headers", "message"),
    [
        (200, b'{"id": "unsloth/csm-1b", "gated": false}', {}, "is on the hub and open to you"),
        (404, b"{}", {"X-Error-Code": "RepoNotFound"}, "not found, or not yours to see"),
        (404, b"{}", {"X-Error-Code": "RevisionNotFound"}, "has no such revision; check base.revision"),
        (403, b"{}", {"X-Error-Code": "GatedRepo"}, "is gated; accept its terms on its page and set HF_TOKEN"),
        (418, b"{}", {}, "the hub answered 418"),
    ],
)
def test_what_the_hub_says_of_the_base(project, monkeypatch, status, body, headers, message):
    def answer(request):
        return httpx.Response(status, content=body, headers=headers, request=request)

    set_client_factory(lambda: httpx.Client(transport=httpx.MockTransport(answer)))
    try:
        check = doctor.ask_hub(Base("bases/hub", "unsloth/csm-1b", "main"))
    finally:
        set_client_factory(default_client_factory)
    assert message in str(check) and check.level == ("ok" if status == 200 else "fail")


def test_a_hub_that_is_deaf_does_not_hold_the_doctor_up(project):
    begun = time.monotonic()
    asked = doctor.Asked(lambda: time.sleep(30))
    late = Check("warn", "late")
    assert asked.answer(late, seconds=0.1) is late
    assert time.monotonic() - begun < 5


def test_no_base(project):
    shutil.rmtree("bases/tiny")
    assert "fail  base: no checkpoint in bases/tiny; run `git checkout bases` or `make pull" in "".join(lines("fail"))


def test_recordings_without_rights_or_files(project):
    edit("basis: own-voice", "basis: none", "data/sources.yaml")
    assert "data/sources.yaml: sources.talk.rights.basis" in "".join(lines("fail"))
    edit("basis: none", "basis: consent", "data/sources.yaml")
    Path("data/talk.mp3").unlink()
    assert "talk: there is no data/talk.mp3; put the file there" in "".join(lines("fail"))


def test_cookies(project):
    edit("cookies_file: null", "cookies_file: me.txt")
    assert "cookies: there is no file me.txt; export it from your browser" in "".join(lines("fail"))
    Path("me.txt").touch()
    assert "ok    cookies: me.txt" in lines("ok")


@pytest.mark.parametrize(
    ("engine", "model", "level"),
    [
        ("faster-whisper", "package:tiny.en", "ok"),
        ("faster-whisper", "package:large", "fail"),
        ("openai-whisper", "turbo", "warn"),
        ("faster-whisper", "models/mine", "warn"),
        ("faster-whisper", "bases/tiny", "ok"),
    ],
)
def test_recognisers(project, monkeypatch, engine, model, level):
    monkeypatch.setenv("HOME", str(project))
    assert doctor.check_recogniser({"transcribe": {"engine": engine, "model": model}}, "transcribe").level == level


def test_a_recogniser_in_the_cache(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project))
    Path(".cache/whisper").mkdir(parents=True)
    Path(".cache/whisper/large-v3-turbo.pt").touch()
    check = doctor.check_recogniser({"evaluate": {"engine": "openai-whisper", "model": "turbo"}}, "evaluate")
    assert str(check) == "ok    evaluate: openai-whisper turbo is in the cache"


def test_a_token_is_seen_and_never_shown(project, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert str(doctor.check_token()) == "ok    HF_TOKEN is set"


@pytest.mark.parametrize("content", ["base: [\n", "- 1\n"])
def test_broken_params(project, content):
    Path("params.yaml").write_text(content)
    with pytest.raises(Problem, match=r"params.yaml"):
        doctor.examine()


def test_the_command_ends_with_status_1_and_one_line(project):
    Path("data/talk.mp3").unlink()
    environment = {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": "http://127.0.0.1:9", "HOME": str(project)}
    command = [sys.executable, "-m", "tools.doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "fail  data/sources.yaml: talk: there is no data/talk.mp3" in done.stdout
    assert done.stderr.startswith("doctor: 1 of ") and done.stderr.count("\n") == 1
