"""Push the data set, the adapter or the merged voice to the Hugging Face Hub, with a card that says whose voice it is.

    python -m tools.push {dataset,adapter,merged} user/name [--public] [--dry]

Private unless --public. --dry prints what would go and asks the network nothing. The token comes from HF_TOKEN only.
One commit holds everything, so that the repository is never half new; the card is made in memory, for DVC watches the
folders that are pushed.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id

from stages.process.problem import Problem
from stages.process.stage import run
from tools.cards import dataset_card, model_card
from tools.hub import check_card, one_line, token

CARD = "README.md"
FOLDERS = {"dataset": "data/rows", "adapter": "models/adapter", "merged": "models/merged"}


@dataclass(frozen=True)
class Package:
    """What goes to the hub: files by their name there, and the card."""

    kind: str
    repo: str
    public: bool
    files: dict[str, Path]
    card: str

    @property
    def repo_type(self) -> str:
        return "dataset" if self.kind == "dataset" else "model"

    def __str__(self) -> str:
        sizes = {name: path.stat().st_size for name, path in self.files.items()}
        sizes[CARD] = len(self.card.encode())
        lines = [f"{size:>15,}  {name}" for name, size in sorted(sizes.items())]
        seen = "public: anyone can download this voice" if self.public else "private"
        return "\n".join(
            [f"{self.repo_type} {self.repo} ({seen})", *lines, f"{sum(sizes.values()):>15,}  bytes in all"]
        )


def check_repo(repo: str) -> str:
    """Return `repo`, or raise Problem unless it is user/name as the hub allows it."""
    try:
        validate_repo_id(repo)
    except HFValidationError:
        repo = ""
    if repo.count("/") != 1:
        raise Problem("REPO must be user/name: letters, digits, - _ and . (make push-adapter REPO=ada/my-voice)")
    return repo


def pack(kind: str, repo: str, public: bool = False) -> Package:
    """Gather the files of `kind` and make the card. Raises Problem when there is nothing to push."""
    check_repo(repo)
    folder = Path(FOLDERS[kind])
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    files.pop(CARD, None)  # PEFT's empty form; ours takes its place
    if not files:
        raise Problem(f"{folder}: nothing is there to push; run `make repro` or `make pull REMOTE=...`")
    card = dataset_card(repo) if kind == "dataset" else model_card(repo, kind)
    return Package(kind, repo, public, files, card)


def check_visibility(private: bool, package: Package) -> None:
    """Raise Problem rather than put a private voice into a repository that is public already."""
    if not private and not package.public:
        remedy = "push with PUBLIC=1, make it private in its settings, or name another REPO"
        raise Problem(f"{package.repo} is a public repository; {remedy}")
    if private and package.public:
        print(f"note: {package.repo} exists and stays private; its settings on the hub change that")


def push(package: Package) -> str:
    """Create the repository if it is not there and commit the package; return the address of the commit.

    The hub checks the card first, so that a card it refuses leaves no empty repository behind.
    """
    api = HfApi(token=token())
    check_card(package.card, package.repo_type, api.token)
    operations = [CommitOperationAdd(name, path) for name, path in package.files.items()]
    operations.append(CommitOperationAdd(CARD, package.card.encode()))
    where = {"repo_id": package.repo, "repo_type": package.repo_type}
    with one_line(package.repo):
        try:
            check_visibility(api.repo_info(**where).private, package)
        except RepositoryNotFoundError:
            api.create_repo(**where, private=not package.public)
        commit = api.create_commit(**where, operations=operations, commit_message=f"Timbre: {package.kind}")
    return commit.commit_url


def main() -> None:
    parser = argparse.ArgumentParser(description="Push to the Hugging Face Hub.")
    parser.add_argument("kind", choices=FOLDERS)
    parser.add_argument("repo", help="user/name")
    parser.add_argument("--public", action="store_true", help="let anyone download it")
    parser.add_argument("--dry", action="store_true", help="only print what would go")
    asked = parser.parse_args()
    package = pack(asked.kind, asked.repo, asked.public)
    print(package)
    if asked.dry:
        print(f"\n{package.card}\ndry run: nothing was sent")
    else:
        print(f"pushed: {push(package)}")


if __name__ == "__main__":
    run(main, "push")
