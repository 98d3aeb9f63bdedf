"""The base that speaks: its analytic codec, its text, its trainings and its checkpoint, at tiny sizes."""

import functools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bases.speaking import export, language, rivals
from bases.speaking.acoustics import griffin_lim, mel_of
from bases.speaking.analytic import CONTENT, Analytic, fit
from bases.speaking.codec import Part, load_part
from bases.speaking.codec_model import encoder_latent, make_codec
from bases.speaking.codes import SHIFTS, code_all
from bases.speaking.corpus import NO_WORD, UNKNOWN, Spoken, collate, frame_words, read_spoken, write_spoken
from bases.speaking.grammar import sentences, words
from bases.speaking.language_model import Losses
from bases.speaking.listening import Heard, interval, nearest_share, similarity, word_error_rate
from bases.speaking.muon import Muon
from bases.speaking.report import confused
from bases.speaking.settings import (
    CodecSettings,
    ExportSettings,
    LanguageSettings,
    NoiseSettings,
    ReportSettings,
    SettleSettings,
    Size,
    SynthesiseSettings,
)
from bases.speaking.sound_batches import Sampler
from bases.speaking.tokens import make_processor, make_tokenizer
from bases.speaking.training import Average, Schedule, train
from bases.speaking.utterances import RATE, TAIL, held_out, read_shard, trimmed, write_shard
from stages.csm.base import BaseSettings, load_base, load_processor
from stages.csm.codec import decode, encode
from stages.csm.generate import generate
from stages.csm.inputs import accept_codes
from stages.csm.inputs import collate as csm_collate
from stages.csm.turns import Prompt, Turn, text_ids

CODEC = CodecSettings(
    codebooks=3, entries=16, width=128, filters=4, ratios=[6, 10, 16], layers=1, inner=64, content_steps=20,
    decoder_steps=4, encoder_steps=4, batch_size=2, seconds=0.32, decoder_rate=1e-3, encoder_rate=1e-3, warmup=1,
    decay=1, average=0.9, save_steps=2, seed=0,
)  # fmt: skip
LANGUAGE = LanguageSettings(
    size=Size(width=64, layers=2, inner=64, depth_width=64, depth_layers=1, depth_inner=64),
    noise=NoiseSettings(clips=0.5, codes=0.3, depth=0.1, dropout=0.1),
    settle=SettleSettings(hibari_shards=1, steps=2, learning_rate=1e-3, rare=0.5), steps=4, batch_size=2,
    learning_rate=1e-3, warmup=1, decay=1,
    weight_decay=0.0, average=0.9, depth_ratio=0.5, acoustic_weight=1.0, acoustic_slope=0.5, word_weight=0.3,
    bfloat16=False, rare=0.5, save_steps=2, seed=0,
)  # fmt: skip


def tone(pitch: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.2 * sum(np.sin(2 * np.pi * pitch * number * time) / number for number in range(1, 9))).astype(np.float32)


