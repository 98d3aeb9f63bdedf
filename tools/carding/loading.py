"""How to load what was pushed: code that runs as it stands."""

DATASET = """```python
from datasets import Audio, load_dataset

rows = load_dataset("{repo}")  # train, validation, test: split by time, no text in two of them
rows = rows.cast_column("audio", Audio(decode=False))  # bytes of 24 kHz mono FLAC; without this line: decoded
```"""
SPEAK = """inputs = processor("[{speaker}]Good morning.", add_special_tokens=True, return_tensors="pt")
audio = model.generate(**inputs, output_audio=True)
processor.save_audio(audio, "hello.wav")"""
MERGED = (
    """```python
from transformers import AutoProcessor, CsmForConditionalGeneration

model = CsmForConditionalGeneration.from_pretrained("{repo}")
processor = AutoProcessor.from_pretrained("{repo}")
"""
    + SPEAK
    + "\n```"
)
ADAPTER = (
    """```python
from peft import PeftModel
from transformers import AutoProcessor, CsmForConditionalGeneration

model = CsmForConditionalGeneration.from_pretrained("{base}"{revision})
# transformers 5 leaves this table random where the file holds it once: share it, as CSM does.
model.backbone_model.embed_tokens.embed_audio_tokens.weight = model.depth_decoder.model.embed_tokens.weight
model = PeftModel.from_pretrained(model, "{repo}").merge_and_unload()
processor = AutoProcessor.from_pretrained("{repo}")
"""
    + SPEAK
    + "\n```"
)
