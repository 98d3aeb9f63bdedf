"""The loss that is optimised, the adapter that learns it, and the evaluation that judges it."""

import pytest
import tiny
import torch
from transformers import CsmConfig, Trainer, TrainingArguments

from stages.csm.batches import Batches, Rows, batch_sizes, useful_share
from stages.csm.inputs import BACKBONE_ONLY, IGNORED, accept_codes, collate
from stages.csm.lora import add_adapter, check_adapter, expected_parameters
from stages.csm.recipe import Listen, Lora, Recipe
from stages.csm.training import CsmTrainer, thin_depth, within_memory
from stages.process.problem import Problem

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = Lora(rank=4, alpha=8, rslora=True, dropout=0.0, targets=ALL)
LISTEN = Listen(
    texts=0, seed=0, temperature=0.9, top_k=50, max_seconds=0.8, engine="faster-whisper", model="x", language="en"
)
LENGTHS = [5, 9, 14, 7, 20, 6, 11, 8]


def recipe(**changes) -> Recipe:
    knobs = dict(
        backend="peft", method="lora", processes=1, dtype="float32", lora=LORA, batch_size=8, batch_tokens=None,
        accumulation=1, epochs=1.0, max_steps=1, minutes=None, learning_rate=1e-3, schedule="constant",
        warmup_steps=0, optimizer="adamw_torch", weight_decay=0.0, max_grad_norm=1.0, codebook0_weight=1.0,
        acoustic_weight=1.0, depth_ratio=1.0, context_share=0.0, eval_steps=100, listen=LISTEN, checkpoint="last",
        patience=None, gradient_checkpointing=False, seed=0,
    )  # fmt: skip
    return Recipe(**(knobs | changes))


def adapted(seed=0):
    torch.manual_seed(seed)
    model = add_adapter(tiny.model(), LORA)
    accept_codes(model.get_base_model())
    return model


def trainer_for(folder, knobs=None, kind=CsmTrainer, **arguments):
    knobs = knobs or recipe()
    model = adapted()
    options = dict(
        output_dir=str(folder), per_device_train_batch_size=knobs.batch_size,
        gradient_accumulation_steps=knobs.accumulation, max_steps=knobs.max_steps, logging_steps=1, report_to=[],
        save_strategy="no", remove_unused_columns=False, use_cpu=True, disable_tqdm=True, learning_rate=1e-3,
        per_device_eval_batch_size=arguments.pop("eval_batch", 4),
    )  # fmt: skip
    rows = Rows(tiny.coded(LENGTHS))
    extra = {"recipe": knobs} if kind is CsmTrainer else {}
    return kind(
        model=model,
        args=TrainingArguments(**(options | arguments)),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=lambda batch: collate(batch, model.config),
        **extra,
    )


def first_update(trainer) -> dict:
    trainer.train()
    return next(entry for entry in trainer.state.log_history if "loss" in entry)


def reference() -> tuple[float, float]:
    """Both means over all rows, one row at a time: no padding, no accumulation."""
    model, sums, counts = adapted().eval(), [0.0, 0.0], 0
    for turn in tiny.turns(LENGTHS):
        with torch.no_grad():
            outputs = model(**collate([[turn]], model.config))
        labels = len(turn.codes) + 1
        sums[0] += float(outputs.backbone_loss) * labels
        sums[1] += float(outputs.depth_decoder_loss) * labels
        counts += labels
    return sums[0] / counts, sums[1] / counts


@pytest.mark.parametrize("batch_size, accumulation", [(8, 1), (4, 2), (2, 4)])
def test_the_loss_is_the_reference_for_any_accumulation(tmp_path, batch_size, accumulation):
    logged = first_update(trainer_for(tmp_path, recipe(batch_size=batch_size, accumulation=accumulation)))
    codebook0, acoustic = reference()
    assert logged["codebook0_loss"] == pytest.approx(codebook0, abs=1e-4)
    assert logged["acoustic_loss"] == pytest.approx(acoustic, abs=1e-4)
    assert logged["loss"] == pytest.approx(codebook0 + acoustic, abs=1e-4)