@pytest.fixture(scope="module")
def analytic() -> Analytic:
    spoken = [(mel_of(tone(pitch)), "ab", np.array([0, RATE // 2, RATE])) for pitch in np.linspace(90, 300, 60)]
    return fit(spoken, CODEC.codebooks, CODEC.entries, CODEC.content_steps)


@pytest.fixture
def base_folder(tmp_path, analytic):
    """A work folder in which the language model was trained for four steps on two voices."""
    processor = make_processor(words())
    draw = np.random.default_rng(0)
    spoken = []
    for number, text in zip(range(40), sentences(0), strict=False):
        codes = draw.integers(1, CODEC.entries, (6, CODEC.codebooks)).astype(np.int16)
        turn = Turn(text_ids(processor, text, number % 2), codes)
        spoken.append(Spoken(f"voice{number % 2}", text, turn, np.full(6, NO_WORD)))
    write_spoken(tmp_path / "codes" / "voice0" / "000.npz", spoken)
    analytic.save(tmp_path / "analytic.pt")
    language.train_language(tmp_path, LANGUAGE, CODEC)
    return tmp_path


def test_analytic_codes_describe_the_sound_and_never_say_end(analytic):
    mel = mel_of(tone(180))
    codes = analytic.quantise(analytic.latent(mel))
    assert codes.shape == (13, CODEC.codebooks) and codes.min() >= 1 and codes.max() < CODEC.entries
    described, nothing = analytic.mel(codes), analytic.mean.reshape(8, 80).repeat(13, 1).numpy()
    assert np.abs(described - mel).mean() < 0.7 * np.abs(nothing - mel).mean()


def test_analytic_codec_survives_its_file(analytic, tmp_path):
    analytic.save(tmp_path / "analytic.pt")
    latent = Analytic.load(tmp_path / "analytic.pt").latent(mel_of(tone(150)))
    assert torch.equal(latent, analytic.latent(mel_of(tone(150))))


def test_mel_never_looks_ahead_and_comes_back_as_sound():
    sound = tone(200)
    early = mel_of(sound[: RATE // 2])
    assert np.array_equal(mel_of(sound)[: len(early) - 8], early[:-8])
    back = mel_of(griffin_lim(mel_of(sound)))
    assert np.abs(back[20:80] - mel_of(sound)[20:80]).mean() < 0.6


def test_the_quantiser_of_mimi_gives_the_analytic_codes(analytic):
    codec = make_codec(CODEC, analytic)
    latent = analytic.latent(mel_of(tone(220)))
    quantizer = codec.quantizer
    first = quantizer.semantic_residual_vector_quantizer.layers
    others = quantizer.acoustic_residual_vector_quantizer.layers
    pad = torch.zeros(len(latent), 65)
    content, sound = pad.clone(), pad.clone()
    content[:, :CONTENT], sound[:, :64] = latent[:, :CONTENT], latent[:, CONTENT:]
    codes = [first[0].codebook.quantize(content)]
    for layer in others:
        codes.append(layer.codebook.quantize(sound))
        sound = sound - layer.codebook.decode(codes[-1])
    assert np.array_equal(torch.stack(codes, 1).numpy(), analytic.quantise(latent))


def test_an_untrained_encoder_never_gives_the_code_of_the_end(analytic):
    codec = make_codec(CODEC, analytic)
    sound = torch.randn(1, 1, 9600, generator=torch.Generator().manual_seed(0))
    codes = codec.encode(sound).audio_codes
    assert codes.shape == (1, CODEC.codebooks, 5) and int(codes.min()) >= 1
    assert encoder_latent(codec, sound[:, 0]).shape == (1, 5, CONTENT + 64)


def test_either_half_of_the_codec_trains_alone(analytic):
    codec = make_codec(CODEC, analytic)
    decoder, encoder = Part("decoder", codec), Part("encoder", codec)
    assert not {id(weight) for weight in decoder.weights} & {id(weight) for weight in encoder.weights}
    assert len(decoder.weights) + len(encoder.weights) == len(list(codec.parameters()))


def test_the_decoder_learns_from_what_the_trained_encoder_hears(analytic, tmp_path):
    torch.manual_seed(3)
    trained = Part("encoder", make_codec(CODEC, analytic))
    (tmp_path / "codec").mkdir()
    torch.save({"average": dict(trained.named_parameters())}, tmp_path / "codec" / "encoder.pt")
    torch.manual_seed(4)
    codec = make_codec(CODEC, analytic)
    part = Part("decoder", codec)
    assert load_part(tmp_path, "encoder", codec) and not load_part(tmp_path, "decoder", codec)
    pieces = Sampler({"a": [np.int16(9000 * tone(220))]}, analytic, 6, seed=0).batch(2)
    theirs = trained.whole[0].encode(pieces.sound[:, None]).audio_codes.transpose(1, 2)
    assert torch.equal(part.encoder_codes(pieces), theirs[:, -6:])
    analytic_loss = part(pieces)["mel"]
    part.encoded = True
    assert part(pieces)["mel"] != analytic_loss


def test_words_are_tokens_and_anything_else_is_spelled():
    tokenizer = make_tokenizer(words())
    assert len(tokenizer("Anna found the small red boat.")["input_ids"]) == 2 + 7
    that = tokenizer("that hat", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(that) == ["t", "h", "a", "t", "hat"]
    assert tokenizer.decode(tokenizer("Zoë, 7!", add_special_tokens=False)["input_ids"]) == "zoë, 7!"


def test_the_mark_of_the_speaker_is_one_token():
    ids = text_ids(make_processor(words()), "Red.", 12)
    assert make_tokenizer(words()).convert_ids_to_tokens(ids)[1] == "[12]"


def test_every_word_of_the_grammar_is_listed_and_some_sentences_are_held_out():
    drawn = [text for _, text in zip(range(2000), sentences(5), strict=False)]
    assert {word.strip(".,?").lower() for text in drawn for word in text.split()} <= set(words())
    assert 0.03 < np.mean([held_out(text) for text in drawn]) < 0.1
    assert held_out("The KITCHEN is open on Monday.") == held_out("The kitchen is open on Monday.")


def test_frames_know_their_word():
    edges = np.array([0, 1920, 3840, 3840, 5760, 7680])  # "ab cd": a, b, space, c, d
    assert frame_words([7, 8], "ab cd", edges, 5, 0).tolist() == [7, 7, 8, 8, NO_WORD]
    assert frame_words([7, 8], "ab cd", edges, 5, 8).tolist() == [NO_WORD, 7, 7, 8, 8]
    assert frame_words([7], "ab cd", edges, 2, 0).tolist() == [UNKNOWN, UNKNOWN]


def test_utterances_keep_little_silence_and_survive_their_file(tmp_path):
    sound = np.concatenate([np.zeros(RATE, np.float32), tone(200), np.zeros(RATE, np.float32)])
    one = trimmed("Red.", sound, "ɹ", np.array([RATE, 2 * RATE]))
    assert abs(len(one.samples) / RATE - 1 - 0.12 - TAIL) < 0.02
    write_shard(tmp_path / "shard.npz", [one, one])
    again = list(read_shard(tmp_path / "shard.npz"))
    assert len(again) == 2 and np.array_equal(again[1].samples, one.samples) and again[0].text == "Red."


def test_speech_is_coded_once_and_of_the_fast_voices_only_what_is_wanted(tmp_path):
    one = trimmed("Red.", tone(200), "ɹ", np.array([0, RATE]))
    for name in ("h100/000", "h100/001", "h100/002", "af_bella/002"):
        write_shard(tmp_path / "speech" / f"{name}.npz", [one])
    voices = {"shards": 3, "sentences": 1}
    settings = SynthesiseSettings(
        hibari={"voices": ["h100"], **voices}, kokoro={"voices": ["af_bella"], **voices},
        held_out=1, styles="-", target="am_michael", processes=1,
    )  # fmt: skip
    coded = []

    def coder(sound):
        coded.append(len(sound))
        return np.ones((4, 3), np.int16)

    code_all(tmp_path, tmp_path / "codes", settings, coder, hibari_shards=2)
    found = sorted(str(path.relative_to(tmp_path / "codes")) for path in (tmp_path / "codes").glob("*/*"))
    assert found == ["af_bella/002.npz", "h100/000.npz", "h100/001.npz"]
    assert len(read_spoken(tmp_path / "codes" / found[0])) == SHIFTS["kokoro"]
    code_all(tmp_path, tmp_path / "codes", settings, coder, hibari_shards=2)
    assert len(coded) == SHIFTS["kokoro"] + 2 * SHIFTS["hibari"]


def test_the_losses_are_those_of_csm(base_folder):
    model = language.make_model(LANGUAGE, CODEC).eval()
    turns = [one for one in read_spoken(base_folder / "codes" / "voice0" / "000.npz")[:3]]
    accept_codes(model.csm)
    with torch.inference_mode():
        found = model(collate(turns))
        reference = model.csm(**csm_collate([[one.turn] for one in turns], model.csm.config))
    assert float(found["codebook0"]) == pytest.approx(float(reference.backbone_loss), rel=1e-4)
    assert float(found["acoustic"]) == pytest.approx(float(reference.depth_decoder_loss), rel=1e-4)
    assert isinstance(model, Losses)


def test_muon_moves_a_convolution_alike_in_all_directions():
    torch.manual_seed(0)
    layer = torch.nn.Conv1d(4, 4, 3)
    before = [weight.detach().clone() for weight in (layer.weight, layer.bias)]
    optimizer = Muon(layer.parameters(), 0.01, 0.0, (0.9, 0.99))
    left, right = (torch.linalg.qr(torch.randn(size, size))[0] for size in (4, 12))
    gradient = left @ torch.diag(torch.logspace(0, -1, 4)) @ right[:4]  # one direction ten times as steep as another
    ((layer.weight.flatten(1) * gradient).sum() + layer.bias.sum()).backward()
    optimizer.step()
    moved = torch.linalg.svdvals((layer.weight.detach() - before[0]).flatten(1))
    assert moved.max() < 3 * moved.min()
    assert torch.allclose(before[1] - layer.bias.detach(), torch.tensor(0.01))  # as AdamW moves it
    optimizer.zero_grad()
    assert layer.weight.grad is None and layer.bias.grad is None


OPTIMIZERS = {
    "adamw": functools.partial(torch.optim.AdamW, lr=0.1),
    "muon": functools.partial(Muon, rate=0.1, weight_decay=0.01, betas=(0.9, 0.99)),
}


def run_training(path, steps, stop_at=None, optimizer=OPTIMIZERS["adamw"]):
    """Fit a line; with `stop_at` the training dies in that step, as if killed."""
    torch.manual_seed(0)
    module = torch.nn.Linear(2, 1)
    count = [0]

    def losses_of(seed):
        draw = torch.Generator().manual_seed(seed)

        def following():
            count[0] += 1
            if count[0] == stop_at:
                raise KeyboardInterrupt
            points = torch.randn(8, 2, generator=draw)
            return {"square": (module(points)[:, 0] - points.sum(1)).square().mean()}

        return following

    train(
        path, module, optimizer(module.parameters()), Average(module, 0.9),
        Schedule(steps, 0.1, 2, 2, 3, 0), losses_of, lambda found: found["square"], lambda: {"weight": 1.0},
    )  # fmt: skip
    return module.state_dict()


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_killed_training_ends_like_an_unbroken_one(tmp_path, optimizer):
    whole = run_training(tmp_path / "whole.pt", 11, optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        run_training(tmp_path / "killed.pt", 11, stop_at=8, optimizer=optimizer)
    resumed = run_training(tmp_path / "killed.pt", 11, optimizer=optimizer)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    curves = [(tmp_path / f"{name}.csv").read_text().splitlines() for name in ("whole", "killed")]
    assert [row.split(",")[0] for row in curves[0]] == [row.split(",")[0] for row in curves[1]]
    assert [row.split(",")[2] for row in curves[0]] == [row.split(",")[2] for row in curves[1]]


def test_the_exported_base_loads_encodes_decodes_and_speaks(base_folder, tmp_path):
    model = export.assemble(base_folder, LANGUAGE, CODEC)
    export.set_generation(model, ExportSettings(temperature=0.3, top_k=5, max_frames=10), CODEC.entries)
    target = tmp_path / "model"
    assert export.write(model, target) < 3e6
    assert "narrow grammar" in (target / "limits.txt").read_text()
    loaded, processor = load_base(BaseSettings(path=str(target))), load_processor(target)
    codes = encode(loaded, [tone(180)])[0]
    assert codes.shape == (13, CODEC.codebooks) and len(decode(loaded, codes)) == 13 * 1920
    clip = generate(loaded, [Prompt(text_ids(processor, "Anna likes Zanzibar.", 0))], max_frames=5)[0]
    assert clip.codes.shape[1] == CODEC.codebooks and clip.codes.max() < CODEC.entries
    assert loaded.generation_config.max_new_tokens == 10


def test_a_base_that_is_too_large_is_refused(base_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LIMIT", 1000)
    with pytest.raises(export.Problem, match="the base takes .* MB, more than"):
        export.write(export.assemble(base_folder, LANGUAGE, CODEC), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_training_without_codes_says_what_to_run(tmp_path):
    with pytest.raises(language.Problem, match="no codes; run the stage codes first"):
        language.train_language(tmp_path, LANGUAGE, CODEC)


def test_settling_goes_on_from_the_average_and_is_what_is_exported(base_folder):
    (base_folder / "codes").rename(base_folder / "codes-encoder")
    language.train_language(base_folder, LANGUAGE, CODEC, "settle")
    exported = export.assemble(base_folder, LANGUAGE, CODEC).lm_head.weight
    first, settled = (
        torch.load(base_folder / "language" / f"{name}.pt")["average"]["csm.lm_head.weight"]
        for name in ("language", "settle")
    )
    assert torch.equal(exported, settled) and not torch.equal(first, settled)
    assert torch.allclose(first, settled, atol=0.02)


def heard(errors: int, embedding, voice: str = "a") -> Heard:
    return Heard(voice, "", "", errors, 4, True, 1.0, embedding)


def test_figures_come_with_intervals_that_hold_them():
    some = [heard(errors, None) for errors in (0, 0, 1, 2, 4, 0, 1, 0)]
    found = interval(some, word_error_rate, 200)
    assert found["value"] == 8 / 32 and found["low"] < 0.25 < found["high"]
    assert interval(some[:2], word_error_rate, 20) == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_nearest_voice_must_be_the_right_one_and_silence_is_nobody():
    voices = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 1.0])}
    some = [heard(0, np.array([0.9, 0.1])), heard(0, np.array([0.1, 0.9])), heard(0, None)]
    assert nearest_share(some, voices) == pytest.approx(1 / 3)
    assert similarity(some, voices) == pytest.approx(0.5)


def test_a_voice_is_confused_when_its_clips_are_nearer_to_another():
    centres = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 1.0])}
    back = [
        heard(0, np.array([0.8, 0.6]), "a"),
        heard(0, np.array([0.8, 0.6]), "b"),
        heard(0, np.array([0.9, 0.4]), "b"),
    ]
    own = {id(one): 0.82 for one in back}
    assert confused(back, own, centres) == ["b"]
    assert confused(back, {key: 0.9 for key in own}, centres) == []


def test_the_tuned_voice_is_compared_with_the_nearest_of_the_bases(monkeypatch):
    """Three sentences; the base says the last one as nobody. Angles stand for voices: the target's is 0."""
    angles = {("base", 0): 1.0, ("base", 1): 0.4, ("merged", 7): 0.1, ("recording", 0): 0.0}
    monkeypatch.setattr("bases.speaking.listening.text_ids", lambda processor, text, mark: [mark])
    monkeypatch.setattr(rivals, "decode", lambda model, sound: sound)

    def speak(model, turns, temperature, top_k, seed):
        sounds = [(model, turn.turn.text_ids[0]) for turn in turns]
        return [SimpleNamespace(codes=sound) for sound in ([*sounds[:2], None] if model == "base" else sounds)]

    def embed(sound):
        return None if sound is None else np.array([np.cos(angles[sound]), np.sin(angles[sound])])

    monkeypatch.setattr(rivals, "speak", speak)
    sentence = SimpleNamespace(
        row=SimpleNamespace(text="Red."), turn=SimpleNamespace(text_ids=[7]), recording=lambda: ("recording", 0)
    )
    settings = ReportSettings(seeds=[0, 1], temperature=0.3, top_k=5, draws=50)
    ears = SimpleNamespace(embed=embed)
    found = rivals.against_voices("base", "merged", None, [sentence] * 3, {"a": 0, "b": 1}, ears, settings)
    assert found["clips"] == 6 and found["nearest"] == "b"
    assert found["by_voice"] == pytest.approx({"a": np.cos(1.0) * 2 / 3, "b": np.cos(0.4) * 2 / 3})
    assert found["ft"]["value"] == pytest.approx(np.cos(0.1))
    wins = found["ft_minus_nearest"]
    assert wins["value"] == pytest.approx(np.cos(0.1) - np.cos(0.4) * 2 / 3) and wins["low"] < wins["value"]


def test_the_base_must_not_hear_the_target(tmp_path, monkeypatch):
    synthesise = pytest.importorskip("bases.speaking.synthesise")  # its synthesisers are no requirement
    params = Path("bases/speaking/params.yaml").read_text().replace("target: am_michael", "target: bm_fable")
    (tmp_path / "params.yaml").write_text(params)
    monkeypatch.setattr(synthesise, "PARAMS", tmp_path / "params.yaml")
    monkeypatch.setenv("BASE_WORK", str(tmp_path))
    with pytest.raises(synthesise.Problem, match="holds bm_fable, which the base must not hear"):
        synthesise.main()


def test_measurements_use_sentences_that_are_held_out_for_every_voice():
    synthesise = pytest.importorskip("bases.speaking.synthesise")
    texts = synthesise.held_out_texts("af_bella", 20)
    assert len(set(texts)) == 20 and all(held_out(text) for text in texts)
    assert texts != synthesise.held_out_texts("h100", 20)
