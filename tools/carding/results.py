"""What was measured, for people as a table with intervals, and for the hub as evaluation results."""

from collections.abc import Mapping

from huggingface_hub import EvalResult

from stages.scoring.conditions import CONDITIONS
from tools.carding.facts import plain

NONE = "–"
# key in metrics.json -> heading, whether it is a share that is shown in percent, decimals
COLUMNS = {
    "wer": ("WER, %", True, 1),
    "wer_second": ("WER, % (second recogniser)", True, 1),
    "cer": ("CER, %", True, 1),
    "similarity": ("similarity", False, 3),
    "similarity_normalised": ("similarity, 0 others to 1 the speaker", False, 2),
    "failed": ("failed, %", True, 1),
    "stop_rate": ("stopped, %", True, 1),
    "quality": ("quality", False, 2),
    "clips": ("clips", False, 0),
}
# key -> metric type and name on the hub; shares are given in percent there
METRICS = {
    "wer": ("wer", "Word error rate, % (lower is better)"),
    "cer": ("cer", "Character error rate, % (lower is better)"),
    "similarity": ("speaker_similarity", "Cosine to the speaker's other held-out recordings (higher is better)"),
    "failed": ("failure_rate", "Clips that failed in any way, % (lower is better)"),
    "stop_rate": ("stop_rate", "Clips that ended by themselves, % (higher is better)"),
    "quality": ("speech_quality", "Predicted quality, 1 to 5 (higher is better)"),
}
TUNED = ("ft", "ft_clone")
DIFFERENCES = {"wer": "word errors", "similarity": "similarity", "failed": "failed clips"}
PROTOCOL = (
    "Texts that training never heard, held-out sentences of the same speaker first of all, were spoken by the base and "
    "by this voice with the same seeds and sampling settings; every clip counts, and one without sound as 100 % word "
    "errors. A speech recogniser gives word errors, a speaker encoder the cosine to the speaker's other held-out "
    "recordings; intervals are of 95 %, by drawing texts anew, and p of paired tests is Holm-corrected."
)


def is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(figures: Mapping, key: str) -> str:
    """A figure with its interval, where there is one."""
    _, share, decimals = COLUMNS[key]
    values = [figures.get(name) for name in (key, f"{key}_low", f"{key}_high")]
    shown = [f"{(100 if share else 1) * value:.{decimals}f}" if is_number(value) else None for value in values]
    if shown[0] is None:
        return NONE
    return shown[0] if None in shown else f"{shown[0]} [{shown[1]} – {shown[2]}]"


def table(metrics: Mapping) -> list[str]:
    """A row for every condition, a column for every figure that one of them has."""
    found = {one: metrics[one.name] for one in CONDITIONS if isinstance(metrics.get(one.name), dict)}
    keys = [key for key in COLUMNS if any(is_number(figures.get(key)) for figures in found.values())]
    lines = ["| condition | " + " | ".join(COLUMNS[key][0] for key in keys) + " |", "|---" + "|---:" * len(keys) + "|"]
    return lines + [
        f"| {one.name}: {one.meaning} | " + " | ".join(_cell(figures, key) for key in keys) + " |"
        for one, figures in found.items()
    ]


def _difference(first: str, second: str, figure: str, found: Mapping) -> str:
    """`From zero_shot to ft, word errors: -4.0 [-6.1 – -2.0] points, p 0.012.`"""
    scale, unit, decimals = (1, "", 3) if figure == "similarity" else (100, " points", 1)
    numbers = [f"{scale * found[key]:+.{decimals}f}" for key in ("difference", "low", "high")]
    verdict = "" if found["p"] < 0.05 else " (no difference shown)"
    words = DIFFERENCES[figure]
    return (
        f"- {first} to {second}, {words}: {numbers[0]}{unit} [{numbers[1]} – {numbers[2]}], p {found['p']:.3f}{verdict}"
    )


def differences(metrics: Mapping) -> list[str]:
    """What tuning changed, with what is known of it: the pairs of a base condition and a tuned one."""
    lines = []
    for first in ("zero_shot", "clone"):
        for second in TUNED:
            found = metrics.get("differences", {}).get(f"{first}_to_{second}", {})
            for figure in DIFFERENCES:
                if all(is_number(found.get(figure, {}).get(key)) for key in ("difference", "low", "high", "p")):
                    lines.append(_difference(first, second, figure, found[figure]))
    return lines


def section(metrics: Mapping) -> str:
    """The table, what tuning changed, how it was measured, and by what."""
    if not any(isinstance(metrics.get(one.name), dict) for one in CONDITIONS):
        return "## Measured\n\nNothing: there was no reports/metrics.json when this was pushed."
    lines = ["## Measured", "", *table(metrics), ""]
    if changed := differences(metrics):
        lines += ["What tuning changed, on the same texts and seeds:", "", *changed, ""]
    lines += [f"How: {PROTOCOL}", ""]
    engines = metrics.get("engines", {})
    lines += [f"- {plain(role.replace('_', ' '))}: {plain(engine)}" for role, engine in engines.items()]
    if metrics.get("base_speaks") is False:
        lines += ["", "**The base cannot speak**: its weights are random. These figures show a pipeline, not a voice."]
    if metrics.get("evaluator_sound") is False:
        lines += ["", "**The recordings themselves score badly**: mistrust the evaluator before the voice."]
    return "\n".join(lines)


def eval_results(metrics: Mapping, speakers: str) -> list[EvalResult]:
    """The figures of the tuned voice, plain and cloned, as the hub shows them beside a model."""
    found = []
    for condition in TUNED:
        figures = metrics.get(condition, {})
        for key, (kind, name) in METRICS.items():
            if not is_number(figures.get(key)):
                continue
            scale, digits = (100, 2) if COLUMNS[key][1] else (1, 4)
            interval = [figures.get(f"{key}_{end}") for end in ("low", "high")]
            shown = [round(scale * end, digits) for end in interval] if all(map(is_number, interval)) else None
            found.append(
                EvalResult(
                    task_type="text-to-speech",
                    task_name="Text to speech",
                    dataset_type="held-out-recordings",
                    dataset_name=f"Held-out recordings of {speakers} ({condition})",
                    dataset_config=condition,
                    dataset_split="test",
                    metric_type=kind,
                    metric_name=name,
                    metric_value=round(scale * figures[key], digits),
                    metric_args={"interval_95": shown} if shown else None,
                )
            )
    return found
