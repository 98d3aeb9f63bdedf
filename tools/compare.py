"""Compare two runs: parameters, figures, which differences are more than chance, and both voices side by side.

    python -m tools.compare [--a=REVISION] [--b=REVISION]

A revision is a commit, a branch, a tag, HEAD~1, the name of one of DVC's experiments, or `workspace`. Left out, A is
the last commit and B the workspace. Nothing is run again: figures come from git, sounds from DVC's cache or its remote.
The page is reports/compare/index.html.
"""

import argparse

from stages.process.stage import run  # isort: skip  (the frame of every tool)

from tools.comparing.differences import FEWEST, Setting, changes, overlap, reported, settings
from tools.comparing.page import FOLDER, Comparison, write_page
from tools.comparing.revisions import WORKSPACE, changed_code, resolve
from tools.comparing.runs import Run, read_run
from tools.summary import aligned

SHOWN = 60  # characters of a parameter's value in the terminal


def compare(a: Run, b: Run) -> Comparison:
    """Everything that can be said without the sounds."""
    found, refused = changes(a, b)
    notes = [*a.notes, *b.notes, *overlap(a, b), *refused]
    if a.revision.commit and a.revision.commit == b.revision.commit:
        notes.insert(0, "A and B are the same commit.")
    if found and max(one.texts for one in found) < FEWEST:
        notes.append(f"With fewer than {FEWEST} texts in common no test can show a difference.")
    return Comparison(
        a=a,
        b=b,
        settings=[*settings(a.params, b.params), *settings(a.sources, b.sources)],
        rules_only_a=[rule for rule in a.rules if rule not in b.rules],
        rules_only_b=[rule for rule in b.rules if rule not in a.rules],
        outputs=settings(a.outputs, b.outputs),
        code=changed_code(a.revision, b.revision),
        changes=found,
        reported=reported(a, b),
        notes=notes,
    )


def short(value: str | None) -> str:
    if value is None:
        return "(none)"
    return value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"


def describe(settings: list[Setting]) -> str:
    table = [["", "A", "B"], *([one.key, short(one.a), short(one.b)] for one in settings)]
    return aligned(table)


def as_text(content: Comparison) -> str:
    """The comparison for a terminal."""
    parts = [f"{one.name}: {one.revision.label}  {one.revision.subject}".rstrip() for one in (content.a, content.b)]
    parts.append("")
    parts.append(describe(list(content.settings)) if content.settings else "No parameter differs.")
    for name, rules in (("A", content.rules_only_a), ("B", content.rules_only_b)):
        parts += [f"replacement only in {name}: {short(rule)}" for rule in rules]
    if content.code:
        parts.append(
            f"code: {len(content.code)} files differ ({', '.join(content.code[:3])}{', …' * (len(content.code) > 3)})"
        )
    if content.changes:
        table = [["", "", "A", "B", "B - A", "95 %", "p", ""]]
        for one in content.changes:
            show = one.measure.show
            table.append(
                [
                    one.condition,
                    one.measure.key,
                    show(one.a),
                    show(one.b),
                    show(one.difference, signed=True),
                    f"{show(one.interval[0], True)} to {show(one.interval[1], True)}",
                    "-" if one.p is None else f"{one.p:.3f}",
                    one.verdict,
                ]
            )
        parts += ["", aligned(table), "", "On clips that both have, paired by text and seed; p Holm-corrected."]
    return "\n".join([*parts, *(f"note: {note}" for note in content.notes)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare two runs.")
    parser.add_argument("--a", default="", help="a revision; the last commit when left out")
    parser.add_argument("--b", default="", help="a revision; the workspace when left out")
    asked = parser.parse_args()
    a = read_run("A", resolve(asked.a or "HEAD", "A"))
    b = read_run("B", resolve(asked.b or WORKSPACE, "B"))
    content = compare(a, b)
    print(as_text(content), flush=True)
    for note in write_page(content):
        print(f"note: {note}")
    print(f"\nListen: {FOLDER / 'index.html'}")


if __name__ == "__main__":
    run(main, "compare")
