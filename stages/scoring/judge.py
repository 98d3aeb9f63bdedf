"""What the figures allow one to say: can the evaluator be trusted, what can it not show, and what did tuning change?

Whether tuning changed anything at all is checked where clips are made (`check_tuning_has_effect` in speak.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

from stages.scoring.conditions import BEFORE_AFTER, CONDITIONS, GT, GT_CODEC
from stages.scoring.failures import LOWEST_DNSMOS
from stages.scoring.failures import NAMES as FAILURES
from stages.scoring.statistics import wilson
from stages.scoring.summary import GENERATED, MARGIN, REFERENCES, SIGNIFICANT, Comparison

UNDERSTOOD = 0.3  # WER of the recordings up to which the recogniser understands the speaker
GARBLED = 0.6  # WER above which speech is not understood
SLACK = 0.02  # cosine: a good voice may match the centroid as well as a single recording does
FAILING = 0.2  # share of the recordings above which it is the definitions of failure that fail
NOISY = LOWEST_DNSMOS  # mean opinion score, 1 to 5: below it a single clip counts as noise
CONFUSED = 0.25  # equal error rate above which the encoder does not tell people apart
DISAGREE = 0.15  # WER: recognisers further apart on recordings hear different things
SAME_CHOICE = 0.9  # share of the codes that the written model must choose as the trained one does
ROUNDED_AWAY = 0.5  # rounding that moves logits by this share of what training did
ENOUGH_TEXTS = 100  # with three seeds: differences of 2 points of WER and 0.014 of similarity show

Summary = Mapping[str, Mapping[str, float | int | None]]
TITLES = {condition.name: condition.title for condition in CONDITIONS}


def base_speaks(summary: Summary) -> bool | None:
    """Whether speech survives the base's codec; None when even the recordings are not understood."""
    recorded, decoded = (_get(summary, name, "wer") for name in (GT, GT_CODEC))
    if recorded is None or decoded is None or recorded > UNDERSTOOD:
        return None
    return decoded <= GARBLED


# The evaluator's own checks


@dataclass(frozen=True)
class Guard:
    """One check of the evaluator. `passed` None: it could not be made, and `says` why."""

    name: str
    passed: bool | None
    says: str


def guards(summary: Summary, merge: Mapping[str, float] | None = None) -> list[Guard]:
    """Every check, in a fixed order, with a sentence on what was found. merge: the figures of reports/merge.json."""
    return [
        _recogniser(summary),
        _second_recogniser(summary),
        _encoder(summary),
        _voices_apart(summary),
        _failures(summary),
        _quality(summary),
        _merged(merge),
    ]


def doubts(summary: Summary, merge: Mapping[str, float] | None = None) -> list[str]:
    """Sentences on why the evaluator, not the voice, may be to blame; none when its own checks pass."""
    return [guard.says for guard in guards(summary, merge) if guard.passed is False]


def _recogniser(summary: Summary) -> Guard:
    heard = _get(summary, GT, "wer")
    if heard is None:
        return Guard("recogniser", None, "There were no recordings for the recogniser to be checked on.")
    if heard <= UNDERSTOOD:
        return Guard("recogniser", True, f"The recogniser gets {heard:.1%} of the words of the recordings wrong.")
    return Guard(
        "recogniser",
        False,
        f"The recogniser gets {heard:.0%} of the words of the recordings themselves wrong: the recogniser, not the "
        "voice, is to blame for high word error rates. Use a stronger evaluate.model, or check evaluate.language "
        "and the transcripts.",
    )


