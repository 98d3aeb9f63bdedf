"""What goes to the hub: the files and the card, private, in one commit. The hub here is a server on the loopback."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from stages.process.problem import Problem
from tools import push

SHA = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(ThreadingHTTPServer):
    """The few questions that a push asks. `repos` maps (type, name) to what is there."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.repos: dict[tuple[str, str], dict] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.refuses = None  # a status for every question
        self.faults: list[str] = []  # what is wrong with every card
        self.cards: list[dict] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, content: dict, status: int = 200, **headers):
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def handle_question(self):
        hub, body = self.server, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/agent-harnesses":  # the client's own curiosity, once a day
            return self.answer({}, 404)
        hub.asked.append(f"{self.command} {self.path}")
        hub.tokens.add(self.headers.get("Authorization"))
        if hub.refuses:
            return self.answer({"error": "no"}, hub.refuses)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            private = asked.get("private", asked.get("visibility") == "private")
            hub.repos[asked.get("type", "model"), name] = {"private": private, "files": {}}
            return self.answer({"url": f"{hub.address}/{name}"})
        if self.path == "/api/validate-yaml":
            hub.cards.append(json.loads(body))
            errors = [{"message": fault} for fault in hub.faults]
            return self.answer(
                {"errors": errors, "warnings": []}, 400 if errors else 200, Content_Type="application/json"
            )
        _, _, kind, user, name, *rest = self.path.split("?")[0].split("/")
        repo = hub.repos.get((kind.removesuffix("s"), f"{user}/{name}"))
        if repo is None:
            return self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")
        if rest[:1] == ["preupload"]:
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]
            return self.answer({"files": modes})
        if rest[:1] == ["commit"]:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    repo["files"][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                else:
                    repo["message"] = line["value"]["summary"]
            url = f"{hub.address}/{user}/{name}/commit/{SHA}"
            return self.answer({"success": True, "commitOid": SHA, "commitUrl": url})
        return self.answer({"id": f"{user}/{name}", "private": repo["private"], "sha": SHA})

    do_GET = do_POST = do_HEAD = handle_question


@pytest.fixture
def hub(monkeypatch):
    server = FakeHub()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Outputs of a finished run, small."""
    monkeypatch.chdir(tmp_path)
    rights = {"basis": "consent", "speaker": "Ada <b>Quill</b>", "evidence": "signed letter in the safe"}
    record = {
        "rights": rights,
        "source": "talk.mp3",
        "title": "A [talk](http://evil)\n# on | knots",
        "sha256": "ab" * 32,
        "licence": None,
    }
    metrics = {
        "gt": {"wer": 0.05, "clips": 12},
        "ft": {"wer": 0.0731, "similarity": 0.91, "clips": 12},
        "engines": {"recogniser": "openai-whisper medium.en (en)"},
        "evaluator_sound": True,
    }
    contents = {
        "data/fetched/talk.json": json.dumps(record),
        "data/rows/train.parquet": "rows to train on",
        "data/rows/validation.parquet": "rows",
        "data/rows/test.parquet": "other rows",
        "models/adapter/adapter_config.json": "{}",
        "models/adapter/adapter_model.safetensors": "weights",
        "models/adapter/README.md": "an empty form",
        "models/merged/model.safetensors": "all the weights",
        "models/merged/.cache/x": "not ours",
        "reports/metrics.json": json.dumps(metrics),
        "reports/data.json": json.dumps({"rows": {"train": 40, "test": 6}, "seconds": {"train": 290.0, "test": 48.0}}),
        "data/codes/base.json": json.dumps({"revision": SHA}),
        "data/sources.yaml": "sources: {talk: {path: talk.mp3, speaker: 3}}\n",
        "params.yaml": "base: {path: bases/hub, name: unsloth/csm-1b, revision: main}\n"
        "transcribe: {language: en}\ntrain: {lora: {rank: 32}}\n",
    }
    for name, text in contents.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    return tmp_path


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("kind", "repo_type", "files"),
    [
        ("dataset", "dataset", {"train.parquet", "validation.parquet", "test.parquet"}),
        ("adapter", "model", {"adapter_config.json", "adapter_model.safetensors"}),
        ("merged", "model", {"model.safetensors"}),
    ],
)
def test_a_push_makes_a_private_repository_with_the_files_and_a_card(hub, project, kind, repo_type, files):
    before = all_bytes(project)
    url = push.push(push.pack(kind, "ada/my-voice"))
    repo = hub.repos[repo_type, "ada/my-voice"]
    assert url.endswith(f"/commit/{SHA}") and repo["message"] == f"Timbre: {kind}"
    assert repo["private"] and set(repo["files"]) == files | {"README.md"}
    for name in files:
        assert repo["files"][name] == Path(push.FOLDERS[kind], name).read_bytes()
    assert b"signed letter in the safe" in repo["files"]["README.md"]
    assert hub.tokens == {"Bearer hf_test"}
    assert all_bytes(project) == before  # what DVC watches is left alone


def test_public_only_when_asked(hub, project):
    push.push(push.pack("adapter", "ada/my-voice", public=True))
    assert not hub.repos["model", "ada/my-voice"]["private"]


def test_a_second_push_goes_into_the_same_repository(hub, project, capsys):
    push.push(push.pack("adapter", "ada/my-voice"))
    Path("models/adapter/adapter_model.safetensors").write_text("better weights")
    push.push(push.pack("adapter", "ada/my-voice", public=True))
    assert hub.repos["model", "ada/my-voice"]["files"]["adapter_model.safetensors"] == b"better weights"
    assert hub.repos["model", "ada/my-voice"]["private"]
    assert "stays private" in capsys.readouterr().out


def test_a_private_voice_does_not_go_into_a_public_repository(hub, project):
    hub.repos["model", "ada/open"] = {"private": False, "files": {}}
    with pytest.raises(Problem, match="ada/open is a public repository; push with PUBLIC=1"):
        push.push(push.pack("merged", "ada/open"))
    assert not hub.repos["model", "ada/open"]["files"]


def test_a_dry_run_prints_what_would_go_and_asks_nothing(hub, project, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("sys.argv", ["push", "dataset", "ada/my-rows", "--dry"])
    push.main()
    shown = capsys.readouterr().out
    assert shown.startswith("dataset ada/my-rows (private)\n")
    assert "             16  train.parquet\n" in shown and "README.md\n" in shown
    assert "dry run: nothing was sent" in shown and hub.asked == []
    monkeypatch.setattr("sys.argv", ["push", "dataset", "ada/my-rows", "--dry", "--public"])
    push.main()
    assert "(public: anyone can download this voice)" in capsys.readouterr().out


def test_the_model_card_says_base_rights_measures_and_how_to_load(project):
    card = ModelCard(push.pack("adapter", "ada/my-voice").card)
    assert card.data.base_model == "unsloth/csm-1b" and card.data.base_model_relation == "adapter"
    assert card.data.license == "other" and card.data.library_name == "peft"
    assert f'from_pretrained("unsloth/csm-1b", revision="{SHA}")' in card.text
    assert "| 7.3 | 0.910 | 12 |\n" in card.text and "| 5.0 | – | 12 |\n" in card.text
    assert "openai-whisper medium.en" in card.text and '"rank": 32' in card.text
    merged = push.pack("merged", "ada/my-voice").card
    assert 'from_pretrained("ada/my-voice")' in merged and 'processor("[3]Good morning."' in merged


def test_the_dataset_card_lets_the_splits_be_loaded(project):
    card = ModelCard(push.pack("dataset", "ada/my-rows").card)
    files = card.data.configs[0]["data_files"]
    assert {"split": "train", "path": "train.parquet"} in files and len(files) == 3
    assert "| train | 40 | 4.8 |" in card.text and 'load_dataset("ada/my-rows")' in card.text


def test_a_base_that_is_a_folder_is_not_named_as_a_model_of_the_hub(project):
    Path("params.yaml").write_text("base: {path: bases/tiny, name: null, revision: null}\n")
    card = ModelCard(push.pack("merged", "ada/my-voice").card)
    assert card.data.base_model is None and "bases/tiny" in card.text


def test_text_from_outside_stays_text(project):
    text = push.pack("dataset", "ada/my-rows").card
    assert r"A \[talk\](http://evil) \# on \| knots" in text and r"Ada \<b\>Quill\</b\>" in text


def test_without_measures_the_card_says_so(project):
    Path("reports/metrics.json").unlink()
    assert "there was no reports/metrics.json" in push.pack("merged", "ada/my-voice").card


@pytest.mark.parametrize(
    "repo", ["", "voice", "a/b/c", "ada/../x", "ada/my voice", "ada/-x", "ada/$(id)", "/x", "ada/"]
)
def test_names_that_are_none(project, repo):
    with pytest.raises(Problem, match="REPO must be user/name"):
        push.pack("merged", repo)


def test_nothing_to_push(project):
    Path("models/merged/model.safetensors").unlink()
    with pytest.raises(Problem, match="models/merged: nothing is there to push; run `make repro`"):
        push.pack("merged", "ada/my-voice")


def test_no_rights_no_push(project):
    Path("data/fetched/talk.json").write_text("{}")
    with pytest.raises(Problem, match="talk.json: names no rights"):
        push.pack("merged", "ada/my-voice")


def test_the_hub_checks_the_card_before_anything_is_made(hub, project):
    package = push.pack("adapter", "ada/my-voice")
    hub.faults = ['"license" must be one of [a, b]', '"language" is no code']
    with pytest.raises(
        Problem, match=r'the card\'s metadata: "license" must be one of \[a, b\]; "language" is no code; '
    ):
        push.push(package)
    assert hub.repos == {} and hub.cards[0] == {"repoType": "model", "content": package.card}


def test_no_token(hub, project, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(Problem, match="HF_TOKEN is not set"):
        push.push(push.pack("merged", "ada/my-voice"))
    assert hub.asked == []


@pytest.mark.parametrize(
    ("status", "message"), [(401, r"refused \(401\)"), (403, r"refused \(403\)"), (418, "answered 418")]
)
def test_a_hub_that_refuses(hub, project, status, message):
    hub.refuses = status
    with pytest.raises(Problem, match=f"the card: the hub {message}"):
        push.push(push.pack("merged", "ada/my-voice"))


def test_a_hub_that_is_not_there(hub, project, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Problem, match="the card: the hub does not answer .*; check the network"):
        push.push(push.pack("merged", "ada/my-voice"))
