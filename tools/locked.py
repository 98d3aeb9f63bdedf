"""What dvc.lock says of the last run: hashes of what it made, and the parameters it was made with."""

from collections.abc import Iterator


def _stages(lock) -> Iterator[dict]:
    stages = lock.get("stages") if isinstance(lock, dict) else None
    yield from (stages if isinstance(stages, dict) else {}).values()


def outputs(lock) -> dict[str, dict]:
    """Path -> its entry (md5, size) of everything that the stages made. `lock`: the content of dvc.lock, or None."""
    return {out["path"]: out for stage in _stages(lock) for out in stage.get("outs") or ()}


def params(lock) -> dict[str, dict[str, object]]:
    """File -> dotted parameter -> the value that the stages last ran with."""
    found: dict[str, dict[str, object]] = {}
    for stage in _stages(lock):
        for path, values in (stage.get("params") or {}).items():
            found.setdefault(path, {}).update(values or {})
    return found
