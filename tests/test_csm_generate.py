"""Our generation loop against the stock one, and what it promises beyond it."""

import numpy as np
import pytest
import tiny
import torch

from stages.csm.codec import encode
from stages.csm.generate import Sampler, generate
from stages.csm.turns import Prompt, Turn, text_ids


@pytest.fixture(scope="module")
def model():
    return tiny.model()


def prompt(text, *context):
    return Prompt(text_ids(tiny.processor(), text, 0), context)


def stock(model, conversations, frames):
    inputs = tiny.processor().apply_chat_template(conversations, tokenize=True, return_dict=True)
    with torch.inference_mode():
        return model.generate(**inputs, do_sample=False, depth_decoder_do_sample=False, max_new_tokens=frames).numpy()


def message(text, sound=None):
    content = [{"type": "text", "text": text}]
    return {"role": "0", "content": content + ([] if sound is None else [{"type": "audio", "path": sound}])}


def test_greedy_codes_equal_stock_generate(model):
    heard = tiny.sound(10, 4)
    context = Turn(text_ids(tiny.processor(), "Good morning.", 0), encode(model, [heard])[0])
    conversations = [
        [message("Hello.")],
        [message("Good morning.", heard), message("Hello there, you.")],
        [message("One, two, three, four.")],
    ]
    prompts = [prompt("Hello."), prompt("Hello there, you.", context), prompt("One, two, three, four.")]
    theirs = stock(model, conversations, 8)
    ours = generate(model, prompts, max_frames=8, temperature=0)
    for single, clip in zip(theirs, ours, strict=True):
        assert np.array_equal(clip.codes, single[: len(clip.codes)])
        assert not clip.stopped


def test_a_row_does_not_depend_on_its_neighbours(model):
    prompts = [prompt("Hello."), prompt("Good morning to you."), prompt("Yes.")]
    together = generate(model, prompts, max_frames=6, seed=3)
    apart = generate(model, prompts, max_frames=6, seed=3, batch_size=1)
    assert all(np.array_equal(a.codes, b.codes) for a, b in zip(together, apart, strict=True))


def test_seeds_differ_and_repeat(model):
    first, again, other = (generate(model, [prompt("Hello.")], max_frames=5, seed=seed)[0].codes for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_model_that_ends_at_once_gives_an_empty_clip():
    """The stock loop crashes in the codec when the first frame is the end."""
    model = tiny.model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.depth_decoder.codebooks_head.weight.zero_()
    clip = generate(model, [prompt("Hello.")], max_frames=5, temperature=0)[0]
    assert clip.stopped and clip.codes.shape == (0, 32)


def test_ids_that_the_codec_cannot_decode_are_never_drawn():
    logits = torch.zeros(1, 67)
    logits[0, 64:] = 100.0
    sampler = Sampler([0], 32, 64, 1.0, 50, "cpu")
    for _ in range(20):
        sampler.next_frame()
        assert int(sampler(logits, 0)) < 64


def test_sampling_follows_the_distribution():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    sampler = Sampler([5], 1, 3, 1.0, 3, "cpu")
    drawn = []
    for _ in range(4000):
        sampler.next_frame()
        drawn.append(int(sampler(logits, 0)))
    assert np.bincount(drawn, minlength=3) / 4000 == pytest.approx([0.7, 0.2, 0.1], abs=0.03)
