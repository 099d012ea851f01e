"""What takes long before the first step of a run is said, once, and what does not is not."""

from __future__ import annotations

import logging

import pytest

from support.commands import tgim
from tgim.data import doing
from tgim.system import say


def test_one_line_is_said_once_it_takes_long(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, logger="tgim.doing")
    with doing.doing("rendering pictures") as tell:
        for done in range(1, 5):
            tell(done, 4)
    assert not caplog.messages
    monkeypatch.setattr(doing, "PATIENCE", -1.0)
    with doing.doing("rendering pictures") as tell:
        for done in range(1, 5):
            tell(1000 * done, 4000)
    (message,) = caplog.messages
    assert message.startswith("rendering pictures: 1,000 of 4,000 done, about ")


@pytest.mark.slow
def test_the_command_line_shows_it_without_calling_it_a_warning(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(say, "PATIENCE", -1.0)
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    recipe = tmp_path / "x.yaml"
    recipe.write_text(
        "{model: {name: vse, image_size: 32}, data: {name: synthetic, synthetic: {pool: 200}}, train: {steps: 1}}"
    )
    done = tgim("train", recipe, "train.batch_size=2", "train.device=cpu", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "tgim: rendering synthetic pictures: " in done.stderr
    assert "warning" not in done.stderr
