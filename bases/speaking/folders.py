"""Where the base's data and the states of its trainings lie."""

import os
from pathlib import Path


def data_folder() -> Path:
    """The folder named by BASE_WORK, or `.work` beside these scripts: ignored by git and by DVC."""
    return Path(os.environ.get("BASE_WORK") or Path(__file__).parent / ".work")
