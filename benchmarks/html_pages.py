"""How soon the pages answer, and how large they are.

    python benchmarks/html_pages.py [--repeats 100]

Writes both pages and opens them in Debian's Chromium, without a window. In each, the same things
are done again and again, and the page itself measures (`performance.now`) how long it takes from
the event until the answer is reckoned and laid out, and until the frame after it. Opening is from
the navigation to the end of the page's scripts (`loadEventEnd`). Needs the extra `browser` and
`apt-get install chromium`, and about a minute.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reporting import holds, results_folder, table, write_results

#: What a click on a block may take, in milliseconds.
ASKED_MS = 50

#: Does a thing over and over: for each of so many times, milliseconds until the answer is laid out
#: and until the next frame.
MEASURE = """async ([action, repeats]) => {
    const act = (0, eval)(action);
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const found = [];
    for (let at = 0; at < repeats; at += 1) {
        await frame();
        const started = performance.now();
        act(at);
        void document.body.offsetHeight;
        const laid = performance.now() - started;
        await frame();
        found.push([laid, performance.now() - started]);
    }
    return found;
}"""

#: By page: what is done, as JavaScript of its number.
ACTIONS = {
    "simulator": {
        "lock or unlock one of 9 blocks (ResNet-18)": (
            "ResNet18",
            "(at) => document.querySelectorAll('.block')[at % 9].click()",
        ),
        "lock or unlock one of 62 blocks (DenseNet121)": (
            "DenseNet121",
            "(at) => document.querySelectorAll('.block')[(7 * at) % 62].click()",
        ),
        "move a slider (DenseNet121)": (
            "DenseNet121",
            "(at) => { const dial = document.getElementById('images');"
            " dial.value = 1 + (at % 50) / 10; dial.dispatchEvent(new Event('input')); }",
        ),
        "choose another backbone": (
            None,
            "(at) => { const choice = document.getElementById('network');"
            " choice.selectedIndex = at % choice.length;"
            " choice.dispatchEvent(new Event('change')); }",
        ),
    },
    "explained": {
        "move the learning rate": (
            None,
            "(at) => { const dial = document.getElementById('rate');"
            " dial.value = -3 + (at % 30) / 10; dial.dispatchEvent(new Event('input')); }",
        ),
        "train the regression anew (200 epochs, 60 points)": (
            None,
            "(at) => { const dial = document.getElementById('count'); dial.value = 60 - at % 2;"
            " dial.dispatchEvent(new Event('input')); }",
        ),
    },
}


@contextmanager
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium: apt-get install chromium")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=options)
        yield opened
        opened.close()


def measured(page: Any, backbone: str | None, action: str, repeats: int) -> dict[str, Any]:
    """Time of one thing that is done on a page, in milliseconds."""
    if backbone:
        page.locator("#network").select_option(backbone)
    times = page.evaluate(MEASURE, [action, repeats])
    laid, framed = (sorted(round(ms, 1) for ms in each) for each in zip(*times, strict=True))
    return {"laid_ms": laid, "frame_ms": framed}


def opening_ms(page: Any) -> float:
    """From the navigation to the end of the scripts."""
    return page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")


def measure_page(chromium: Any, name: str, file: Path, repeats: int) -> dict[str, Any]:
    """Size, opening and answers of one page."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.goto(file.as_uri())
    answers = {
        title: measured(page, backbone, action, repeats)
        for title, (backbone, action) in ACTIONS[name].items()
    }
    openings = []
    for _ in range(5):
        page.reload()
        openings.append(opening_ms(page))
    page.close()
    return {"size": file.stat().st_size, "opening_ms": openings, "answers": answers}


def text_of(found: dict[str, Any], version: str) -> str:
    """Return the figures as Markdown."""
    rows, worst = [], 0.0
    for name, page in found.items():
        for title, times in page["answers"].items():
            laid, framed = times["laid_ms"], times["frame_ms"]
            late = laid[int(0.95 * (len(laid) - 1))]
            figures = (statistics.median(laid), late, laid[-1], statistics.median(framed))
            rows.append([name, title, *(f"{each:.1f}" for each in figures)])
            if "lock" in title:
                worst = max(worst, late)
    head = ["page", "what is done", "median ms", "95 % within ms", "longest ms", "to the frame ms"]
    pages = "; ".join(
        f"{name}: {page['size'] / 1e3:.0f} kB, opens in "
        f"{statistics.median(page['opening_ms']):.0f} ms"
        for name, page in found.items()
    )
    return (
        f"{table(head, rows)}\n\n{pages}.\n\n"
        f"A lock is turned and all is said anew within {worst:.1f} ms (95 %), asked for are "
        f"{ASKED_MS} ms{holds(worst < ASKED_MS)}. Chromium {version}.\n"
    )


def main() -> None:
    """Measure and write the result."""
    from ktransfer.pages import write_explained, write_simulator

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    repeats = 5 if arguments.smoke else arguments.repeats
    with tempfile.TemporaryDirectory(prefix="ktransfer-pages-") as folder, browser() as chromium:
        files = {name: Path(folder) / f"{name}.html" for name in ACTIONS}
        write_simulator(files["simulator"])
        write_explained(files["explained"])
        found = {name: measure_page(chromium, name, file, repeats) for name, file in files.items()}
        version = chromium.version
    out = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(out, "html_pages", text_of(found, version), found)


if __name__ == "__main__":
    main()
