"""Show what the last run measured, and where to listen.

python -m tools.summary          (`make repro` ends with it)
"""

import json
from pathlib import Path

from stages.process.stage import run

METRICS, PAGE = Path("reports/metrics.json"), Path("reports/listen/index.html")
COLUMNS = {  # key in metrics.json -> heading, format
    "wer": ("WER", "{:.0%}"),
    "cer": ("CER", "{:.0%}"),
    "similarity": ("similarity", "{:.3f}"),
    "stop_rate": ("stops", "{:.0%}"),
    "duration_ratio": ("duration", "{:.2f}"),
    "pitch_hz": ("pitch Hz", "{:.0f}"),
    "pace": ("syllables/s", "{:.1f}"),
    "clips": ("clips", "{:d}"),
}


def read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.is_file() else {}


def table(metrics: dict) -> str:
    """One line per condition, aligned."""
    lines = [["", *(heading for heading, _ in COLUMNS.values())]]
    for condition, found in metrics.items():
        if isinstance(found, dict) and "wer" in found:
            cells = ["-" if found.get(key) is None else shape.format(found[key]) for key, (_, shape) in COLUMNS.items()]
            lines.append([condition, *cells])
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def main() -> None:
    metrics, training = read(METRICS), read(Path("reports/train.json"))
    if not metrics:
        print("nothing has been measured yet; run `make repro`")
        return
    print(f"\n{table(metrics)}\n")
    if training:
        print(f"eval loss {training['eval_loss_before']:.3f} before training, {training['eval_loss']:.3f} after")
    if metrics.get("base_speaks") is False:
        print("This base cannot speak: its weights are random. The run shows the pipeline, not a voice (README).")
    if not metrics.get("evaluator_sound", True):
        print("The recordings themselves score badly: mistrust the evaluator before the voice (stderr of evaluate).")
    print(f"Listen: {PAGE}" if PAGE.is_file() else f"The page {PAGE} is not here; run `make repro` or `make pull`.")


if __name__ == "__main__":
    run(main, "summary")
