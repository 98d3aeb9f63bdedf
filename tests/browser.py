"""A real browser for the tests of the listening page: headless Chromium, driven over its debugging protocol."""

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
CODES = {" ": "Space", "/": "Slash", "?": "Slash"}
NUMBERS = {" ": 32, "Enter": 13, "Escape": 27, "Tab": 9, "Backspace": 8}


class Tab:
    """A page in the browser; keys are pressed as by a hand. `complaints`: what it logged, and errors of its script."""

    def __init__(self, socket):
        self.socket, self.number, self.complaints = socket, 0, []

    async def call(self, method: str, **params):
        """One method of the debugging protocol."""
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": params})
        async for message in self.socket:
            content = json.loads(message.data)
            if content.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(content["params"])
            if content.get("id") == self.number:
                assert "error" not in content, content
                return content["result"]

    async def ask(self, expression: str):
        """The value of a JavaScript expression in the page; promises are awaited."""
        options = {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = await self.call("Runtime.evaluate", **options)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str):
        """Wait until the expression is true, for ten seconds or so."""
        for _ in range(100):
            if await self.ask(expression):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"never came true: {expression}")

    async def loaded(self):
        """The page is there, and what it complains of is collected from now on."""
        await self.call("Log.enable")
        await self.call("Runtime.enable")
        await self.until("location.protocol === 'file:' && document.readyState === 'complete'")

    async def press(self, key: str):
        """A key by its name, as in KeyboardEvent.key: "a", " ", "/", "ArrowLeft"."""
        code = CODES.get(key) or (f"Key{key.upper()}" if key.isalpha() and len(key) == 1 else key)
        code = f"Digit{key}" if key.isdigit() else code
        number = NUMBERS.get(key, ord(key.upper()) if len(key) == 1 and key.isalnum() else 0)
        written = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        named = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        await self.call("Input.dispatchKeyEvent", type="keyDown" if written else "rawKeyDown", **named, **written)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    async def write(self, text: str):
        for character in text:
            await self.press(character)

    async def click(self, selector: str):
        """Press the middle of the first element that the CSS selector finds with the mouse."""
        place = f"document.querySelector({json.dumps(selector)})"
        await self.ask(f"{place}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = await self.ask(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({place}.getBoundingClientRect())"
        )
        at = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        await self.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        await self.call("Input.dispatchMouseEvent", type="mouseReleased", **at)

    async def resize(self, width: int, height: int = 900, mobile: bool = False):
        """The width of the screen in CSS pixels; windows of a headless browser are never narrower than 500."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        await self.call("Emulation.setDeviceMetricsOverride", **screen)

    async def prefer(self, scheme: str):
        """What the system prefers: "light" or "dark"."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])

    async def screenshot(self, path: str | Path, whole: bool = False):
        """Write what is seen as a PNG file; `whole`: all of the page, as far down as it goes."""
        answer = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(answer["data"]))


async def in_chromium(profile: Path, url: str, width: int, visit: Callable[[Tab], Awaitable[None]]) -> None:
    """Open `url` in a window of this width and await visit(tab). `profile`: a new folder for the browser itself."""
    aiohttp = pytest.importorskip("aiohttp")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-first-run", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={profile}", f"--window-size={width},900", url]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = profile / "DevToolsActivePort"
        while not (port.exists() and port.read_text()):
            await asyncio.sleep(0.1)
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"http://127.0.0.1:{port.read_text().split()[0]}/json")
            target = next(target for target in await answer.json() if target["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                await visit(Tab(socket))
    finally:
        browser.terminate()
        browser.wait(10)


def browse(profile: Path, url: str, visit: Callable[[Tab], Awaitable[None]], width: int = 1200) -> None:
    """`in_chromium`, run to its end; a minute is more than any visit takes."""
    asyncio.run(asyncio.wait_for(in_chromium(profile, url, width, visit), 60))
