"""A real browser for the pages that we write, driven through a pair of pipes by its own protocol."""

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--window-size=1500,1000"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check"),
)
WIRE = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
PATIENCE = 120  # seconds; a page is ready in two


class Browser:
    """Chromium with one tab. What the page said, asked for and threw is in `events`."""

    def __init__(self, program, folder):
        (ours_in, theirs_out), (theirs_in, ours_out) = os.pipe(), os.pipe()
        far = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]
        words = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([sys.executable, "-c", WIRE, *map(str, far), *words], pass_fds=far, **quiet)
        for end in (*far, theirs_in, theirs_out):
            os.close(end)
        self.inlet, self.outlet, self.rest, self.events = ours_in, ours_out, b"", []
        self.numbers, self.session = itertools.count(1), None
        targets = self.ask("Target.getTargets")["targetInfos"]
        (tab,) = (target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **parameters):
        """Send one command and return its answer; keep what happens meanwhile."""
        number = next(self.numbers)
        word = {"id": number, "method": method, "params": parameters}
        if self.session:
            word["sessionId"] = self.session
        os.write(self.outlet, json.dumps(word).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            self.events.append(told)

    def open(self, path):
        """Show a file, and wait until it is loaded."""
        self.events.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def see(self, script):
        """Value of an expression in the page."""
        told = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, script):
        """Wait for an expression to become true."""
        end = time.monotonic() + PATIENCE
        while not self.see(script):
            assert time.monotonic() < end, f"never: {script}"
            self.see("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 10)))")

    def drag(self, start, by):
        """Press, move and let go of the mouse at a place of the window, in pixels."""
        (x, y), (across, down) = start, by
        button = {"button": "left", "buttons": 1, "clickCount": 1}
        self.ask("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **button)
        for n in range(1, 6):
            self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + across * n / 5, y=y + down * n / 5, **button)
        self.ask("Input.dispatchMouseEvent", type="mouseReleased", x=x + across, y=y + down, **button)

    def complaints(self):
        """What the page threw, and what stands in its console."""
        names = (
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        )
        return [told for told in self.events if told.get("method") in names]

    def requests(self):
        """Addresses that were asked for."""
        sent = [told["params"] for told in self.events if told.get("method") == "Network.requestWillBeSent"]
        return [told["request"]["url"] for told in sent]

    def close(self):
        """End the browser, whatever it is doing."""
        os.close(self.outlet)
        os.close(self.inlet)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _next(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.inlet], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser is silent"
            more = os.read(self.inlet, 1 << 20)
            assert more, "the browser has ended"
            self.rest += more
        word, self.rest = self.rest.split(b"\0", 1)
        return json.loads(word)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium, or a skip where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed here: the page is not tried in a browser")
    opened = Browser(program, tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()