def _second_recogniser(summary: Summary) -> Guard:
    first, second = _get(summary, GT, "wer_macro"), _get(summary, GT, "wer_second")
    if first is None or second is None:
        return Guard("second_recogniser", None, "No second recogniser has checked the first.")
    both = f"the first gets {first:.0%} of the words wrong, the second {second:.0%}"
    if abs(first - second) <= DISAGREE:
        return Guard("second_recogniser", True, f"Two recognisers agree on the recordings: {both}.")
    worse, remedy = (
        ("first, by which all conditions are judged", "evaluate.model")
        if first > second
        else ("second, not the voice, where they differ", "evaluate.second_model")
    )
    return Guard(
        "second_recogniser",
        False,
        f"Two recognisers disagree on the recordings: {both}. Doubt the {worse}, and check {remedy}.",
    )


def _encoder(summary: Summary) -> Guard:
    own = _get(summary, GT, "similarity")
    closer = [TITLES[name] for name in GENERATED if (_get(summary, name, "similarity") or 0) > (own or 0) + SLACK]
    if own is None:
        says = "Only one held-out recording of the speaker has sound, so similarity cannot be measured."
        return Guard("speaker_encoder", False, says)
    if closer:
        return Guard(
            "speaker_encoder",
            False,
            f"The recordings resemble one another less ({own:.2f}) than generated speech resembles them "
            f"({', '.join(closer)}): the speaker encoder, not the voice, is to blame. More than one speaker under one "
            "source number, noise or very short rows do this.",
        )
    return Guard(
        "speaker_encoder",
        True,
        f"No generated voice resembles the recordings more than they do one another ({own:.2f}).",
    )


def _voices_apart(summary: Summary) -> Guard:
    name = "voices_apart"
    ceiling, floor = (_get(summary, reference, "similarity") for reference in REFERENCES)
    errors = _get(summary, "other_speaker", "eer")
    if ceiling is None or floor is None:
        return Guard(name, None, "Whether the speaker encoder tells people apart was not checked.")
    measured = (
        f"the speaker's recordings resemble one another by {ceiling:.2f}, other people's resemble them by {floor:.2f}"
    )
    if ceiling - floor < MARGIN:
        return Guard(
            name,
            False,
            f"The speaker encoder does not tell this speaker from other people: {measured}. It, not the voice, is to "
            "blame: use another evaluate.speaker_encoder, or clips of other people recorded as well as the speaker.",
        )
    if errors is not None and errors > CONFUSED:
        return Guard(
            name,
            False,
            f"The speaker encoder mistakes other people for the speaker, or the reverse, in {errors:.0%} of cases: it, "
            "not the voice, is to blame for what is called a wrong voice. Use another evaluate.speaker_encoder.",
        )
    return Guard(name, True, f"The speaker encoder tells people apart: {measured}.")


def _failures(summary: Summary) -> Guard:
    failed = _get(summary, GT, "failed")
    if failed is None:
        return Guard("failures", None, "The recordings were not searched for failures.")
    if failed <= FAILING:
        return Guard("failures", True, f"{failed:.0%} of the recordings would themselves count as failed clips.")
    shares = {name: _get(summary, GT, f"fail_{name}") or 0 for name in FAILURES}
    most = max(shares, key=lambda name: shares[name])
    return Guard(
        "failures",
        False,
        f"{failed:.0%} of the recordings themselves count as failed clips, most often as {most} "
        f"({shares[most]:.0%}). How that failure is told, not the voice, is to blame: listen to the recordings that "
        "carry its badge.",
    )


def _quality(summary: Summary) -> Guard:
    found = _get(summary, GT, "quality")
    if found is None:
        return Guard("quality", None, "No quality predictor listened to the recordings.")
    if 1 <= found < NOISY:
        return Guard(
            "quality",
            False,
            f"The quality predictor gives the recordings themselves {found:.1f} of 5: they are noisy, or unlike what "
            "it was trained on. Compare its figures with the recordings' only, and do not trust it on noise.",
        )
    if not NOISY <= found <= 5:
        return Guard(
            "quality", False, f"The quality predictor gives the recordings {found:.1f}, outside its scale of 1 to 5."
        )
    return Guard("quality", True, f"The quality predictor gives the recordings {found:.1f} of 5.")


