"""Look at the built site as a reader would: links, gallery, and pages in a browser.

Run by ``make docs-check``, after ``make docs``. Ends with an error if

- a link, an anchor or a picture of a page leads nowhere inside the site,
- a class, function or method of the public API has no place on the API pages,
- an example of the gallery did not run, or took a minute or more,
- a page shown in a browser, at the width of a desk and of a phone, writes an error to its console,
  asks another host for anything, is wider than its window, or lacks a picture,
- the search does not find `SinkhornTransport`.

Screenshots are left in ``docs/_build/screenshots``. The browser is Chromium of the system.
"""

import argparse
import re
import shutil
import sys
import threading
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

DOCS = Path(__file__).resolve().parent
SITE = DOCS / "_build" / "html"
SCREENSHOTS = DOCS / "_build" / "screenshots"

#: What is opened in the browser: the name of the screenshot, and the page.
PAGES = {
    "landing": "index.html",
    "choosing": "choosing.html",
    "guide": "user_guide/entropic.html",
    "gallery": "auto_examples/basics/plot_estimators.html",
    "gallery_diagram": "auto_examples/model_selection/plot_compare_transports.html",
    "gallery_index": "auto_examples/index.html",
    "api": "api/index.html",
    "api_class": "generated/skot.SinkhornTransport.html",
    "benchmarks": "benchmarks.html",
}
#: Width and height of the windows, in pixels.
WINDOWS = {"desk": (1280, 900), "phone": (400, 800)}
#: An example of the gallery takes less than this, in seconds.
LONGEST_EXAMPLE = 60.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Page(HTMLParser):
    """Anchors of a page, and the addresses it refers to."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.addresses = {"", "top"}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.addresses.append(value)


def broken_links():
    """Addresses inside the site that lead nowhere, with the page that has them."""
    files = {path for path in SITE.rglob("*") if path.is_file()}
    pages = {
        path: Page(path.read_text(encoding="utf-8"))
        for path in files
        # The theme leaves templates among its static files.
        if path.suffix == ".html" and SITE / "_static" not in path.parents
    }
    for path, page in sorted(pages.items()):
        for address in page.addresses:
            parts = urlsplit(address)
            # The diagrams of estimators mark text on a page (":~:text="), which is no anchor.
            if parts.scheme or parts.netloc or ":~:" in parts.fragment:
                continue
            there = unquote(urldefrag(address).url.split("?")[0])
            target = (path.parent / there).resolve() if there else path
            anchor = unquote(parts.fragment)
            if target not in files or target in pages and anchor not in pages[target].anchors:
                yield path.relative_to(SITE), address


def undocumented_names():
    """Public classes, functions and methods without a place on the pages of the API."""
    text = "".join(path.read_text(encoding="utf-8") for path in SITE.glob("generated/*.html"))
    anchors = set(re.findall(r'<dt class="[^"]*" id="([^"]+)"', text))
    listed = (DOCS.parent / "tests" / "public_api.txt").read_text(encoding="utf-8").splitlines()
    callables = [line.partition("(")[0] for line in listed if "(" in line]
    return [name for name in callables if name not in anchors]


def example_seconds():
    """Seconds of every example of the gallery, by its path; None where it did not run."""
    seconds = {}
    for script in sorted((DOCS.parent / "examples").glob("*/plot_*.py")):
        name = script.relative_to(DOCS.parent / "examples").with_suffix("").as_posix()
        page = SITE / "auto_examples" / f"{name}.html"
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        match = re.search(
            r"Total running time of the script:</strong>\s*\((\d+) minutes ([\d.]+)", text
        )
        seconds[name] = 60.0 * int(match[1]) + float(match[2]) if match else None
    return seconds


@contextmanager
def served():
    """Serve the site on this machine and give its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def defects_in_browser(browser, home):
    """What is wrong with the pages as they are shown. Takes the screenshots."""
    for window, (width, height) in WINDOWS.items():
        context = browser.new_context(viewport={"width": width, "height": height})
        for name, address in PAGES.items():
            page = context.new_page()
            said = []
            page.on(
                "console",
                lambda message, said=said: message.type == "error" and said.append(message.text),
            )
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.on(
                "requestfailed",
                lambda request, said=said: said.append(f"not loaded: {request.url}"),
            )
            page.on(
                "request",
                lambda request, said=said: (
                    request.url.startswith((home, "data:", "blob:"))
                    or said.append(f"asks another host: {request.url}")
                ),
            )
            page.goto(f"{home}/{address}", wait_until="networkidle")
            # Pictures below the window are loaded when they come near it.
            page.evaluate("document.querySelectorAll('img').forEach(i => { i.loading = 'eager' })")
            page.wait_for_load_state("networkidle")
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            missing = page.evaluate(
                "[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)"
            )
            page.screenshot(path=SCREENSHOTS / f"{name}_{window}.png")
            page.screenshot(path=SCREENSHOTS / f"{name}_{window}_whole.png", full_page=True)
            page.close()
            yield from (f"{address} at {width} px: {what}" for what in said)
            yield from (f"{address} at {width} px: no picture {source}" for source in missing)
            if wide > 0:
                yield f"{address} at {width} px: {wide} px wider than the window"
        yield from defects_of_search(context, home, window)
        context.close()


def defects_of_search(context, home, window):
    """Whether a reader who types the name of an estimator is led to its page."""
    page = context.new_page()
    page.goto(f"{home}/search.html?q=SinkhornTransport")
    results = page.locator("#search-results ul.search li a")
    try:
        results.first.wait_for(timeout=20000)
        page.wait_for_load_state("networkidle")
        addresses = [results.nth(i).get_attribute("href") for i in range(results.count())]
    except Exception as error:
        addresses = []
        yield f"search at {window}: {error}"
    page.screenshot(path=SCREENSHOTS / f"search_{window}.png")
    page.close()
    if not any("skot.SinkhornTransport.html" in address for address in addresses):
        yield f"search at {window}: SinkhornTransport is not among {len(addresses)} results"


def browser_defects():
    """Start a browser and look at all pages."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is installed (Debian: apt-get install chromium)")
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    SCREENSHOTS.mkdir(parents=True)
    with served() as home, sync_playwright() as playwright:
        # Chromium refuses to run as root, as in containers, with its sandbox.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield from defects_in_browser(browser, home)
        browser.close()


def main():
    """Check everything, print what was seen, and end with an error if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--without-gallery", action="store_true", help="examples were not run")
    options = parser.parse_args()

    if not (SITE / "index.html").is_file():
        sys.exit(f"nothing in {SITE}: run `make docs` first")
    defects = [f"{page}: {address} leads nowhere" for page, address in broken_links()]
    n_pages = len(list(SITE.rglob("*.html")))
    print(f"{n_pages} pages, {len(defects)} broken links")
    undocumented = undocumented_names()
    print(f"{len(undocumented)} public names without documentation")
    defects += [f"{name} is not on the API pages" for name in undocumented]
    if not options.without_gallery:
        seconds = example_seconds()
        for name, value in seconds.items():
            print(f"{'not run' if value is None else f'{value:6.1f} s'}  {name}")
            if value is None or value >= LONGEST_EXAMPLE:
                defects.append(f"examples/{name}.py took {value} s")
        print(f"{sum(filter(None, seconds.values())):6.1f} s  {len(seconds)} examples")
    shown = list(browser_defects())
    print(f"{len(PAGES)} pages and the search in a browser, {len(shown)} defects: {SCREENSHOTS}")
    for defect in [*defects, *shown]:
        print(f"- {defect}", file=sys.stderr)
    return bool(defects or shown)


if __name__ == "__main__":
    sys.exit(main())
