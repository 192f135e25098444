"""A real Chromium, driven over its pipe: pages are loaded as a person would, and looked at as pixels and as a document.

No library: the protocol is JSON between two file descriptors, and a screenshot is a PNG, which is zlib and a little arithmetic.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
import zlib

ANSWER_SECONDS_MAX = 60


class Browser:
    """A browser of its own, with an empty profile, ended with this value."""

    def __init__(self, program):
        self.profile = tempfile.mkdtemp(prefix="skycron-page-")
        to_browser, self.write_to = os.pipe()
        self.read_from, from_browser = os.pipe()
        arguments = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            "--disable-dev-shm-usage", f"--user-data-dir={self.profile}", "--remote-debugging-pipe", "about:blank",
        ]

        def take_places():
            # The browser reads from 3 and writes to 4. Out of the way first: one of the two may be 3 or 4 itself.
            reading, writing = os.dup(to_browser), os.dup(from_browser)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self.process = subprocess.Popen(
            arguments, preexec_fn=take_places, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.number = 0
        self.buffer = b""
        self.session = None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Security"):
            self.call(f"{domain}.enable")

    def close(self):
        self.process.terminate()
        self.process.wait()
        os.close(self.write_to)
        os.close(self.read_from)
        shutil.rmtree(self.profile, ignore_errors=True)

    def message(self):
        """The next message, an answer or an event."""
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read_from], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError("the browser does not answer")
            read = os.read(self.read_from, 1 << 20)
            if not read:
                raise AssertionError(f"the browser ended with {self.process.wait()}")
            self.buffer += read
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        data = json.dumps(request).encode() + b"\0"
        while data:
            data = data[os.write(self.write_to, data):]
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]
            if "method" in message:
                self.events.append(message)

    def open(self, url, width, height=900, dark=False):
        """Loads a page in a window of this size, as a phone's where it is narrow. What the browser complains of is kept."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events = []
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())
        return self

    def evaluate(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self, path):
        """The whole page, as a PNG in a file; and the upper part of it as pixels."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(answer["data"]))
        width, height = self.evaluate("[innerWidth, Math.min(document.documentElement.scrollHeight, 1400)]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 0.5}
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return Picture(base64.b64decode(answer["data"]))

    def complaints(self):
        """Everything that the browser wrote into its console: errors, refused styles and scripts."""
        told = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] == "Log.entryAdded":
                told.append(params["entry"]["text"])
            elif event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                told.append(json.dumps(params))
        return told

    def requested(self):
        """The addresses of everything that was loaded."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]


class Picture:
    """The pixels of a PNG of 8 bits and 3 or 4 channels, which is what the browser makes."""

    def __init__(self, data):
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        at, packed = 8, b""
        while at < len(data):
            length, kind = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
            body = data[at + 8:at + 8 + length]
            if kind == b"IHDR":
                self.width, self.height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
                assert body[8] == 8 and body[9] in (2, 6) and body[12] == 0
                self.channels = 3 if body[9] == 2 else 4
            elif kind == b"IDAT":
                packed += body
            at += 12 + length
        self.rows = self.unfiltered(zlib.decompress(packed))

    def unfiltered(self, raw):
        step, stride = self.channels, self.width * self.channels
        before, rows = bytearray(stride), []
        for y in range(self.height):
            kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
            for x in range(stride):
                left = row[x - step] if x >= step else 0
                up = before[x]
                corner = before[x - step] if x >= step else 0
                if kind == 1:
                    row[x] = (row[x] + left) & 255
                elif kind == 2:
                    row[x] = (row[x] + up) & 255
                elif kind == 3:
                    row[x] = (row[x] + (left + up) // 2) & 255
                elif kind == 4:
                    guess = left + up - corner
                    nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))
                    row[x] = (row[x] + nearest[2]) & 255
            rows.append(row)
            before = row
        return rows

    def pixel(self, x, y):
        at = x * self.channels
        return tuple(self.rows[y][at:at + 3])

    def colours(self, every=7):
        """How often each colour is there, of every so many pixels in both directions."""
        found = {}
        for y in range(0, self.height, every):
            for x in range(0, self.width, every):
                colour = self.pixel(x, y)
                found[colour] = found.get(colour, 0) + 1
        return found