def _merged(merge: Mapping[str, float] | None) -> Guard:
    """Merging by itself is exact or refused (stages/merge.py); what is left is rounding to 16 bit."""
    if merge is None:
        return Guard("merged", None, "Whether the merged model is the trained one was not checked.")
    names = ("same_choice_on_disk", "logits_moved_by_training", "logits_difference_on_disk")
    same, moved, rounded = (merge[name] for name in names)
    if same < SAME_CHOICE:
        return Guard(
            "merged",
            False,
            f"The merged model chooses another code than the trained one at {1 - same:.0%} of the places tried: "
            "what is heard is not quite what was trained. Set merge.dtype to float32.",
        )
    if rounded >= ROUNDED_AWAY * moved:
        return Guard(
            "merged",
            False,
            f"Rounding the merged model moved its logits by {rounded:.2g}, training by {moved:.2g}: what was learned "
            "may be lost in rounding. Train longer, or set merge.dtype to float32.",
        )
    return Guard(
        "merged", True, f"The merged model chooses the codes of the trained one at {same:.1%} of the places tried."
    )


def _get(summary: Summary, name: str, figure: str) -> float | int | None:
    return summary.get(name, {}).get(figure)


# What so few clips cannot show


def limits(summary: Summary, compared: Sequence[Comparison]) -> list[str]:
    """Sentences on the differences that this run is too small to show; none from ENOUGH_TEXTS texts on."""
    texts = min(_get(summary, name, "texts") or ENOUGH_TEXTS for name in GENERATED)  # not known to an older commit
    if texts >= ENOUGH_TEXTS:
        return []
    pairs = comb(len(GENERATED), 2)
    if pairs * 2 / 2**texts >= SIGNIFICANT:  # the least p of all signs of so many differences, corrected
        return [
            f"With {_count(texts, 'text')} no difference can be significant, however large: raise evaluate.max_texts."
        ]
    before, after = BEFORE_AFTER[0]
    between = f"between {TITLES[before]} and {TITLES[after]}"
    shown = [
        f"{_size(one.figure, (one.high - one.low) / 2)} {words}"
        for figure, words in (("wer", "of word errors"), ("similarity", "of similarity"))
        if (one := _find(compared, before, after, figure)) and one.high > one.low
    ]
    if shown:
        return [f"{texts} texts show only differences {between} of about {' and '.join(shown)} or more."]
    return [f"{texts} texts: what happens in fewer than {3 / texts:.0%} of all texts may well be missing here."]


# What tuning changed


def verdict(summary: Summary, compared: Sequence[Comparison]) -> list[str]:
    """Three or four sentences: closer? clearer? does it still stop? and either beside cloning, or why to trust none.

    A change is stated only where interval and corrected test agree on it. Before and after are Base and Tuned, which
    hear nothing of the speaker first.
    """
    before, after = BEFORE_AFTER[0]
    said = [_closer(summary, compared, before, after), _clearer(summary, compared, before, after)]
    said.append(_stops(summary, compared, before, after))
    if base_speaks(summary) is False:
        return ["This base model cannot speak, so these figures show that the pipeline runs, not a voice.", *said]
    if doubts(summary):
        return ["The evaluator fails its own checks, so doubt it before the voice.", *said]
    return [*said, _against_cloning(compared)]


def _closer(summary: Summary, compared: Sequence[Comparison], before: str, after: str) -> str:
    one = _find(compared, before, after, "similarity")
    silent = [
        f"{_get(summary, name, 'empty')} of {_get(summary, name, 'clips')} clips of {TITLES[name]}"
        for name in (before, after)
        if _get(summary, name, "empty")
    ]
    unheard = f" Without sound, and so without similarity: {' and '.join(silent)}." if silent else ""
    if one is None:
        return f"Closer? It cannot be said: too few clips have a similarity to the speaker.{unheard}"
    levels = _levels(summary, before, after, "similarity")
    if one.significant:
        way = "brings the voice closer to" if one.difference > 0 else "takes the voice further from"
        return f"Tuning {way} the speaker: similarity {levels}, {_change(one)}.{unheard}"
    return f"Closer? No difference in similarity to the speaker could be shown ({_unshown(one)}).{unheard}"


