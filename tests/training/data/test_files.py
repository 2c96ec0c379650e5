"""Files that look right and are not, or only nearly: what they become, or what is said of them."""

import errno
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from pyarrow import parquet

from tests.training.whole import whole
from training.data import folder as folders
from training.data.conversion import convert
from training.data.examples import InMemory
from training.data.folder import CACHE, find
from training.data.splitting import standardised
from training.data.tables import Table

INPUTS = np.random.default_rng(5).normal(0.0, 3.0, (40, 2))
LABELS = np.arange(40) % 2
AMOUNTS = np.arange(40) / 7


def save(folder: Path, **arrays: NDArray[Any]) -> None:
    np.savez(folder / "mine.npz", **arrays)  # type: ignore[arg-type]


def refused(folder: Path, message: str, name: Any = "mine") -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        find(name, folder)


@pytest.mark.parametrize(("first", "second"), [("float32", "float64"), ("uint8", "float32"), (">i2", "<i8")])
def test_both_parts_are_read_as_the_type_that_holds_both(tmp_path: Path, first: str, second: str) -> None:
    inputs = np.abs(INPUTS) * 10
    own, held_out = inputs.astype(first), inputs[:10].astype(second)
    save(tmp_path, inputs=own, targets=LABELS, val_inputs=held_out, val_targets=LABELS[:10])
    data = find("mine", tmp_path)
    expected = (held_out - own.astype(float).mean(axis=0)) / own.astype(float).std(axis=0)
    assert np.allclose(whole(data.val)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("own", "held_out", "message"),
    [
        (LABELS, LABELS.astype(str), "targets are integers and val_targets are strings: store both as the same"),
        (LABELS, AMOUNTS, "targets are integers and val_targets are floats"),
        (AMOUNTS, LABELS.astype(bool), "targets are floats and val_targets are integers"),
        (LABELS, LABELS.astype(bytes), "val_targets are of type |S21: use integers or strings"),
    ],
)
def test_targets_of_two_kinds(tmp_path: Path, own: NDArray[Any], held_out: NDArray[Any], message: str) -> None:
    save(tmp_path, inputs=INPUTS, targets=own, val_inputs=INPUTS, val_targets=held_out)
    refused(tmp_path, f"mine.npz: {message}")


