"""The Hugging Face Hub, asked with deadlines, its many errors turned into one line."""

import os
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from stages.process.problem import Problem

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TIMEOUT = 2.5  # seconds for one question; a hub that is there answers in a fraction of one


@dataclass(frozen=True)
class Base:
    """The section `base` of params.yaml: a folder, or a model on the hub when it has a name."""

    path: str | None
    name: str | None
    revision: str | None

    @classmethod
    def of(cls, params: dict) -> "Base":
        section = params.get("base")
        section = section if isinstance(section, dict) else {}
        return cls(section.get("path"), section.get("name"), section.get("revision"))

    @property
    def is_cached(self) -> bool:
        """Whether configuration and weights are in the hub's cache on this machine."""

        def has(file: str) -> bool:
            return isinstance(try_to_load_from_cache(self.name, file, revision=self.revision), str)

        try:
            return self.name is not None and has("config.json") and any(map(has, WEIGHTS))
        except HFValidationError:
            return False


@contextmanager
def one_line(what: str):
    """Turn the errors of the hub within the block into a Problem that begins with `what`."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise Problem(f"{what}: HF_HUB_OFFLINE is set; unset it to reach the hub") from None
    except GatedRepoError:
        raise Problem(f"{what}: is gated; accept its terms on its page and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise Problem(f"{what}: not found, or not yours to see; check the name and HF_TOKEN") from None
    except RevisionNotFoundError:
        raise Problem(f"{what}: has no such revision; check base.revision") from None
    except HFValidationError:
        raise Problem(f"{what}: is no name of a repository; write user/name") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise Problem(f"{what}: the hub refused ({status}); HF_TOKEN needs the right to write there") from None
        raise Problem(f"{what}: the hub answered {status} ({error.server_message or 'no reason given'})") from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Problem(f"{what}: the hub does not answer ({reason}); check the network and try again") from None


def check_access(base: Base) -> None:
    """Raise Problem unless the base can be had from the hub now: reachable, there, and not gated for this user."""
    with one_line(base.name):
        info = HfApi().model_info(base.name, revision=base.revision, timeout=TIMEOUT)
        if info.gated:
            HfApi().auth_check(base.name)


def check_card(text: str, repo_type: str, token: str) -> None:
    """Raise Problem unless the hub accepts this README.md, with its reasons.

    The question is that of RepoCard.validate, which puts it to huggingface.co even where HF_ENDPOINT names another hub.
    """
    with one_line("the card"):
        answer = get_session().post(
            f"{HfApi().endpoint}/api/validate-yaml",
            json={"repoType": repo_type, "content": text},
            headers=build_hf_headers(token=token),
            timeout=4 * TIMEOUT,
        )
        try:
            hf_raise_for_status(answer)
        except BadRequestError:
            found = answer.json() if "json" in answer.headers.get("content-type", "") else {}
            reasons = "; ".join(str(one.get("message")) for one in found.get("errors", [])) or answer.text[:300]
            raise Problem(f"the hub does not accept the card's metadata: {reasons}; please report this") from None


def answers() -> bool:
    """Whether the hub answers at all."""
    try:
        return httpx.head(HfApi().endpoint, timeout=TIMEOUT, follow_redirects=True).status_code < 500
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def token() -> str:
    """The token, from the environment and from nowhere else."""
    if found := os.environ.get("HF_TOKEN", "").strip():
        return found
    raise Problem("HF_TOKEN is not set; make a token with write access in the hub's settings and export it")
