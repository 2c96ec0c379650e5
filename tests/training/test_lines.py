"""What a command's lines mean: measurements, checkpoints, last words, log, and what is malformed."""

import io
import json
import math
from pathlib import Path

import pytest

from training import lines
from training.lines import Finished, LastWord, Malformed, Measurement, Said, understand


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"step": 1, "values": {"loss": 0.5, "seen": 3}}', Measurement(1, {"loss": 0.5, "seen": 3.0})),
        (b'  {"values": {"loss": -1e-3}, "step": 0, "more": [1]}\r\n', Measurement(0, {"loss": -0.001})),
        (b'{"checkpoint": "/x/y.pt", "step": 3}', Finished(Path("/x/y.pt"), 3)),
        (b'{"outcome": "diverged", "reason": "exploded"}', LastWord("diverged", "exploded")),
        (b'{"outcome": "completed"}', LastWord("completed", None)),
    ],
)
def test_what_is_meant_for_us(line: bytes, said: Said) -> None:
    assert understand(line) == said


@pytest.mark.parametrize(
    "line",
    [
        b"epoch 1: loss 0.5\n",
        b"\n",
        b"3",
        b"null",
        b'"values"',
        b'["values"]',
        b'{"step": 1, "loss": 0.5}',
        b'{"level": "info", "message": "started"}',
        b'{"step": 1, "values": {"loss": 0.5}',
        b"\xff\xfe\x00",
        b'{"values": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
    ],
)
def test_what_is_log(line: bytes) -> None:
    assert understand(line) is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"values": {"loss": 0.5}}', "measurement: step is missing"),
        (b'{"step": -1, "values": {"loss": 0.5}}', "measurement: step must be a whole number from 0, got -1"),
        (b'{"step": 1.0, "values": {"loss": 0.5}}', "measurement: step must be a whole number from 0, got 1.0"),
        (b'{"step": true, "values": {"loss": 0.5}}', "measurement: step must be a whole number from 0, got true"),
        (b'{"step": 9223372036854775808, "values": {"a": 1}}', "step must be a whole number from 0"),
        (b'{"step": 1, "values": {"": 1}}', "a name must be 1 to 128 plain characters"),
        (b'{"step": 1, "values": {"a\\u0000b": 1}}', "a name must be 1 to 128 plain characters"),
        (b'{"step": 1, "values": {"\\ud800": 1}}', "a name must be 1 to 128 plain characters"),
        (b'{"step": 1, "values": {"' + b"x" * 129 + b'": 1}}', "a name must be 1 to 128 plain characters"),
        (json.dumps({"step": 1, "values": {str(n): n for n in range(65)}}).encode(), "at most 64 numbers, got 65"),
        (b'{"step": 1, "values": {}}', "measurement of step 1: values must be an object of at least one number"),
        (b'{"step": 1, "values": [0.5]}', "measurement of step 1: values must be an object"),
        (b'{"step": 1, "values": {"loss": "0.5"}}', 'measurement of step 1: loss must be a number, got "0.5"'),
        (b'{"step": 1, "values": {"loss": true}}', "loss must be a number, got true"),
        (b'{"step": 1, "values": {"loss": null}}', "loss must be a number, got null"),
        (b'{"checkpoint": "/x"}', "checkpoint: step is missing"),
        (
            b'{"checkpoint": "x.pt", "step": 1}',
            'checkpoint of step 1: it must be an absolute path in plain text, got "x.pt"',
        ),
        (b'{"checkpoint": 5, "step": 1}', "checkpoint of step 1: it must be an absolute path in plain text, got 5"),
        (
            b'{"checkpoint": "/\\ud800", "step": 1}',
            'checkpoint of step 1: it must be an absolute path in plain text, got "/\\ud800"',
        ),
        (
            b'{"checkpoint": "/\\udcff", "step": 1}',
            'checkpoint of step 1: it must be an absolute path in plain text, got "/\\udcff"',
        ),
        (b'{"outcome": "pruned"}', 'outcome must be one of completed, diverged, failed, got "pruned"'),
        (b'{"outcome": ["failed"]}', "outcome must be one of completed, diverged, failed"),
    ],
)
def test_what_is_malformed(line: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        understand(line)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("value", "named"), [("NaN", "nan"), ("Infinity", "inf"), ("-1e999", "-inf"), ("1" + "0" * 400, "inf")]
)
def test_values_that_are_not_finite_are_named(value: str, named: str) -> None:
    said = understand(b'{"step": 3, "values": {"fine": 1, "val_loss": %s}}' % value.encode())
    assert isinstance(said, Measurement)
    assert not math.isfinite(said.values["val_loss"])
    assert said.not_finite() == f"val_loss is {named} at step 3"
    assert Measurement(3, {"fine": 1.0}).not_finite() is None


def test_lines_may_be_a_mebibyte_and_no_more() -> None:
    longest = json.dumps({"log": "x" * (lines.LINE_BYTES - 12)}).encode() + b"\n"
    assert len(longest) == lines.LINE_BYTES
    assert list(lines.split(io.BytesIO(longest + b"last"))) == [longest, b"last"]
    with pytest.raises(Malformed, match="a line on standard output is over 1048576 bytes"):
        list(lines.split(io.BytesIO(b"x" + longest)))