def test_a_constant_feature_becomes_zero(tmp_path: Path) -> None:
    inputs = np.column_stack([np.full(40, 0.1), INPUTS])
    held_out = inputs[:5] + 0.25
    save(tmp_path, inputs=inputs, targets=LABELS, val_inputs=held_out, val_targets=LABELS[:5])
    data = find("mine", tmp_path)
    assert not whole(data.train)[0][:, 0].any()
    assert whole(data.val)[0][:, 0].tolist() == [0.25] * 5
    examples = InMemory(torch.as_tensor(inputs), torch.as_tensor(LABELS))
    other = InMemory(examples.inputs + 0.25, examples.targets)
    for together, columns in ((False, slice(None)), (True, slice(1))):
        parts = (InMemory(part.inputs[:, columns], part.targets) for part in (examples, other))
        train, val = (part.inputs[:, 0] for part in standardised(*parts, together=together))
        assert not train.any()
        assert val.tolist() == [0.25] * 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": INPUTS * 1e200}, "inputs[0, 0] is -"),
        (
            {"inputs": np.where(np.arange(80).reshape(40, 2) == 7, 1e300, INPUTS)},
            "inputs[3, 1] is 1e+300: inputs must be",
        ),
        ({"targets": AMOUNTS + 1e308}, "targets[0] is 1e+308: it must be a finite number of size 1e+100 at most"),
        ({"targets": LABELS.astype(np.uint64) * np.uint64(2**63)}, "targets[1] is 9223372036854775808: number the"),
        ({"val_inputs": INPUTS + 1e90, "val_targets": LABELS}, "val_inputs[0, 0] is 1e+90: it is too far from the"),
        (
            {"targets": AMOUNTS, "val_inputs": INPUTS, "val_targets": AMOUNTS + 1e90},
            "val_targets[0] is 1e+90: it cannot",
        ),
        ({"targets": np.full(40, 0.1)}, "all training targets are 0.1, and there is nothing to predict"),
        ({"targets": np.full(40, 5)}, "all targets are 5, and there is nothing to tell apart"),
        ({"targets": np.full(40, "spam")}, "all targets are 'spam', and there is nothing to tell apart"),
        ({"targets": LABELS * 5}, "targets go up to 5, but none is 1: number the classes from 0 without gaps"),
        ({"val_inputs": INPUTS, "val_targets": LABELS + 1}, "the class 2 has examples for validation alone: give some"),
        (
            {"targets": np.full(40, "b"), "val_inputs": INPUTS, "val_targets": np.full(40, "a")},
            "the class 'a' has examples for validation alone",
        ),
        ({"targets": np.where(np.arange(40) == 3, "", "a")}, "targets[3] is blank: fill it in"),
        (
            {"val_inputs": INPUTS, "val_targets": np.full(40, " "), "targets": np.full(40, "a")},
            "val_targets[0] is blank",
        ),
        ({"vocabulary": np.array(2**20 + 1)}, "vocabulary must be one whole number from 2 to 1048576"),
        (
            {"inputs": INPUTS.astype(int), "val_inputs": INPUTS, "val_targets": LABELS, "vocabulary": np.array(9)},
            "with a",
        ),
    ],
)
def test_refuses_arrays(tmp_path: Path, changes: dict[str, NDArray[Any]], message: str) -> None:
    save(tmp_path, **({"inputs": INPUTS, "targets": LABELS} | changes))
    refused(tmp_path, f"mine.npz: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,target\n" + b"1,x\n2,y\n" * 9 + b"3, \n", "mine.csv: target of row 19 is blank: fill it in"),
        (b"a;target\n1;0\n", "mine.csv separates its columns by semicolons: separate them by commas"),
        ("a,target\n1,ja\n".encode("utf-16"), "mine.csv is not in UTF-8: save it as UTF-8"),
        ("a,target\n1,ja\n".encode("utf-16-le"), "mine.csv is not in UTF-8: save it as UTF-8"),
        ("größe,target\n1,0\n".encode("latin-1"), "mine.csv is not in UTF-8: save it as UTF-8"),
        ("a,target\n1,groß\n".encode("latin-1"), "mine.csv is not in UTF-8: save it as UTF-8"),
        ("a,target\n{}1,groß\n".format("1,klein\n" * 2**18).encode("latin-1"), "mine.csv is not in UTF-8"),
        (
            b"a,target\n1,0\n" + b'2,"' + b"x" * 2**22,
            "mine.csv cannot be read: a row is longer than a block of text: close",
        ),
        (b"a" * (2**22 + 2), "mine.csv: the first line is longer than 4194304 bytes: use Parquet"),
        (b"a,target\n1,0\nnan,1\n", "mine.csv: the column 'a' of row 2 is empty"),
    ],
)
def test_refuses_text(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mine.csv").write_bytes(content)
    refused(tmp_path, message)


def test_labels_of_several_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.arrow._BLOCK_BYTES", 64)
    monkeypatch.setattr("training.data.arrow._ROW_PER_HEADER", 1)
    (tmp_path / "mine.csv").write_text("a,target\n" + '1,"in\ntwo\nlines"\n2,b\n' * 40)  # blocks end within labels
    assert find("mine", tmp_path).outputs == 2


def test_more_columns_than_a_block_has_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.arrow._BLOCK_BYTES", 64)
    header = ",".join(f"c{number}" for number in range(100))
    row = ",".join(["-1.2345678901234567e-10"] * 100)
    (tmp_path / "mine.csv").write_text(f"{header},target\n" + f"{row},0\n{row},1\n" * 10)
    assert find("mine", tmp_path).features == 100


def test_a_long_label_costs_its_length_once(tmp_path: Path) -> None:
    """An array of strings would have 4 bytes for each of its characters for each of the examples: 60 GB."""
    columns = {"a": np.arange(15_000.0), "target": pa.array(["a"] * 14_998 + ["x" * 10**6] * 2)}
    parquet.write_table(pa.table(columns), tmp_path / "mine.parquet")
    assert find("mine", tmp_path).outputs == 2


def test_whole_numbers_that_a_float_rounds(tmp_path: Path) -> None:
    columns = {"a": np.arange(40) + 2**53 + 1, "target": LABELS}
    parquet.write_table(pa.table(columns), tmp_path / "mine.parquet")
    assert find("mine", tmp_path).features == 1


def test_a_gap_in_a_parquet_file(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": pa.array([1, 2, None, 4]), "target": [0, 1, 0, 1]}), tmp_path / "mine.parquet")
    refused(tmp_path, "mine.parquet: the column 'a' of row 3 is empty: fill it in, or leave the row out")


@pytest.mark.parametrize("member", ["inputs", "targets"])
def test_a_member_that_is_no_array(tmp_path: Path, member: str) -> None:
    save(tmp_path, **{name: array for name, array in (("inputs", INPUTS), ("targets", LABELS)) if name != member})
    with zipfile.ZipFile(tmp_path / "mine.npz", "a") as archive:
        archive.writestr(f"{member}.npy", b"no array")
    refused(tmp_path, f"mine.npz cannot be read: {member}: ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sales.npz", "; leave out the suffix: data: sales;"),
        ("salse", "; did you mean 'sales'?;"),
        ("irises", "; did you mean 'iris'?;"),
    ],
)
def test_a_name_that_is_nearly_right(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "sales.npz").touch()
    # Before what is there, which may be long.
    with pytest.raises(ValueError, match="^" + re.escape(f"unknown data {name!r}{message} {tmp_path} has no")):
        find(name, tmp_path)


