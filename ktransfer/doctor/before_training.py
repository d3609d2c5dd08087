"""The same checks before a training: what would make its result wrong is said first."""

from __future__ import annotations

from ktransfer.data.parts import Splits
from ktransfer.doctor.examining import examine
from ktransfer.doctor.findings import Finding
from ktransfer.errors import unknown_name
from ktransfer.show.progress import say

CHECKS = ("auto", "off")
#: Beyond, looking at all pixels takes longer than a training should wait: `ktransfer doctor` does.
MOST_IMAGES = 10_000


def check_name(check: str) -> None:
    """Raises an `InputError` unless `check` is `"auto"` or `"off"`."""
    if check not in CHECKS:
        raise unknown_name("check", str(check), CHECKS)


def preflight(splits: Splits, check: str = "auto", *, verbose: int = True) -> tuple[Finding, ...]:
    """What is wrong with images that are about to be trained on.

    Args:
        splits: the images, divided as they will be used.
        check: `"auto"`: all checks of `ktransfer doctor`, up to 10,000 images; `"off"`: none.
        verbose: say errors on standard error; above 1 also what is worth a look.

    Returns:
        The findings, the most severe first.
    """
    check_name(check)
    if check == "off" or sum(map(len, splits.parts)) > MOST_IMAGES:
        return ()
    findings = examine(splits, verbose=bool(verbose), quick=True).findings
    if verbose:
        _say(findings, warnings=verbose > 1)
    return findings


def _say(findings: tuple[Finding, ...], *, warnings: bool) -> None:
    for finding in findings:
        if finding.severity == "error":
            for line in finding.lines():
                say(line)
    others = [each.kind for each in findings if each.severity == "warning"]
    if others and warnings:
        say(f"worth a look: {', '.join(others)} (`ktransfer doctor` says more)")
