"""What is compared: recordings, their codec round trip, and the voice before and after tuning."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Condition:
    """One column of the comparison. `model` speaks it (None: recorded sound); `context`: it hears the speaker first."""

    name: str
    title: str
    meaning: str
    model: Literal["base", "merged"] | None = None
    context: bool = False

    @property
    def generated(self) -> bool:
        return self.model is not None


GT, GT_CODEC = "gt", "gt_codec"
CONDITIONS = (
    Condition(GT, "Recording", "the speaker, as recorded; never seen in training"),
    Condition(GT_CODEC, "Codec", "the recording through the codec and back: the best that codes can carry"),
    Condition("zero_shot", "Base", "the base model, which has not heard the speaker", "base"),
    Condition("clone", "Base, cloned", "the base model after hearing some training audio", "base", True),
    Condition("ft", "Tuned", "the fine-tuned model", "merged"),
    Condition("ft_clone", "Tuned, cloned", "the fine-tuned model after hearing the same audio", "merged", True),
)
# Before and after tuning, all else equal: were these two the same, the adapter would have done nothing.
BEFORE_AFTER = (("zero_shot", "ft"), ("clone", "ft_clone"))
