"""A run's clips listened to and scored, and the references that its figures are read against."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from stages.scoring.conditions import CONDITIONS, GT
from stages.scoring.encoders import load_encoder
from stages.scoring.failures import Limits
from stages.scoring.listen import Heard, Listener
from stages.scoring.others import other_speaker, other_voices, prompt_voices, same_speaker
from stages.scoring.overlap import overlap
from stages.scoring.quality import load_quality
from stages.scoring.score import HeldOutVoices, Score, Yardstick, score
from stages.scoring.sentences import Sentence
from stages.scoring.settings import EvaluateSettings
from stages.scoring.speak import Utterance
from stages.scoring.store import Store
from stages.scoring.words import SEED_TTS, Normaliser
from stages.speech.recognise import make_recogniser, public_name
from stages.speech.transformers_engine import TransformersRecogniser


@dataclass(frozen=True, eq=False)
class Measured:
    """`scores` by condition, row and seed; `heards` parallel to them; `references`: same_speaker and other_speaker."""

    scores: list[Score]
    heards: list[Heard]
    references: dict[str, dict]
    limits: Limits


def open_listener(settings: EvaluateSettings, store: Store) -> tuple[Listener, dict[str, str]]:
    """A listener with all its instruments, and their names. Raises Problem for one that cannot be had."""
    recogniser = make_recogniser(settings.engine, settings.model, settings.language, words=False)
    name = f"{settings.engine} {recogniser.engine.version} {public_name(settings.model)} ({settings.language})"
    second = TransformersRecogniser(settings.second_model, settings.language) if settings.second_model else None
    encoder, quality = load_encoder(settings.speaker_encoder), load_quality(settings.quality)
    engines = {"recogniser": name, "normaliser": Normaliser(settings.language).name, "speaker": encoder.name}
    if second:
        engines["second_recogniser"] = second.name
    if quality:
        engines["quality"] = quality.name
    return Listener(recogniser, name, encoder, store, second, quality), engines | {"seed_tts_normaliser": SEED_TTS}


def measure(
    utterances: Sequence[Utterance],
    held_out: Sequence[Sentence],
    contexts: Mapping[int, Sequence[Sentence]],
    listener: Listener,
    settings: EvaluateSettings,
) -> Measured:
    """A score for every clip. All of `held_out` is the reference of similarity."""
    recordings = listener.listen_all([sentence.recording for sentence in held_out], "held-out voice")
    voices = HeldOutVoices([(sentence.row, heard) for sentence, heard in zip(held_out, recordings, strict=True)])
    other = other_speaker(voices, other_voices(settings.others, listener))
    limits = Limits(other.threshold, listener.quality.limit if listener.quality else None)
    yardstick = Yardstick(voices, prompt_voices(contexts, listener), Normaliser(settings.language), limits)

    place = {condition.name: number for number, condition in enumerate(CONDITIONS)}
    ordered = sorted(utterances, key=lambda one: (place[one.condition], one.sentence.row, one.seed or 0))
    heards = listener.listen_all([utterance.load for utterance in ordered], "score")
    return Measured(
        [score(utterance, heard, yardstick) for utterance, heard in zip(ordered, heards, strict=True)],
        heards,
        {"same_speaker": asdict(same_speaker(voices)), "other_speaker": asdict(other)},
        limits,
    )


def learnt_by_heart(
    utterances: Sequence[Utterance], sentences: Sequence[Sentence], train: Sequence[Sentence]
) -> dict[str, int | float]:
    """What the texts share with the training texts, and how near the generated codes come to the training rows."""
    codes: dict[str, list] = {GT: [sentence.turn.codes for sentence in sentences]}
    for utterance in utterances:
        if utterance.codes is not None:
            codes.setdefault(utterance.condition, []).append(utterance.codes)
    known, heard = [sentence.row.text for sentence in train], [sentence.turn.codes for sentence in train]
    return overlap([sentence.row.text for sentence in sentences], codes, known, heard)
