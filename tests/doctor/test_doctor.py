"""`examine`: every planted fault is found, and none is invented."""

import os
import shlex
import subprocess
import sys

import pytest
from bad_folder import (
    COPIES,
    OVERSIZED,
    PECULIAR,
    SYSTEM,
    UNREADABLE,
    photo,
    write_bad_folder,
    write_clean_folder,
)

from ktransfer import InputError, examine
from ktransfer.doctor.examining import inspect_data


def groups(report, kind):
    """The groups of paths of one kind, and the remark on each."""
    found = [each for each in report.findings if each.kind == kind]
    assert len(found) <= 1
    if not found:
        return {}
    reasons = found[0].reasons or [""] * len(found[0].paths)
    return {tuple(sorted(group)): why for group, why in zip(found[0].paths, reasons, strict=True)}


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad")
    planted = write_bad_folder(root)
    before = sorted(os.fsencode(each) for each in root.rglob("*"))
    report = examine(root)
    assert sorted(os.fsencode(each) for each in root.rglob("*")) == before
    return root, planted, report


def test_at_least_forty_kinds_of_bad_file_are_planted():
    peculiar = sum(len(files) for files in PECULIAR.values())
    assert len(UNREADABLE) + len(OVERSIZED) + len(SYSTEM) + peculiar + len(COPIES) >= 40


def test_every_planted_fault_is_found_with_its_kind(bad):
    _, planted, report = bad
    missed = {
        kind: [group for group in several if group not in groups(report, kind)]
        for kind, several in planted.items()
    }
    assert {kind: several for kind, several in missed.items() if several} == {}


def test_nothing_else_is_called_unreadable_oversized_or_a_copy(bad):
    _, planted, report = bad
    for kind in ("unreadable", "oversized", "leak", "conflicting_labels", "wrong_extension"):
        assert set(groups(report, kind)) == set(planted[kind])
    copies = {group for kind in ("leak", "conflicting_labels") for group in planted[kind]}
    assert set(groups(report, "near_duplicate")) <= {*planted["near_duplicate"], *copies}
    assert set(groups(report, "duplicate")) <= {*planted["duplicate"], *copies}


def test_reasons_say_what_is_wrong(bad):
    root, _, report = bad
    unreadable = groups(report, "unreadable")

    def why(name):
        return unreadable[(str(root / "train/ants" / name),)]

    assert why("empty.jpg") == "empty file (0 bytes)"
    assert why("cut.jpg") == "truncated JPEG: the file ends before its pixels do"
    assert why("html.jpg") == "not an image: HTML text named .jpg"
    assert "Git LFS pointer" in why("lfs.jpg")
    assert "no agreed scale" in why("nan.tif")
    bomb = groups(report, "oversized")[(str(root / "train/ants/bomb.png"),)]
    assert "900,000,000 pixels" in bomb or "30000 x 30000" in bomb
    leaks = groups(report, "leak")
    assert sorted(leaks.values()) == ["near duplicates", "same bytes"]
    assert set(groups(report, "value_range").values()) >= {"all black", "all white"}


def test_a_clean_folder_has_no_findings(tmp_path):
    report = examine(write_clean_folder(tmp_path))
    assert [each.kind for each in report.findings] == ["estimate"]
    assert report.verdict == "48 readable images; nothing wrong was found"
    assert report.counts == {
        "train": {"ants": 12, "bees": 12},
        "validation": {"ants": 12, "bees": 12},
    }


def _write_nothing(root):
    (root / "a").mkdir()
    (root / "b").mkdir()


def _write_unreadable(root):
    _write_nothing(root)
    for name in ("a", "b"):
        (root / name / "page.jpg").write_bytes(b"<html>")


def _write_parts(root):
    for part in ("train", "val"):
        (root / part / "a").mkdir(parents=True)
        (root / part / "a" / "empty.png").write_bytes(b"")


def _write_flat(root):
    photo(1).save(root / "0.png")


def _write_table(root):
    (root / "table.csv").write_text("path,label\nnone.png,a\nnowhere.png,b\n")


def _write_one(root):
    _write_nothing(root)
    photo(1).save(root / "a" / "0.png")


def _write_one_class(root):
    (root / "a").mkdir()
    for at in range(3):
        photo(1).save(root / "a" / f"{at}.png")


NONE, ONLY = "there is no readable image of any class", "only the class 'a' has readable images"


@pytest.mark.parametrize(
    ("write", "message", "others"),
    [
        (lambda _: None, NONE, set()),
        (_write_nothing, NONE, {"empty_class"}),
        (_write_unreadable, NONE, {"empty_class", "unreadable"}),
        (_write_parts, NONE, {"empty_class", "unreadable"}),
        (_write_flat, NONE, {"skipped"}),
        (_write_table, NONE, {"unreadable"}),
        (_write_one, ONLY, {"empty_class", "few_images", "estimate"}),
        (_write_one_class, ONLY, {"duplicate", "few_images", "estimate"}),
    ],
)
def test_what_cannot_be_trained_on_at_all_is_said(tmp_path, write, message, others):
    write(tmp_path)
    table = tmp_path / "table.csv"
    examined = inspect_data(table if table.is_file() else tmp_path)
    found = {each.kind: each for each in examined.report.findings}
    assert found.pop("few_classes").message == message
    assert set(found) == others
    assert "mend first: few_classes" in examined.report.verdict


def test_bombs_and_huge_texts_do_not_fill_the_memory(bad):
    root, _, report = bad
    # In a process of its own: a child counts what its parent held when it was started, and the one
    # that runs the tests may hold gigabytes by now. So may the children of other tests.
    code = (
        "import resource, sys\n"
        "from ktransfer import examine\n"
        "found = examine(sys.argv[1], verbose=False).num_images\n"
        "both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN\n"
        "print(found, *(resource.getrusage(each).ru_maxrss for each in both))\n"
    )
    # Through a shell, whose memory is its own: a process started by us begins with our peak.
    command = shlex.join([sys.executable, "-c", code, str(root)])
    done = subprocess.run(["sh", "-c", f"{command}; true"], check=True, capture_output=True)
    found, own_kb, of_children_kb = map(int, done.stdout.split())
    assert found == report.num_images
    assert max(own_kb, of_children_kb) < 2_000_000


def test_a_report_survives_plain_data_and_names_no_raw_line_break(bad):
    from ktransfer.doctor import Finding

    _, _, report = bad
    for each in report.findings:
        assert Finding.from_dict(each.to_dict()) == each
    severities = [each.severity for each in report.findings]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert str(report).splitlines()[-1].startswith("verdict: ")


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such folder: .*nowhere"):
        examine(tmp_path / "nowhere")


def test_permission_denied_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    write_clean_folder(tmp_path)
    path = tmp_path / "train/ants/00.jpg"
    path.chmod(0)
    assert (str(path),) in groups(examine(tmp_path), "unreadable")
