"""A revision of the repository: a commit, a branch, a tag, an experiment of DVC by its name, or the workspace.

Only git is asked, without a shell, and only full commit ids reach its other commands.
"""

from dataclasses import dataclass
from pathlib import Path

from stages.process.problem import Problem
from tools.experiments import command

WORKSPACE = "workspace"
LONGEST = 250
CODE = ("stages", "dvc.yaml", "requirements.txt")  # what decides, beside data and parameters, what a run does


@dataclass(frozen=True)
class Revision:
    """`commit` is None for the workspace: the files as they are now. `subject`: the commit message's first line."""

    asked: str
    commit: str | None = None
    subject: str = ""

    @property
    def label(self) -> str:
        """What was asked for, and which commit that is."""
        if self.commit is None or self.commit.startswith(self.asked):
            return self.asked
        return f"{self.asked} ({self.commit[:7]})"

    def read(self, path: str) -> str | None:
        """The text of a file that git keeps, or None where this revision has no such file. Raises Problem for bytes
        that are no text."""
        try:
            if self.commit is None:
                return Path(path).read_text(encoding="utf-8") if Path(path).is_file() else None
            found = command("git", "cat-file", "blob", f"{self.commit}:./{path}")
            return None if found.returncode else found.stdout
        except UnicodeDecodeError:
            raise Problem(f"{path} of {self.asked}: is not text in UTF-8; mend that file") from None


def resolve(asked: str, name: str) -> Revision:
    """The revision that is `asked` for; `name` (A or B) marks the Problem raised when there is none such."""
    if asked == WORKSPACE:
        return Revision(WORKSPACE)
    if not asked or asked.startswith("-") or not asked.isprintable() or len(asked) > LONGEST:
        raise Problem(
            f"{name}={asked[:LONGEST]!r}: no revision is called that; give a commit, branch, tag or experiment"
        )
    here = command("git", "rev-parse", "--show-prefix")
    if here.returncode:
        reason = (here.stderr.strip().splitlines() or ["git failed"])[0].removeprefix("fatal: ")
        raise Problem(f"only what git keeps can be compared, and here: {reason}")
    found = command("git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{asked}^{{commit}}")
    commit = found.stdout.strip() if found.returncode == 0 else _experiment(asked, name)
    subject = command("git", "log", "-1", "--format=%s", commit, "--").stdout.strip()
    return Revision(asked, commit, subject)


def _experiment(asked: str, name: str) -> str:
    """The commit of DVC's experiment of this name: refs/exps/<baseline, 2>/<baseline, 38>/<name>; that of the last
    commit where several have it. Raises Problem when there is none, or no telling which."""
    listed = command("git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps/").stdout.splitlines()
    found = {}
    for line in listed:
        reference, commit = line.split()
        parts = reference.split("/")
        if len(parts) == 5 and len(parts[2]) == 2 and parts[4] == asked:
            found[parts[2] + parts[3]] = commit
    if not found:
        raise Problem(
            f"{name}={asked}: no commit, branch, tag or experiment is called that; `git log --oneline` and "
            "`dvc exp list --all-commits` show what there is"
        )
    head = command("git", "rev-parse", "HEAD").stdout.strip()
    if len(found) > 1 and head not in found:
        raise Problem(f"{name}={asked}: {len(found)} experiments are called that; give the commit of the one you mean")
    return found.get(head) or next(iter(found.values()))


def changed_code(a: Revision, b: Revision) -> list[str]:
    """The files of CODE that differ between two revisions, sorted."""
    commits = [one.commit for one in (a, b) if one.commit]
    if not commits or a.commit == b.commit:
        return []
    listed = command("git", "diff", "--name-only", "--relative", "-z", *commits, "--", *CODE)
    return sorted(filter(None, listed.stdout.split("\0")))
