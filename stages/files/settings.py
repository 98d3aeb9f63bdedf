"""Typed settings from YAML: unknown keys, wrong types and malformed files end in one line that says where."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stages.process.problem import Problem


class Settings(BaseModel):
    """Base of every settings class: immutable, no unknown keys, no silent conversion of "12" to 12."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Kind = TypeVar("Kind", bound=BaseModel)


def read_yaml(path: str | Path):
    """Parse YAML 1.2 (so that 2e-4 is a number). Raises Problem with file and line when it cannot."""
    path = Path(path)
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem(f"{path}: no such file") from None
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Problem(f"{path}{line}: not valid YAML ({error.problem}); mend the line") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise Problem(f"{path}: not valid YAML ({error})") from None


def _known(kind: type[BaseModel], place: tuple) -> str:
    """The keys that the (nested) model at `place` knows, for a message; nothing where lists or unions hide it."""
    for part in place[:-1]:
        kind = kind.model_fields[part].annotation if part in getattr(kind, "model_fields", {}) else None
    return f"; known are {', '.join(sorted(kind.model_fields))}" if hasattr(kind, "model_fields") else ""


def parse(kind: type[Kind], content, where: str) -> Kind:
    """Build `kind` from plain data; `where` (file and key) begins the message of the Problem raised if it is wrong."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            raise Problem(f"{place}: unknown key{_known(kind, first['loc'])}") from None
        if first["type"] == "missing":
            raise Problem(f"{place}: missing; add it") from None
        message = first["msg"].removeprefix("Value error, ")
        shown = "" if first["type"] == "value_error" else f", not {first['input']!r}"
        raise Problem(f"{place}: {message}{shown}") from None


def read_settings(kind: type[Kind], section: str, path: str | Path = "params.yaml") -> Kind:
    """Read the top-level key `section` of `path` as `kind`."""
    content = read_yaml(path)
    if not isinstance(content, dict) or section not in content:
        raise Problem(f"{path}: has no section {section!r}; add it")
    return parse(kind, content[section], f"{path}: {section}")
