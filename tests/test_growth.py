"""Checkpoints chosen by what people hear: the score, the choice, the ear that training lends itself, the timeline."""

import dataclasses
import random
import re
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from pages import HOSTILE, Elements, parts_of_page
from test_csm_training import LISTEN, adapted, recipe, trainer_for
from transformers import TrainerControl

from stages.csm.recipe import Recipe
from stages.csm.selection import Patience, choose, exhausted
from stages.csm.training import Checkpoints
from stages.files.atomic import replacing_folder
from stages.files.rows import Row
from stages.files.settings import parse
from stages.page.growth import copy_sounds, few, timeline
from stages.page.listen import render
from stages.process.problem import Problem
from stages.scoring.ear import Ear
from stages.scoring.growth import Sample, Stage, gather, read_growth, summarise, write_samples
from stages.scoring.sentences import Sentence
from stages.scoring.speaker import SpeakerEncoder
from stages.scoring.words import Errors

GOOD = Sample("talk-0000000", Errors(0, 0, 0, 5), Errors(0, 0, 0, 20), 0.9, 1.0, True, "What was said.", "a.mp3")


def worse(**changes):
    return dataclasses.replace(GOOD, **changes)


# The score


def test_a_perfect_clip_scores_one():
    assert worse(similarity=1.0).score == pytest.approx(1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"words": Errors(1, 0, 0, 5)},
        {"characters": Errors(0, 1, 0, 20)},
        {"similarity": 0.8},
        {"duration_ratio": 0.8},
        {"duration_ratio": 1.25},
        {"stopped": False},
        {"file": None},
    ],
)
def test_whatever_is_worse_to_hear_scores_less(changes):
    assert worse(**changes).score < GOOD.score


def test_a_clip_that_does_not_stop_loses_more_than_half():
    """Whatever the limit: its length is not the voice's."""
    endless = [worse(stopped=False, duration_ratio=ratio).score for ratio in (0.4, 1.0, 8.0)]
    assert len(set(endless)) == 1 and endless[0] < GOOD.score / 2


def test_any_babble_has_a_finite_score_between_0_and_1():
    babble = worse(
        words=Errors(0, 5, 90, 5),
        characters=Errors(0, 20, 300, 20),
        similarity=-1e-7,
        duration_ratio=9.0,
        stopped=False,
    )
    assert babble.score == 0
    assert 0 < dataclasses.replace(babble, similarity=0.5).score < 0.1
    assert worse(similarity=1.0 + 1e-6).score <= 1


def test_the_summary_counts_errors_over_all_words():
    silent = worse(words=Errors(0, 15, 0, 15), similarity=0.0, duration_ratio=0.0, stopped=True, heard="", file=None)
    found = summarise([GOOD, silent])
    assert found["wer"] == 15 / 20 and found["similarity"] == 0.45 and found["stop_rate"] == 1
    assert found["score"] == GOOD.score / 2 and found["duration_ratio"] == 0.5


# The choice


def history(scores, losses=None):
    losses = losses or [5.0 - number / 10 for number in range(len(scores))]
    pairs = enumerate(zip(scores, losses, strict=True))
    return [
        entry
        for number, (score, loss) in pairs
        for entry in ({"loss": 1.0, "step": 10 * number}, {"eval_loss": loss, "eval_score": score, "step": 10 * number})
    ]


def test_the_best_checkpoint_is_kept_and_the_untrained_model_is_no_candidate():
    told = history([0.9, 0.3, 0.6, 0.6, 0.5], [1.0, 5.0, 4.0, 3.0, 3.5])
    assert choose(told, "score")["step"] == 20  # the first of equals
    assert choose(told, "loss")["step"] == 30
    assert choose(told, "last")["step"] == 40


def test_patience_counts_evaluations_since_the_best():
    told = history([0.9, 0.6, 0.5, 0.4])
    assert not exhausted(told, "score", 3) and exhausted(told, "score", 2)
    assert not exhausted(told, "loss", 1)  # the loss still falls
    assert not exhausted(told, "score", None) and not exhausted(told[:2], "score", 1)


