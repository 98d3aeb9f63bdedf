"""Text as the speaking base reads it: a token for every word of the grammar, bytes for everything else.

Any text can be said to it without an error; what is outside the grammar is spelled, and comes out as it may.
"""

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import CsmProcessor, EncodecFeatureExtractor, PreTrainedTokenizerFast

from stages.csm.codec import SAMPLING_RATE

BEGIN, END, AUDIO, AUDIO_END, PAD = SPECIALS = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|AUDIO|>",
    "<|audio_eos|>",
    "<|finetune_right_pad_id|>",
]
TEMPLATE = (
    "{% for message in messages %}{{ '<|begin_of_text|>[' + message['role'] + ']' }}"
    "{% for item in message['content'] %}{% if item['type'] == 'text' %}{{ item['text'] + '<|end_of_text|>' }}"
    "{% elif item['type'] == 'audio' %}{{ '<|AUDIO|><|audio_eos|>' }}{% endif %}{% endfor %}{% endfor %}"
)
MARKS = 32  # speakers [0] to [31] have tokens of their own


def make_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Bytes, then the speakers' marks, the words (capitals do not matter), and CSM's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_tokens([AddedToken(f"[{mark}]", normalized=False) for mark in range(MARKS)])
    # A word takes the space before it; only whole words count: "hat" is none in "that".
    raw.add_tokens([AddedToken(word, single_word=True, lstrip=True, normalized=True) for word in words])
    raw.add_special_tokens(SPECIALS)
    raw.post_processor = TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, raw.token_to_id(BEGIN)), (END, raw.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=BEGIN, eos_token=END, pad_token=PAD)


def make_processor(words: Sequence[str]) -> CsmProcessor:
    extractor = EncodecFeatureExtractor(feature_size=1, sampling_rate=SAMPLING_RATE)
    return CsmProcessor(extractor, make_tokenizer(words), chat_template=TEMPLATE)
