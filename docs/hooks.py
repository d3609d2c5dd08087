"""What the build of the documentation adds: the pages to play with, and the files of results.

MkDocs calls these functions (`hooks` in mkdocs.yml). Pages link to `../benchmarks/results/NAME.md`,
as the repository has it; in the site the same files lie under `results/`.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

#: Pages that a command writes, by where the site has them.
WRITTEN = {"pages/simulator.html": "simulate", "pages/explained.html": "explain"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that commands write, and the results of the benchmarks."""
    for path, command in WRITTEN.items():
        files.append(File.generated(config, path, content=written(command)))
    for each in sorted(RESULTS.glob("*.md")):
        files.append(File.generated(config, f"results/{each.name}", abs_src_path=str(each)))
    return files


def written(command: str) -> str:
    """Return the page that `ktransfer COMMAND --out PAGE.html` writes."""
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch, "page.html")
        line = [sys.executable, "-m", "ktransfer", command, "--out", str(page)]
        subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return page.read_text("utf-8")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Send links to results to where the site has them."""
    return re.sub(r"\]\(((?:\.\./)*)\.\./benchmarks/results/", r"](\1results/", markdown)