def test_accumulation_changes_no_gradient(tmp_path):
    norms = [
        first_update(trainer_for(tmp_path / str(size), recipe(batch_size=size, accumulation=8 // size)))["grad_norm"]
        for size in (8, 2)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_the_stock_trainer_weighs_the_acoustic_loss_31_fold(tmp_path):
    """Why CsmTrainer exists. If this fails, transformers has changed and CsmTrainer may go."""
    logged = first_update(trainer_for(tmp_path, kind=Trainer))
    codebook0, acoustic = reference()
    assert logged["loss"] == pytest.approx(codebook0 + 31 * acoustic, abs=0.01)


def test_the_weights_of_both_parts_are_parameters(tmp_path):
    logged = first_update(trainer_for(tmp_path, recipe(codebook0_weight=2.0, acoustic_weight=0.3)))
    codebook0, acoustic = reference()
    assert logged["loss"] == pytest.approx(2.0 * codebook0 + 0.3 * acoustic, abs=1e-4)


def test_evaluation_does_not_depend_on_batch_size(tmp_path):
    losses = [trainer_for(tmp_path, eval_batch=size).evaluate() for size in (1, 3, 8)]
    assert losses[0]["eval_loss"] == pytest.approx(losses[1]["eval_loss"], abs=1e-5)
    assert losses[0]["eval_loss"] == pytest.approx(losses[2]["eval_loss"], abs=1e-5)
    assert losses[0]["eval_loss"] == pytest.approx(sum(reference()), abs=1e-4)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    trainer = trainer_for(tmp_path)
    with torch.no_grad():
        trainer.model.get_base_model().lm_head.weight.fill_(float("nan"))
    with pytest.raises(Problem, match="lower train.learning_rate"):
        trainer.train()


def test_gradient_checkpointing_changes_nothing(tmp_path):
    plain = first_update(trainer_for(tmp_path / "plain"))
    saving = first_update(
        trainer_for(
            tmp_path / "saving",
            gradient_checkpointing=True,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
    )
    assert saving["loss"] == pytest.approx(plain["loss"], abs=1e-5)
    assert saving["grad_norm"] == pytest.approx(plain["grad_norm"], rel=1e-4)


def test_depth_frames_are_drawn_anew_and_at_least_one_is_kept():
    labels = torch.full((2, 50), IGNORED)
    labels[0, 5:45], labels[1, 10:20] = 258, 258
    draws = [thin_depth(labels, 0.25, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert int((draws[0] == BACKBONE_ONLY).sum()) == 50 - round(50 * 0.25)
    assert torch.equal(draws[0] == IGNORED, labels == IGNORED)
    assert int((thin_depth(labels, 1e-9, torch.Generator()) == 258).sum()) == 1


def test_thinned_acoustic_loss_keeps_its_scale(tmp_path):
    logged = first_update(trainer_for(tmp_path, recipe(depth_ratio=0.5)))
    assert logged["acoustic_loss"] == pytest.approx(reference()[1], rel=0.05)
    assert logged["codebook0_loss"] == pytest.approx(reference()[0], abs=1e-4)


def test_lora_touches_backbone_and_depth_decoder_only():
    model = adapted()
    trainable, total = check_adapter(model, LORA)
    assert trainable == sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad)
    assert not any("codec" in name for name, tensor in model.named_parameters() if tensor.requires_grad)


def test_bare_names_would_adapt_the_codec_and_are_caught():
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny.model(), LoraConfig(r=4, target_modules=ALL))
    with pytest.raises(Problem, match="codec_model.* would be trained"):
        check_adapter(model, LORA)


def test_the_published_models_adapter_has_the_known_size():
    """13,467,648 at rank 16: 14,516,224 of a widely copied notebook less 1,048,576 dead ones in the codec."""
    assert expected_parameters(CsmConfig(), LORA.model_copy(update={"rank": 16})) == 13_467_648
    assert expected_parameters(CsmConfig(), LORA.model_copy(update={"rank": 32})) == 26_935_296


def test_an_unknown_target_is_named():
    with pytest.raises(Problem, match="CSM has no x_proj"):
        expected_parameters(CsmConfig(), LORA.model_copy(update={"targets": ["x_proj"]}))


def test_the_order_of_rows_is_a_function_of_seed_and_epoch():
    lengths = [70, 30, 90, 40, 80, 10, 20, 60, 50, 300, 71, 33, 88, 44]
    sizes = batch_sizes(lengths, 3, None)

    def order(seed, epoch):
        batches = Batches(lengths, sizes, seed)
        batches.set_epoch(epoch)
        return list(batches)

    assert order(0, 1) == order(0, 1) != order(0, 2)
    assert sorted(sum(order(0, 1), [])) == list(range(14))
    in_arrival_order = [list(range(start, min(start + 3, 14))) for start in range(0, 14, 3)]
    assert useful_share(lengths, order(0, 0)) > 0.75 > useful_share(lengths, in_arrival_order)


def test_a_token_budget_fills_batches_by_length():
    lengths = [10] * 20 + [100] * 4
    sizes = batch_sizes(lengths, 1, 200)
    assert sizes == [20, 2, 2]
    with pytest.raises(Problem, match="more than train.batch_tokens 99; raise it"):
        batch_sizes(lengths, 1, 99)


def test_every_process_gets_as_many_batches_and_no_row_is_lost():
    lengths = list(range(10, 31))  # 21 rows
    for tokens in (None, 90):
        sizes = batch_sizes(lengths, 4, tokens, processes=2)
        shares = [list(Batches(lengths, sizes, 0, rank, 2)) for rank in (0, 1)]
        assert len(shares[0]) == len(shares[1]) == len(sizes) // 2
        assert sorted(sum(shares[0] + shares[1], [])) == list(range(21))
    with pytest.raises(Problem, match="cannot feed 3 processes"):
        batch_sizes([5, 6], 4, None, processes=3)


def test_a_share_of_rows_hears_the_row_before(tmp_path):
    coded = tiny.coded([5] * 40)
    assert all(len(turns) == 1 for turns in Rows(coded).items)
    some = Rows(coded, 0.5, seed=1).items
    assert 10 < sum(len(turns) == 2 for turns in some) < 30
    everywhere = Rows(coded, 1.0).items
    assert [len(turns) for turns in everywhere] == [1, *[2] * 39]  # the first row has none before it
    assert everywhere[7][0] is coded[6][1] and everywhere[7][-1] is coded[7][1]
    assert all(len(turns) == 1 for turns in Rows(coded, 1.0, limit=coded[0][1].length).items)


def test_context_is_heard_but_not_learned(tmp_path):
    """The loss of a row with context counts the labels of the spoken turn alone."""
    knobs = recipe(context_share=1.0)
    trainer = trainer_for(tmp_path, knobs)
    trainer.train_dataset = Rows(tiny.coded(LENGTHS), 1.0)
    logged = first_update(trainer)
    model, sums, counts = adapted().eval(), 0.0, 0
    for turns in Rows(tiny.coded(LENGTHS), 1.0).items:
        with torch.no_grad():
            outputs = model(**collate([turns], model.config))
        sums += float(outputs.backbone_loss) * (len(turns[-1].codes) + 1)
        counts += len(turns[-1].codes) + 1
    assert logged["codebook0_loss"] == pytest.approx(sums / counts, abs=1e-4)


def test_training_leaves_the_codec_and_the_tie_alone(tmp_path):
    trainer = trainer_for(tmp_path)
    csm = trainer.model.get_base_model()
    before = {name: tensor.clone() for name, tensor in csm.codec_model.state_dict().items()}
    trainer.train()
    assert all(torch.equal(before[name], tensor) for name, tensor in csm.codec_model.state_dict().items())
    assert csm.backbone_model.embed_tokens.embed_audio_tokens.weight is csm.depth_decoder.model.embed_tokens.weight


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore follows"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes"),
    ],
)
def test_out_of_memory_names_what_to_lower(error):
    with pytest.raises(Problem, match=r"out of memory \(.*\); lower train.batch_size"), within_memory():
        raise error


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="shapes differ"), within_memory():
        raise RuntimeError("shapes differ")
