"""Pages as one file of HTML: every text is escaped, and nothing is asked of a network."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ktransfer.show.printable import printable

if TYPE_CHECKING:
    import jinja2

_PACKAGE = "ktransfer.pages"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a page.

    Args:
        template: its name, from this folder.
        values: what it shows. Texts are escaped, and control characters in them written out;
            only what is a drawing of ours passes as it is (`|safe` in the template).
    """
    return _environment().get_template(template).render(values) + "\n"


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE, ""),
        autoescape=True,
        finalize=_printed,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Data keep the order that they are written in: a saved plan begins with its name.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.globals.update(source=_source, script_hash=_script_hash)
    environment.filters.update(share=lambda value: f"{100 * value:.1f}", prose=_prose)
    return environment


def _prose(sentence: str) -> Any:
    """Return a sentence, what stands between backticks in it as code, no line broken before a %."""
    from markupsafe import Markup, escape

    parts = [escape(printable(each)).replace(" %", "\u00a0%") for each in sentence.split("`")]
    if len(parts) % 2 == 0:  # an odd backtick is only a character
        return Markup("`").join(parts)
    marked = [
        Markup("<code>{}</code>").format(each) if at % 2 else each for at, each in enumerate(parts)
    ]
    return Markup("").join(marked)


def _printed(value: Any) -> Any:
    """Names may hold escapes of terminals, or turn the direction of the text around."""
    # Markup is a string, too: of our own making, and it has lines.
    return printable(value) if type(value) is str else value


@functools.cache
def _source(name: str) -> str:
    """Return a style or script of this package, to be laid into a page."""
    return files(_PACKAGE).joinpath(name).read_text(encoding="utf-8").strip()


@functools.cache
def _script_hash(name: str) -> str:
    """Say what a content security policy calls a script that is laid into a page."""
    digest = hashlib.sha256(_source(name).encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