def _clearer(summary: Summary, compared: Sequence[Comparison], before: str, after: str) -> str:
    one = _find(compared, before, after, "wer")
    if one is None:
        return "Clearer? It cannot be said: too few texts."
    if one.significant:
        way = "clearer" if one.difference < 0 else "less clear"
        return f"Tuning makes speech {way}: word errors {_levels(summary, before, after, 'wer')}, {_change(one)}."
    return f"Clearer? No difference in word errors could be shown ({_unshown(one)})."


def _stops(summary: Summary, compared: Sequence[Comparison], before: str, after: str) -> str:
    one, rates = _find(compared, before, after, "failed"), []
    for name in (before, after):
        rate, clips = _get(summary, name, "stop_rate"), _get(summary, name, "clips")
        if rate is not None and clips:
            low, high = wilson(round(rate * clips), clips)
            rates.append(f"{rate:.0%} of {TITLES[name]} ({low:.0%} to {high:.0%})")
    stops = f"Still stops? Clips that end by themselves: {', '.join(rates) or 'not measured'}"
    if one is None:
        return f"{stops}."
    if one.significant:
        way = "fewer" if one.difference < 0 else "more"
        return f"{stops}; {way} clips fail in any way: {_levels(summary, before, after, 'failed')}, {_change(one)}."
    return f"{stops}; no difference in failed clips could be shown ({_unshown(one)})."


def _against_cloning(compared: Sequence[Comparison]) -> str:
    """The tuned voice beside what needs no training: the base model that hears some of the speaker first."""
    words = {
        "similarity": ("closer", "further from the speaker", "similarity"),
        "wer": ("clearer", "less clear", "word errors"),
    }
    found = []
    for figure, (better, worse, name) in words.items():
        one = _find(compared, "clone", "ft", figure)
        if one is None:
            found.append(f"{name} cannot be compared")
        elif one.significant:
            is_better = (one.difference > 0) == (figure == "similarity")
            found.append(f"it is {better if is_better else worse}, {name} {_change(one)}")
        else:
            found.append(f"no difference in {name} could be shown ({_unshown(one)})")
    return f"Tuned beside the base that clones the speaker: {'; '.join(found)}."


def _find(compared: Sequence[Comparison], first: str, second: str, figure: str) -> Comparison | None:
    wanted = (first, second, figure)
    return next((one for one in compared if (one.first, one.second, one.figure) == wanted), None)


def _levels(summary: Summary, before: str, after: str, figure: str) -> str:
    first, second = (_get(summary, name, figure) for name in (before, after))
    if first is None or second is None:
        return "changes"
    shown = "{:.2f}" if figure == "similarity" else "{:.1%}"
    return f"{shown.format(first)} in {TITLES[before]}, {shown.format(second)} in {TITLES[after]}"


def _size(figure: str, value: float, signed: bool = False) -> str:
    """Similarities are plain numbers, rates are in points of a hundred."""
    sign = "+" if signed else ""
    number, unit = (f"{value:{sign}.3f}", "") if figure == "similarity" else (f"{100 * value:{sign}.1f}", " points")
    return (number if float(number) else number.lstrip("+-")) + unit


def _change(one: Comparison) -> str:
    return f"{_size(one.figure, one.difference, True)} ({_span(one)})"


def _span(one: Comparison) -> str:
    unit = "" if one.figure == "similarity" else " points"
    low, high = (_size(one.figure, value, True).removesuffix(" points") for value in (one.low, one.high))
    return f"between {low} and {high}{unit}"


def _unshown(one: Comparison) -> str:
    """With p, which may be what speaks against a difference: of few texts the interval alone is too sure."""
    return f"{_span(one)}, p {one.p:.2g}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
