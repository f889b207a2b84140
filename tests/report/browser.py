"""A headless Chromium, driven over its debugging protocol with the websocket client that Bokeh brings along."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tornado.websocket import websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip


def find_browser() -> str | None:
    """Path of a Chromium, or None."""
    return next((found for found in map(shutil.which, NAMES) if found), None)


class Browser:
    """One page in a headless browser.

    Attributes
    ----------
    messages : list of str
        Errors and warnings that the page wrote to its console, and exceptions that nobody caught.
    requests : list of str
        Addresses that the page asked for.
    """

    def __init__(self, width: int = 1400, height: int = 900):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self.messages: list[str] = []
        self.requests: list[str] = []
        self._process = subprocess.Popen(
            [find_browser(), *FLAGS, f"--user-data-dir={self._folder.name}", f"--window-size={width},{height}",
             "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            self._socket = self._loop.run_until_complete(self._connect())
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
            self.size(width, height)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and remove its profile."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._loop.close()
        self._folder.cleanup()

    def send(self, method: str, **parameters) -> dict:
        """Send one command and wait for its answer."""
        return self._loop.run_until_complete(self._send(method, parameters))

    def evaluate(self, expression: str):
        """Value of a JavaScript expression, promises awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description", "JavaScript error"))
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 20):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"still false after {seconds} s: {expression}"
            time.sleep(0.05)

    def open(self, path: Path) -> None:
        """Open a report and wait until it is drawn."""
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete' && document.body.dataset.ready === 'true'")
        self.wait("Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")

    def size(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        if whole:
            box = self.send("Page.getLayoutMetrics")["cssContentSize"]
            self.size(int(box["width"]), int(box["height"]))
            time.sleep(0.5)
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at one place of the window and let go at another; a click where they are the same."""
        self._mouse("mouseMoved", start, "none")
        self._mouse("mousePressed", start)
        if start != end:
            for part in (0.25, 0.5, 0.75, 1):
                place = tuple(a + part * (b - a) for a, b in zip(start, end, strict=True))
                self._mouse("mouseMoved", place)
        self._mouse("mouseReleased", end)

    def _mouse(self, kind: str, place: tuple[float, float], button: str = "left") -> None:
        self.send(
            "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button=button, clickCount=1,
            buttons=int(button == "left" and kind != "mouseReleased"),
        )  # fmt: skip

    async def _connect(self):
        note = Path(self._folder.name) / "DevToolsActivePort"
        for _ in range(200):
            if note.exists() and len(note.read_text().splitlines()) == 2:
                break
            await asyncio.sleep(0.05)
        port, address = note.read_text().splitlines()
        browser = await websocket_connect(f"ws://127.0.0.1:{port}{address}", max_message_size=200_000_000)
        await browser.write_message(json.dumps({"id": 0, "method": "Target.getTargets"}))
        pages = json.loads(await browser.read_message())["result"]["targetInfos"]
        page = next(page["targetId"] for page in pages if page["type"] == "page")
        browser.close()
        return await websocket_connect(f"ws://127.0.0.1:{port}/devtools/page/{page}", max_message_size=200_000_000)

    async def _send(self, method: str, parameters: dict) -> dict:
        self._number += 1
        await self._socket.write_message(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self._socket.read_message())
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, message: dict) -> None:
        method, details = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"):
            self.messages.append(" ".join(str(a.get("value", a.get("description"))) for a in details["args"]))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(str(details["exceptionDetails"].get("exception", {}).get("description")))
        elif method == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
            self.messages.append(details["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
