"""Settings of the fetch stage. Apart from the downloader, so that reading them does not load it."""

from typing import Annotated

from pydantic import Field

from stages.files.settings import Settings


class Network(Settings):
    """How to reach the net. None of it changes what comes back."""

    cookies_file: str | None  # Netscape format (cookies.txt)
    cookies_from_browser: str | None
    proxy: str | None
    rate_limit: Annotated[int, Field(gt=0)] | None  # bytes per second
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)]  # seconds without an answer


class FetchSettings(Settings):
    network: Network