@pytest.mark.parametrize("name", [5, 1.5, ["iris"], True])
def test_a_name_that_is_no_string(tmp_path: Path, name: Any) -> None:
    refused(tmp_path, f"objective.data is {name!r}: it must be the name of data", name)


def test_a_split_that_leaves_a_part_empty(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a,target,split\n" + "1,0,train\n2,1,train\n" * 9)
    refused(tmp_path, "mine.csv leaves no example for validation: change the split")


def test_a_file_replaced_by_another_of_its_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    save(tmp_path, inputs=INPUTS, targets=LABELS)
    first, stamp = find("mine", tmp_path), path.stat().st_mtime_ns
    save(tmp_path, inputs=INPUTS[::-1].copy(), targets=LABELS)
    os.utime(path, ns=(stamp, stamp))
    assert not torch.equal(whole(find("mine", tmp_path).train)[0], whole(first.train)[0])


def changing(monkeypatch: pytest.MonkeyPatch, folder: Path, times: int) -> None:
    """Have the file replaced while it is converted, so often."""
    left = iter(range(times))

    def converted(table: Table, into: Path) -> None:
        convert(table, into)
        if next(left, None) is not None:
            save(folder, inputs=INPUTS[::-1].copy(), targets=LABELS, more=np.zeros(times))

    monkeypatch.setattr(folders, "convert", converted)


def test_a_file_that_changes_while_it_is_converted_is_converted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, inputs=INPUTS, targets=LABELS)
    changing(monkeypatch, tmp_path, 1)
    changed = whole(find("mine", tmp_path).train)[0]
    assert len(list((tmp_path / CACHE).iterdir())) == 1
    monkeypatch.undo()
    assert torch.equal(whole(find("mine", tmp_path).train)[0], changed)
    save(tmp_path, inputs=INPUTS[::-1].copy(), targets=LABELS)
    assert torch.equal(whole(find("mine", tmp_path).train)[0], changed)


def test_a_file_that_never_stays_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, inputs=INPUTS, targets=LABELS)
    changing(monkeypatch, tmp_path, 5)
    refused(tmp_path, "mine.npz changes while it is read: write it under another name, then rename it")
    assert list((tmp_path / CACHE).iterdir()) == []


def test_arrays_that_go_away_before_they_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, inputs=INPUTS, targets=LABELS)
    opened = folders._opened

    def removed(name: str, entry: Path) -> Any:
        monkeypatch.setattr(folders, "_opened", opened)
        shutil.rmtree(entry)
        return opened(name, entry)

    monkeypatch.setattr(folders, "_opened", removed)
    assert len(find("mine", tmp_path).train) == 32


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fails(self: Path, _: Path) -> None:
        raise OSError(number, os.strerror(number), str(self))

    save(tmp_path, inputs=INPUTS, targets=LABELS)
    monkeypatch.setattr(Path, "rename", fails)
    message = f"data cannot be converted: {os.strerror(number)}; {tmp_path / CACHE} must be writable for this worker"
    with pytest.raises(OSError, match=re.escape(message)):
        find("mine", tmp_path)
    assert list((tmp_path / CACHE).iterdir()) == []
