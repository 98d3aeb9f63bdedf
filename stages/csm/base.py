"""Loading and saving CSM without the silent losses of transformers 5.

`CsmConfig` switches weight tying off, so a plain load leaves the backbone's audio embeddings random when the file
holds them once (as the published checkpoint does), and a plain save drops them again. `load_csm` ties them on every
load; `save_csm` writes both tensors, so that any reader gets the right ones.
"""

import json
from pathlib import Path

import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from peft import PeftModel
from transformers import AutoConfig, AutoProcessor, CsmForConditionalGeneration
from transformers.utils import logging

from stages.files.settings import Settings, parse
from stages.process.problem import Problem

logging.set_verbosity_error()  # every load repeats notes on pad ids that CSM does not use

HUB_FOLDER = "bases/hub"
TIED = "backbone_model.embed_tokens.embed_audio_tokens.weight"


class BaseSettings(Settings):
    """The model to start from; see `base` in params.yaml."""

    path: str
    name: str | None = None
    revision: str | None = None

    @property
    def location(self) -> str:
        """What `from_pretrained` takes: the hub's name for bases/hub, else the folder."""
        on_hub = Path(self.path) == Path(HUB_FOLDER)
        if on_hub and not self.name:
            raise Problem(f"params.yaml: base.path is {HUB_FOLDER}, but base.name names no model on the hub")
        if not on_hub and self.name:
            raise Problem(f"params.yaml: base.name needs base.path: {HUB_FOLDER} (or set base.name to null)")
        return self.name if on_hub else self.path


def resolved(settings: BaseSettings, codes: str | Path = "data/codes") -> BaseSettings:
    """`settings` with the revision that encode resolved and recorded, so that one run uses one revision throughout."""
    path = Path(codes) / "base.json"
    if not path.is_file():
        raise Problem(f"{path}: no such file; run `dvc repro encode` (or `dvc pull`) first")
    record = json.loads(path.read_text())
    return parse(BaseSettings, {**settings.model_dump(), "revision": record["revision"]}, "base.json")


def _from_hub(load, location: str, what: str, **options):
    """Call a `from_pretrained`; turn its many failures into one line."""
    try:
        return load(location, **options)
    except (OSError, LocalEntryNotFoundError, HfHubHTTPError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        if Path(location).exists():
            remedy = "check base.path in params.yaml"
        else:
            remedy = "check base.name and the network; for a gated model accept its terms and set HF_TOKEN"
        raise Problem(f"cannot load {what} from {location}: {reason}; {remedy}") from error


def tie(model: CsmForConditionalGeneration) -> None:
    """Let the backbone and the depth decoder share one table of audio embeddings, as the published model does."""
    model.backbone_model.embed_tokens.embed_audio_tokens.weight = model.depth_decoder.model.embed_tokens.weight


def load_csm(
    location: str | Path, revision: str | None = None, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> CsmForConditionalGeneration:
    """Load CSM from a folder or the hub: embeddings tied, codec frozen, evaluation mode.

    A folder with a LoRA adapter is loaded as its base with the adapter merged in. Raises Problem when the checkpoint is
    not CSM, lacks weights or cannot be reached.
    """
    location = str(location)
    if (Path(location) / "adapter_config.json").is_file():
        return _load_adapted(Path(location), dtype, device)
    config = _from_hub(AutoConfig.from_pretrained, location, "the configuration", revision=revision)
    if config.model_type != "csm":
        raise Problem(f"{location} is a {config.model_type} model, not CSM; name a CSM checkpoint in base")
    model, info = _from_hub(
        CsmForConditionalGeneration.from_pretrained,
        location,
        "the model",
        revision=revision,
        dtype=dtype,
        output_loading_info=True,
    )
    missing = set(info["missing_keys"])
    if config.tie_codebooks_embeddings:
        tie(model)
        missing.discard(TIED)
    if missing:
        raise Problem(
            f"{location} lacks the weights {', '.join(sorted(missing)[:3])}; it is not a whole CSM checkpoint"
        )
    model.codec_model.requires_grad_(False)
    return model.to(device).eval()


def _load_adapted(folder: Path, dtype: torch.dtype, device: str) -> CsmForConditionalGeneration:
    config = json.loads((folder / "adapter_config.json").read_text())
    model = load_csm(config["base_model_name_or_path"], config.get("revision"), dtype)
    adapted = PeftModel.from_pretrained(model, folder)
    return adapted.merge_and_unload().to(device).eval()


def load_base(settings: BaseSettings, dtype: torch.dtype = torch.float32, device: str = "cpu"):
    return load_csm(settings.location, settings.revision, dtype, device)


def load_processor(location: str | Path, revision: str | None = None):
    """Load tokenizer, feature extractor and chat template. Raises Problem when the audio tokens are missing."""
    processor = _from_hub(AutoProcessor.from_pretrained, str(location), "the processor", revision=revision)
    tokenizer = getattr(processor, "tokenizer", None)
    known = tokenizer.get_vocab() if tokenizer else {}
    if absent := [token for token in ("<|AUDIO|>", "<|audio_eos|>") if token not in known]:
        raise Problem(f"{location}: its tokenizer has no {' and no '.join(absent)}; name a CSM checkpoint in base")
    return processor


def save_csm(model: CsmForConditionalGeneration, folder: str | Path) -> None:
    """Save with both copies of the tied embeddings and with all generation settings."""
    embedding = model.backbone_model.embed_tokens.embed_audio_tokens
    for generation in (model.generation_config, model.depth_decoder.generation_config):
        generation._from_model_config = False  # else the depth decoder's settings are dropped on load
    tied = embedding.weight is model.depth_decoder.model.embed_tokens.weight
    embedding.weight = torch.nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
    model.save_pretrained(folder)
    if tied:
        tie(model)
