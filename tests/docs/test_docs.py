"""What README and docs say is so: their code runs, their commands exist, their output is this."""

import contextlib
import io
import re

import click
import documents
import pytest

import ktransfer
from ktransfer.cli import main

# Pages without a training take a second or two.
QUICK = ("README.md", "rule.md", "data.md")
WITH_CODE = [
    each
    for each in documents.PAGES
    if any(b.language == "python" for b in documents.blocks_of(each))
]


def named(page):
    return str(page.relative_to(documents.ROOT))


def marked(page):
    return pytest.param(page, marks=[] if page.name in QUICK else pytest.mark.slow, id=named(page))


@pytest.mark.parametrize("page", [marked(each) for each in WITH_CODE])
# Keras says this of the mistake that a page makes on purpose.
@pytest.mark.filterwarnings("ignore:.*from_logits=True:UserWarning")
def test_code_runs_and_prints_what_stands_below_it(page, monkeypatch, tmp_path):
    documents.without_network(monkeypatch)
    documents.draw_pictures(tmp_path)
    monkeypatch.chdir(tmp_path)
    space, printed = {"__name__": "page"}, ""
    for block in documents.blocks_of(page):
        if block.language == "python":
            # The line numbers of a failure are those of the page.
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, space)
            printed = out.getvalue()
        elif block.title == 'title="output"':
            assert printed.strip() == block.text.strip()


@pytest.mark.parametrize("page", documents.PAGES, ids=named)
def test_commands_exist_with_these_options(page):
    for name, *words in documents.commands_of(page):
        assert name in main.commands, f"{named(page)} says ktransfer {name}"
        try:
            main.commands[name].make_context(name, words, resilient_parsing=False)
        except click.exceptions.Exit:  # --help has printed it
            pass
        except click.ClickException as error:
            pytest.fail(f"{named(page)}: ktransfer {name} {' '.join(words)}: {error.message}")


@pytest.mark.parametrize("page", documents.PAGES, ids=named)
def test_printed_output_is_compared_or_dated(page):
    for block in documents.blocks_of(page):
        assert block.language in ("", "python", "py", "sh", "text"), f"{named(page)}:{block.line}"
        if block.language == "text":
            title = r'title="(output|a run on \d{4}-\d\d-\d\d.*)"'
            assert re.fullmatch(title, block.title), f"{named(page)}:{block.line}"


def test_every_command_and_every_public_name_is_in_the_reference():
    reference = (documents.ROOT / "docs" / "cli.md").read_text()
    assert [each for each in main.commands if f"`{each}" not in reference] == []
    names = re.findall(
        r"^::: ktransfer\.(\w+)$", (documents.ROOT / "docs" / "api.md").read_text(), re.M
    )
    assert set(ktransfer.__all__) <= set(names)


def test_every_figure_of_the_results_is_told_somewhere():
    told = "".join(each.read_text() for each in documents.PAGES)
    results = sorted((documents.ROOT / "benchmarks" / "results").glob("*.md"))
    assert results
    assert [each.name for each in results if f"benchmarks/results/{each.name}" not in told] == []


@pytest.mark.parametrize("page", documents.PAGES, ids=named)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http", "pages/")):
            assert (page.parent / target).exists(), f"{named(page)} links to {target}"


def test_readme_is_short_and_has_the_two_commands():
    lines = (documents.ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 200
    assert "    pip install . && ktransfer demo" in lines
    assert '    pip install -e ".[test]" && pytest' in lines
