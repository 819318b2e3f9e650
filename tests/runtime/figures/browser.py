"""A headless Chromium for the HTML report, controlled by the DevTools protocol over two pipes."""

import fcntl
import itertools
import json
import os
import select
import subprocess
import sys
import time

BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--window-size=1500,1000"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check"),
)
START_WITH_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
TIMEOUT = 120  # seconds; a page is ready in two


class Browser:
    """Chromium with one tab. `events` holds the console messages, requests and exceptions of the page."""

    def __init__(self, program, folder):
        (read_end, browser_write_end), (browser_read_end, write_end) = os.pipe(), os.pipe()
        browser_ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (browser_read_end, browser_write_end)]
        command = [program, *BROWSER_FLAGS, f"--user-data-dir={folder}", "about:blank"]
        devnull = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(
            [sys.executable, "-c", START_WITH_PIPES, *map(str, browser_ends), *command],
            pass_fds=browser_ends,
            **devnull,
        )
        for end in (*browser_ends, browser_read_end, browser_write_end):
            os.close(end)
        self.read_end, self.write_end, self.unread, self.events = read_end, write_end, b"", []
        self.numbers, self.session = itertools.count(1), None
        targets = self.send("Target.getTargets")["targetInfos"]
        (tab,) = (target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.send("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """Send one command and return its result; store the events that arrive before it."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next_message()
            if reply.get("id") == number:
                assert "error" not in reply, reply
                return reply["result"]
            self.events.append(reply)

    def open(self, path):
        """Open a file and wait until it is loaded."""
        self.events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait_until("document.readyState === 'complete' && location.protocol === 'file:'")

    def evaluate(self, script):
        """Return the value of a JavaScript expression in the page."""
        reply = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def wait_until(self, script):
        """Wait for an expression to become true."""
        end = time.monotonic() + TIMEOUT
        while not self.evaluate(script):
            assert time.monotonic() < end, f"timed out: {script}"
            self.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 10)))")

    def drag(self, start, by):
        """Press the mouse at a point of the window, move it and release it; pixels."""
        (x, y), (across, down) = start, by
        button = {"button": "left", "buttons": 1, "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **button)
        for n in range(1, 6):
            self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x + across * n / 5, y=y + down * n / 5, **button)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=x + across, y=y + down, **button)

    def complaints(self):
        """Exceptions, console messages and dialogs of the page."""
        names = (
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        )
        return [event for event in self.events if event.get("method") in names]

    def requests(self):
        """Addresses that the page requested."""
        requests = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [request["request"]["url"] for request in requests]

    def close(self):
        """Close the browser; kill it if it does not end."""
        os.close(self.write_end)
        os.close(self.read_end)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _next_message(self):
        end = time.monotonic() + TIMEOUT
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.read_end], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            received = os.read(self.read_end, 1 << 20)
            assert received, "the browser has ended"
            self.unread += received
        message, self.unread = self.unread.split(b"\0", 1)
        return json.loads(message)