def test_patience_stops_a_training():
    for patience, stops in ((2, True), (3, False)):
        control, state = TrainerControl(), SimpleNamespace(log_history=history([0.1, 0.6, 0.5, 0.4]))
        Patience("score", patience).on_evaluate(None, state, control)
        assert control.should_training_stop == stops


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"checkpoint": "score"}, "checkpoint: score needs listen.texts of 1 or more"),
        ({"checkpoint": "last", "patience": 2}, "patience waits for a better checkpoint"),
        ({"checkpoint": "ear"}, "Input should be 'score', 'loss' or 'last', not 'ear'"),
        ({"listen": LISTEN.model_dump() | {"texts": -1}}, "train.listen.texts: Input should be greater than or equal"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(changes, line):
    with pytest.raises(Problem) as caught:
        parse(Recipe, recipe().model_dump() | changes, "params.yaml: train")
    assert line in str(caught.value) and "\n" not in str(caught.value)


# The ear


class Voiced(Sentence):
    def recording(self):
        return tiny.sound(20, seed=round(self.row.start))


@pytest.fixture(scope="module")
def encoder():
    return SpeakerEncoder.load()


@pytest.fixture
def ear(tmp_path, encoder):
    """ear(dtype, texts) -> an Ear for four short rows, with a recogniser that always hears the same."""

    def make(dtype="float32", texts=2, folder="heard"):
        rows = [
            Row("talk", 2.0 * place, 2.0 * place + 1.6, f"Sentence {place}.", 0, "validation") for place in range(4)
        ]
        held_out = [Voiced(row, turn, b"") for row, turn in zip(rows, tiny.turns([8, 9, 10, 11]), strict=True)]
        settings = LISTEN.model_copy(update={"texts": texts})
        return Ear(held_out, lambda samples: "Sentence zero.", encoder, settings, tmp_path / folder, dtype)

    return make


def sounds(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_ear_hears_the_same_model_the_same_way(ear, tmp_path):
    model = adapted()
    figures = ear()(model, 3)
    assert figures == ear(folder="again")(model, 3)
    assert sounds(tmp_path / "heard") == sounds(tmp_path / "again")
    assert list(sounds(tmp_path / "heard")) == ["3/growth.json", "3/talk-0000000.mp3", "3/talk-0006000.mp3"]
    assert set(figures) == {"score", "stop_rate", "wer", "cer", "similarity", "duration_ratio"}
    assert 0 < figures["score"] < 1 and figures["wer"] == 0.25  # "Sentence 0." is heard right, "Sentence 3." is not
    with torch.no_grad():
        model.get_base_model().backbone_model.layers[0].self_attn.q_proj.lora_B["default"].weight.add_(0.5)
    ear(folder="tuned")(model, 3)
    assert sounds(tmp_path / "tuned") != sounds(tmp_path / "heard")  # the adapter speaks


def test_the_ear_leaves_training_as_it_was(ear):
    listen, model = ear(), adapted().train()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    listen(model, 0)
    assert model.training and model.get_base_model().backbone_model.training
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (np.random.get_state()[1].tolist(), random.getstate())


def test_the_ear_hears_in_16_bit_and_decodes_in_32(ear):
    model = adapted()
    model.get_base_model().to(torch.bfloat16)
    listener = ear("bfloat16")
    assert 0 < listener(model, 0)["score"] < 1
    assert next(listener.codec.parameters()).dtype == torch.float32
    assert next(model.get_base_model().codec_model.parameters()).dtype == torch.bfloat16


def test_a_clip_without_sound_is_empty_and_kept(ear, tmp_path):
    listener = ear()
    listener.codec = SimpleNamespace(
        parameters=lambda: iter([torch.zeros(1)]),
        decode=lambda codes: SimpleNamespace(audio_values=torch.full((1, 1, 1920 * codes.shape[-1]), float("nan"))),
    )
    figures = listener(adapted(), 0)
    assert figures["score"] == 0 and figures["wer"] == 1 and figures["similarity"] == 0
    assert list(sounds(tmp_path / "heard")) == ["0/growth.json"]


def weights_after(folder, listener=None, **changes):
    trainer = trainer_for(folder, recipe(max_steps=4, batch_size=2, **changes), eval_strategy="steps", eval_steps=2)
    trainer.listener = listener
    trainer.train()
    return {name: tensor for name, tensor in trainer.model.state_dict().items() if "lora" in name}, trainer


def test_training_is_the_same_with_and_without_listening(ear, tmp_path):
    deaf, _ = weights_after(tmp_path / "deaf", depth_ratio=0.5)
    hearing, trainer = weights_after(tmp_path / "hearing", ear(), depth_ratio=0.5)
    assert all(torch.equal(deaf[name], tensor) for name, tensor in hearing.items())
    scores = [entry["eval_score"] for entry in trainer.state.log_history if "eval_score" in entry]
    assert len(scores) == 2 and all(0 < score < 1 for score in scores)


def test_the_model_that_sounds_best_is_what_training_leaves(tmp_path):
    """Scores rise and fall: the middle checkpoint is kept, and training ends before its last update."""
    scores = {0: 0.9, 1: 0.2, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.8}
    seen = {}

    def listener(model, step):
        seen[step] = {name: tensor.clone() for name, tensor in model.state_dict().items() if "lora" in name}
        return {"score": scores[step]}

    knobs = recipe(max_steps=5, batch_size=2)
    options = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_score", "greater_is_better": True}
    trainer = trainer_for(tmp_path, knobs, eval_on_start=True, save_total_limit=2, **options, **best)
    trainer.listener = listener
    trainer.add_callback(Checkpoints())
    trainer.add_callback(Patience("score", 2))
    trainer.train()
    left = {name: tensor for name, tensor in trainer.model.state_dict().items() if "lora" in name}
    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert choose(trainer.state.log_history, "score")["step"] == 2
    assert all(torch.equal(seen[2][name], tensor) for name, tensor in left.items())
    assert not all(torch.equal(seen[4][name], tensor) for name, tensor in left.items())


# The timeline on the page


@pytest.fixture
def grown(tmp_path):
    """reports/growth of a training with evaluations at the given steps; its scores rise, its last clip is empty."""

    def make(steps=(0, 10, 20), chosen=20, text=HOSTILE):
        rows = [Row("talk", 2.0 * place, 2.0 * place + 1, text, 0, "validation") for place in range(4)]
        evaluations = []
        for step in steps:
            samples = [worse(row=row.id, file=f"{row.id}.mp3", stopped=step > 0, heard=HOSTILE) for row in rows]
            if step == steps[-1]:
                samples[0] = dataclasses.replace(samples[0], file=None)
            with replacing_folder(tmp_path / "scratch" / str(step)) as folder:
                for sample in samples:
                    (folder / (sample.file or "x")).write_bytes(b"sound %d" % step)
                write_samples(folder, rows, samples)
            evaluations.append({"step": step, "epoch": 1.0, "eval_loss": 8 - step / 100, "eval_score": step / 100})
        gather(tmp_path / "growth", tmp_path / "scratch", evaluations, "score", chosen)
        return tmp_path / "growth"

    return make


def page_of(shown):
    """The page with the timeline alone."""
    return render(**parts_of_page(growth=shown))


def test_what_was_gathered_is_read_back(grown):
    growth = read_growth(grown())
    assert [stage.step for stage in growth.stages] == [0, 10, 20] and growth.chosen == 20
    assert growth.stages[1].figures == {"loss": 7.9, "score": 0.1}
    assert growth.stages[1].samples[2].score == GOOD.score
    assert {sample.file for sample in growth.stages[1].samples} >= {"10/talk-0000000.mp3"}


def test_the_timeline_has_a_row_a_sentence_and_a_column_a_checkpoint(grown, tmp_path):
    folder = grown()
    shown = timeline(read_growth(folder))
    assert [column.title for column in shown.columns] == ["Untrained", "Step 10", "Step 20"]
    assert [column.chosen for column in shown.columns] == [False, False, True]
    assert len(shown.lines) == 3 and all(len(cells) == 3 for _, cells in shown.lines)
    copy_sounds(shown, folder, tmp_path / "page")
    found = Elements(page_of(shown))
    players = [player["data-src"] for player in found.players]
    assert len(players) == 3 * 3 - 1 and "nothing to play" in found.text  # one clip is empty
    assert sorted(players) == [name for name in sounds(tmp_path / "page")]
    text = found.text.split("How the voice grew")[1]
    assert text.count("did not stop") == 3 and "because it sounds best" in text


def test_hostile_text_stays_text_in_the_timeline(grown):
    found = Elements(page_of(timeline(read_growth(grown()))))
    assert len(found.all("script")) == 2 and not found.all("img")
    assert HOSTILE in found.text
    assert not [name for _, attributes in found.found for name in attributes if name.startswith("on")]


def test_the_curves_show_every_evaluation_inside_the_drawing(grown):
    found = Elements(page_of(timeline(read_growth(grown(range(0, 100, 5), chosen=45)))))
    lines = [line["points"].split() for line in found.all("polyline")]
    assert [len(points) for points in lines] == [20, 20]
    score, loss = ([tuple(map(float, point.split(","))) for point in points] for points in lines)
    assert all(44 <= x <= 590 and 14 <= y <= 184 for x, y in score + loss)
    assert score[0][1] > score[-1][1] and loss[0][1] < loss[-1][1]  # the score rises, the loss falls
    assert len(found.all("th")) and "Step 45 the voice" in re.sub(r"\s+", " ", found.text)


@pytest.mark.parametrize("chosen", [5, 10, 47, 48, 49])
def test_a_long_training_is_told_in_a_few_stages(chosen):
    stages = [Stage(step, {}, ()) for step in range(50)]
    steps = [stage.step for stage in few(stages, chosen)]
    assert len(steps) == 6 and steps[0] == 0 and chosen in steps and steps == sorted(set(steps))
    assert len(few(stages[:3], 2)) == 3


def test_without_listening_the_page_has_the_loss_alone(tmp_path):
    evaluations = [{"step": step, "eval_loss": 3.0 - step} for step in (0, 1)]
    gather(tmp_path / "growth", tmp_path / "scratch", evaluations, "loss", 1)
    shown = timeline(read_growth(tmp_path / "growth"))
    assert [curve.key for curve in shown.curves] == ["loss"] and not shown.lines
    found = Elements(page_of(shown))
    assert len(found.all("polyline")) == 1 and "because its eval loss is the lowest" in found.text
    assert not found.players and "the table" not in found.text


def test_a_single_evaluation_is_no_timeline(tmp_path):
    gather(tmp_path / "growth", tmp_path / "scratch", [{"step": 0, "eval_loss": 3.0}], "loss", 0)
    growth = read_growth(tmp_path / "growth")
    assert growth.stages[0].figures == {"loss": 3.0} and timeline(growth) is None
    assert "How the voice grew" not in page_of(None)


def test_a_sound_outside_its_folder_is_never_copied(grown, tmp_path):
    folder = grown()
    listing = folder / "growth.json"
    listing.write_text(listing.read_text().replace("0/talk-0000000.mp3", "../../secret.mp3", 1))
    with pytest.raises(ValueError, match="no sound of a checkpoint"):
        copy_sounds(timeline(read_growth(folder)), folder, tmp_path / "page")


def test_a_missing_listing_is_one_line(tmp_path):
    with pytest.raises(Problem, match="growth.json: no such file; run `dvc repro train`"):
        read_growth(tmp_path)
