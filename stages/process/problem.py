"""What a person can mend: bad input, a missing file, a machine that lacks something."""


class Problem(Exception):
    """One clear line - what, where, the remedy - shown without a traceback; the process ends with status 1."""

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))
