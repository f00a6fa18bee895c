"""Looks at the page in a real browser, by WebDriver: python3 browser.py CHROMEDRIVER BROWSER URL HOST PORT [FOLDER]

A connection to HOST:PORT is one that the page must show. In FOLDER the pictures are kept. Ends with a line for each
thing that is wrong, and status 1.
"""

import base64
import json
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

DRIVER, BROWSER, URL, HOST, PORT = sys.argv[1:6]
FOLDER = pathlib.Path(sys.argv[6]) if len(sys.argv) > 6 else None
DEADLINE = 60
wrong = []

# Every text that can be seen, with the contrast of WCAG 2.1 between it and what is behind it.
CONTRAST = """
const part = one => { one /= 255; return one <= .03928 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4 };
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
const behind = one => {
  for (; one; one = one.parentElement) {
    const color = numbers(getComputedStyle(one).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
  return numbers(getComputedStyle(document.documentElement).backgroundColor);
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; node = walker.nextNode();) {
  const one = node.parentElement;
  if (!node.data.trim() || !one.checkVisibility() || one.closest('script, style, noscript')) continue;
  const [text, back] = [light(numbers(getComputedStyle(one).color)), light(behind(one))];
  const ratio = (Math.max(text, back) + .05) / (Math.min(text, back) + .05);
  if (ratio < 4.5) found.push(node.data.trim() + ': ' + ratio.toFixed(2));
}
return found;
"""

# What sticks out of the window, or has something over it.
OVERFLOW = """
const wide = document.documentElement.clientWidth;
const found = document.documentElement.scrollWidth > wide ? ['the page is wider than the window'] : [];
for (const one of document.querySelectorAll('main *')) {
  if (one.closest('thead') || !one.checkVisibility()) continue;
  const box = one.getBoundingClientRect();
  if (box.right > wide + 1 || box.left < -1) found.push(one.tagName + ': ' + one.textContent.slice(0, 40));
}
for (const cell of document.querySelectorAll('td, h1, h2, li')) {
  cell.scrollIntoView({block: 'center'});
  const box = cell.getBoundingClientRect();
  const top = document.elementFromPoint(box.left + 5, box.top + 9);
  if (!cell.contains(top)) found.push('covered: ' + cell.textContent.slice(0, 40) + ' by ' + top?.tagName);
}
scrollTo(0, 0);
return found;
"""


class Session:
    """A window of the browser."""

    def __init__(self, port):
        self.root = f"http://127.0.0.1:{port}"
        options = {
            "binary": BROWSER,
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--no-first-run", "--hide-scrollbars"],
        }
        wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL"}}
        made = self.ask("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.root += "/session/" + made["sessionId"]

    def ask(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"})
        if method:
            request.method = method
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.load(answer)["value"]

    def run(self, script):
        return self.ask("/execute/sync", {"script": script, "args": []})

    def devtools(self, command, **parameters):
        return self.ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def visit(self):
        self.ask("/url", {"url": URL})

    def text(self, selector):
        return self.run(f"return document.querySelector({json.dumps(selector)})?.innerText ?? ''")


def wait_for(what, probe):
    end = time.monotonic() + DEADLINE
    while not probe():
        if time.monotonic() > end:
            wrong.append(f"not within {DEADLINE} s: {what}")
            return
        time.sleep(0.05)


def look(session):
    """In each width, by day and by night."""
    for width, height in [(360, 740), (1280, 900)]:
        session.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                         deviceScaleFactor=1, mobile=False)
        for scheme in ["light", "dark"]:
            feature = {"name": "prefers-color-scheme", "value": scheme}
            session.devtools("Emulation.setEmulatedMedia", features=[feature])
            session.visit()
            for kind, script in [("contrast", CONTRAST), ("overflow", OVERFLOW)]:
                wrong.extend(f"{width} {scheme}: {kind}: {one}" for one in session.run(script))
            if FOLDER:
                shot = session.devtools("Page.captureScreenshot", captureBeyondViewport=True)
                (FOLDER / f"{width}-{scheme}.png").write_bytes(base64.b64decode(shot["data"]))


def live(session):
    """What changes is shown by itself; so is that nothing answers any more."""
    session.visit()
    session.run("window.mark = 'this very page'")
    before = session.text(".verdict p")
    with socket.create_connection((HOST, int(PORT))):
        wait_for("another number of connections", lambda: session.text(".verdict p") != before)
        wait_for("a line of what was", lambda: session.run("return document.querySelectorAll('polyline').length"))
    if session.run("return window.mark") != "this very page":
        wrong.append("the page was loaded again")
    nothing = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    session.devtools("Network.enable")
    session.devtools("Network.emulateNetworkConditions", offline=True, **nothing)
    wait_for("a notice", lambda: "has not answered since" in session.text("#gone"))
    session.devtools("Network.emulateNetworkConditions", offline=False, **nothing)
    wait_for("no notice", lambda: session.run("return document.getElementById('gone').hidden"))


def without_script(session):
    session.devtools("Emulation.setScriptExecutionDisabled", value=True)
    session.visit()
    session.devtools("Emulation.setScriptExecutionDisabled", value=False)
    if not session.text("h1") or "UTC" not in session.text("footer time"):
        wrong.append("without JavaScript: " + session.text("body"))
    if not session.run("return document.querySelector('noscript').innerHTML.includes('refresh')"):
        wrong.append("without JavaScript it is not fetched again")


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    session = None
    try:
        def answers():
            try:
                return socket.create_connection(("127.0.0.1", port)).close() is None
            except OSError:
                return False
        wait_for("a driver", answers)
        session = Session(port)
        live(session)
        look(session)
        without_script(session)
        if session.run("return window.hacked"):
            wrong.append("a name was run")
        log = session.ask("/se/log", {"type": "browser"})
        wrong.extend(one["message"] for one in log if "ERR_INTERNET_DISCONNECTED" not in one["message"])
    finally:
        if session:
            session.ask("", method="DELETE")
        driver.terminate()
        driver.wait()
    print("\n".join(wrong))
    return bool(wrong)


sys.exit(main())
