"""What people see while they wait: one display at a time, which nothing breaks into."""

import sys

import pytest
from conftest import small_network, write_pictures
from rich.live import Live

from ktransfer import FineTuner
from ktransfer.show.progress import loading, progress_bar, say, working


@pytest.fixture
def terminal(monkeypatch):
    """Standard error is a terminal, as rich sees it; says which displays are shown."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    shown, start, stop = [], Live.start, Live.stop

    def started(live, refresh=False):
        start(live, refresh)
        shown.append(live)
        assert len(shown) == 1, "two displays redraw one line"

    def stopped(live):
        stop(live)
        if live in shown:
            shown.remove(live)

    monkeypatch.setattr(Live, "start", started)
    monkeypatch.setattr(Live, "stop", stopped)
    return shown


def test_a_display_waits_while_another_is_shown_within_it(terminal):
    with working("outer"):
        (outer,) = terminal
        with progress_bar("inner", 2) as show:
            show(1, 2)
            assert terminal != [outer]
            with working("innermost"):
                assert len(terminal) == 1
        assert terminal == [outer]
    assert terminal == []


def test_a_display_is_gone_after_an_error(terminal):
    with pytest.raises(KeyError), working("outer"), progress_bar("inner", 1):
        raise KeyError
    assert terminal == []


def test_what_is_said_stands_on_a_line_of_its_own(terminal, capsys):
    with working("outer"):
        say("a note")
        assert len(terminal) == 1
    before, _, after = capsys.readouterr().err.partition("a note\n")
    assert before.endswith("\x1b[2K")  # the spinner's line was wiped
    assert "outer" in after


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_download_that_prints_ends_the_spinner(terminal, stream, capsys):
    with loading("the backbone"):
        assert len(terminal) == 1
        print("1/9", end="\r", file=getattr(sys, stream), flush=True)
        assert terminal == []
        with progress_bar("inner", 1):
            pass
        assert terminal == []
    printed = getattr(capsys.readouterr(), {"stdout": "out", "stderr": "err"}[stream])
    assert "1/9\r" in printed


def test_nothing_is_redrawn_where_nobody_looks(capsys):
    with working("outer"), loading("more"), progress_bar("inner", 1) as show:
        show(1, 1)
    assert capsys.readouterr() == ("", "")


def test_all_that_takes_long_says_what_is_going_on(terminal, tmp_path, capsys):
    photos = write_pictures(tmp_path / "photos", 8)
    finetuner = FineTuner(small_network(), verbose=True)
    finetuner.advise(photos)
    said = capsys.readouterr().err
    steps = ["running", "measuring the domain gap", "judging heads"]
    assert sorted(steps, key=said.index) == steps
    finetuner.fit(photos, epochs=1, plan="linear_probe")
    said = capsys.readouterr().err
    assert "judging the model" in said
    assert "learning what the images look like" in said
