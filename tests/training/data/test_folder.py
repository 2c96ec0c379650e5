"""Files of the data folder: what they become, that they are converted once, and what is refused."""

from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from tests.training.whole import whole
from training.data.bundled import load
from training.data.conversion import convert
from training.data.examples import Data
from training.data.folder import CACHE, find
from training.data.mapped import Mapped
from training.tasks import CLASSIFICATION, REGRESSION

DRAWS = np.random.default_rng(5)
INPUTS = DRAWS.normal(1e6, 3.0, (300, 4))
LABELS = DRAWS.integers(0, 3, 300)
AMOUNTS = DRAWS.normal(50.0, 7.0, 300)


def write_csv(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n")


def cached(folder: Path) -> list[str]:
    return sorted(entry.name for entry in (folder / CACHE).iterdir())


def agree(data: Data, inputs: Any, targets: Any) -> None:
    """Every example is there, in one of the parts, its numbers standardised with the training part's statistics."""
    assert isinstance(data.train, Mapped)
    assert isinstance(data.val, Mapped)
    numbers = np.concatenate([data.train.numbers, data.val.numbers])
    assert sorted(numbers) == list(range(len(inputs)))
    own = inputs[data.train.numbers]
    expected = (inputs[numbers] - own.mean(axis=0)) / own.std(axis=0)
    parts = [whole(data.train), whole(data.val)]
    assert np.allclose(torch.cat([part[0] for part in parts]).numpy(), expected, atol=1e-6)
    if data.task is REGRESSION:
        own = targets[data.train.numbers]
        targets = (targets - own.mean()) / own.std()
    assert np.allclose(torch.cat([part[1] for part in parts]).numpy(), targets[numbers], atol=1e-6)


def test_bundled_data_need_no_folder() -> None:
    assert find("iris", None) is load("iris")


def test_an_archive_of_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", inputs=INPUTS, targets=LABELS)
    data = find("mine", tmp_path)
    agree(data, INPUTS, LABELS)
    assert (data.name, data.task, data.shape, data.outputs) == ("mine", CLASSIFICATION, (4,), 3)
    shares = [np.bincount(whole(part)[1]) / len(part) for part in (data.train, data.val)]
    assert abs(shares[0] - shares[1]).max() < 0.02  # stratified
    assert len(data.val) == pytest.approx(60, abs=2)


def test_numbers_to_predict(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "mine.npz", inputs=INPUTS.astype(np.float32), targets=AMOUNTS)
    data = find("mine", tmp_path)
    agree(data, INPUTS.astype(np.float32).astype(np.float64), AMOUNTS)
    assert (data.task, data.outputs) == (REGRESSION, 1)


def test_pictures_are_standardised_together(tmp_path: Path) -> None:
    pictures = DRAWS.integers(0, 256, (40, 3, 4, 5), dtype=np.uint8)
    np.savez(tmp_path / "rgb.npz", inputs=pictures, targets=np.arange(40) % 2)
    data = find("rgb", tmp_path)
    inputs, _ = whole(data.train)
    assert (data.image, data.shape) == ((3, 4, 5), (60,))
    deviation, mean = torch.std_mean(inputs.double(), correction=0)
    assert (mean.item(), deviation.item()) == pytest.approx((0, 1), abs=1e-6)
    np.savez(tmp_path / "grey.npz", inputs=pictures[:, 0], targets=np.arange(40) % 2)
    assert find("grey", tmp_path).image == (1, 4, 5)


def test_tokens_stay_what_they_are(tmp_path: Path) -> None:
    tokens = DRAWS.integers(0, 9, (40, 6))
    np.savez(tmp_path / "text.npz", inputs=tokens, targets=np.array(["b", "a"] * 20), vocabulary=9)
    data = find("text", tmp_path)
    assert isinstance(data.train, Mapped)
    inputs, targets = whole(data.train)
    assert data.vocabulary == 9
    assert inputs.dtype == torch.int64
    assert np.array_equal(inputs, tokens[data.train.numbers])
    assert np.array_equal(targets, 1 - data.train.numbers % 2)  # labels in the order of the alphabet


def test_a_split_of_ones_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", inputs=INPUTS, targets=LABELS, val_inputs=INPUTS[:7] + 1, val_targets=LABELS[:7])
    data = find("a", tmp_path)
    assert (len(data.train), len(data.val)) == (300, 7)
    assert np.allclose(whole(data.val)[0], (INPUTS[:7] + 1 - INPUTS.mean(axis=0)) / INPUTS.std(axis=0), atol=1e-6)
    lines = ["split,x,target", *(f"{'val' if n % 4 == 0 else 'train'},{n},{n % 2}" for n in range(40))]
    write_csv(tmp_path / "b.csv", lines)
    data = find("b", tmp_path)
    assert isinstance(data.val, Mapped)
    assert data.val.numbers.tolist() == list(range(0, 40, 4))
    assert data.features == 1


def test_values_separated_by_commas(tmp_path: Path) -> None:
    rows = [f"{a!r},{label},{b!r},{'true' if n % 2 else 'false'}" for n, ((a, b, *_), label) in enumerate(_rows())]
    write_csv(tmp_path / "mine.csv", ["a,target,b,flag", *rows])
    flags = np.arange(300) % 2
    agree(find("mine", tmp_path), np.column_stack([INPUTS[:, :2], flags]), LABELS)
    write_csv(tmp_path / "amounts.csv", ["a,target", *(f"{n},{float(n)}" for n in range(20))])
    assert find("amounts", tmp_path).task is REGRESSION


def _rows() -> list[tuple[list[float], int]]:
    return list(zip(INPUTS.tolist(), LABELS.tolist(), strict=True))


def test_a_parquet_file(tmp_path: Path) -> None:
    columns = {"a": INPUTS[:, 0], "target": LABELS.astype(np.int16), "b": INPUTS[:, 1].astype(np.float32)}
    parquet.write_table(pa.table(columns), tmp_path / "mine.parquet", row_group_size=64)
    agree(find("mine", tmp_path), np.column_stack([INPUTS[:, 0], INPUTS[:, 1].astype(np.float32)]), LABELS)
    words = pa.array(["no", "yes", "perhaps"] * 100).dictionary_encode()
    parquet.write_table(pa.table({"a": INPUTS[:, 0], "target": words}), tmp_path / "words.parquet")
    data = find("words", tmp_path)
    assert isinstance(data.train, Mapped)
    assert np.array_equal(whole(data.train)[1], np.array([0, 2, 1])[data.train.numbers % 3])


def test_small_chunks_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.tables.CHUNK_BYTES", 7 * 32)
    monkeypatch.setattr("training.data.conversion.CHUNK_BYTES", 11 * 32)
    np.savez(tmp_path / "mine.npz", inputs=INPUTS, targets=LABELS)
    agree(find("mine", tmp_path), INPUTS, LABELS)


def test_rows_and_blocks_are_the_same_examples(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", inputs=INPUTS, targets=LABELS)
    examples = find("mine", tmp_path).train.to(torch.device("cpu"))
    inputs, targets = whole(examples)
    numbers = torch.tensor([5, 0, 5, len(examples) - 1])
    assert torch.equal(examples.rows(numbers)[0], inputs[numbers])
    assert torch.equal(examples.rows(numbers)[1], targets[numbers])
    blocks = list(examples.blocks(77))
    assert torch.equal(torch.cat([block for block, _ in blocks]), inputs)
    assert max(len(block) for block, _ in blocks) == 77


def test_converted_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", inputs=INPUTS, targets=LABELS)
    np.savez(tmp_path / "mine.npz-other.npz", inputs=INPUTS, targets=LABELS)  # a name that begins alike
    find("mine.npz-other", tmp_path)
    find("mine", tmp_path)
    first = cached(tmp_path)
    stamp = (tmp_path / CACHE / first[-1] / "inputs.npy").stat().st_mtime_ns
    old = find("mine", tmp_path)
    assert cached(tmp_path) == first
    assert (tmp_path / CACHE / first[-1] / "inputs.npy").stat().st_mtime_ns == stamp
    np.savez(tmp_path / "mine.npz", inputs=INPUTS[:200], targets=LABELS[:200])
    new = find("mine", tmp_path)
    assert len(new.train) + len(new.val) == 200
    assert len(cached(tmp_path)) == 2  # the arrays of the old file are gone, those of the other file are not
    assert whole(old.train)[0].isfinite().all()  # and who has them mapped keeps them


def test_what_is_wrong_leaves_nothing_behind(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", inputs=INPUTS[:5], targets=LABELS[:5])
    with pytest.raises(ValueError, match="5 examples"):
        find("mine", tmp_path)
    assert cached(tmp_path) == []


def _length(folder: Path) -> int:
    return len(find("mine", folder).train)


def test_trainers_that_convert_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", inputs=np.tile(INPUTS, (100, 1)), targets=np.tile(LABELS, 100))
    with get_context("spawn").Pool(3) as pool:
        lengths = pool.map(_length, [tmp_path] * 6, chunksize=1)
    assert len(set(lengths)) == 1
    assert len(cached(tmp_path)) == 1


def test_who_comes_second_uses_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "mine.npz", inputs=INPUTS, targets=LABELS)

    def overtaken(table: Any, folder: Path) -> None:
        monkeypatch.setattr("training.data.folder.convert", convert)
        find("mine", tmp_path)  # another trainer is done first
        convert(table, folder)

    monkeypatch.setattr("training.data.folder.convert", overtaken)
    agree(find("mine", tmp_path), INPUTS, LABELS)
    assert len(cached(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nothing",
            r"unknown data 'nothing': .* has no nothing\{.npz,.csv,.parquet\} but here.npz, twice.csv, twice.npz",
        ),
        ("../here", "'../here' is no name of data: use letters, digits and _ . -"),
        (".hidden", "is no name of data"),
        ("a/b", "is no name of data"),
        ("", "is no name of data"),
        ("twice", "twice.npz and twice.csv are both in .*: remove or rename one"),
    ],
)
def test_refuses_names(name: str, message: str, tmp_path: Path) -> None:
    for there in ("here.npz", "twice.npz", "twice.csv", "notes.txt"):
        (tmp_path / there).touch()
    with pytest.raises(ValueError, match=message):
        find(name, tmp_path)


def test_without_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this worker has no data folder; bundled are digits"):
        find("mine", None)
    with pytest.raises(ValueError, match="but nothing; bundled are"):
        find("mine", tmp_path / "nowhere")


BAD = INPUTS.copy()
BAD[17, 3] = np.nan
ARRAYS = {"inputs": INPUTS, "targets": LABELS}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": INPUTS}, "mine.npz has no array targets, and every archive needs both; it has inputs"),
        (ARRAYS | {"val_inputs": INPUTS}, "has no array val_targets, and the two go together"),
        (ARRAYS | {"inputs": BAD}, r"mine.npz: inputs\[17, 3\] is nan: inputs must be finite numbers"),
        (ARRAYS | {"inputs": INPUTS[:, 0]}, r"inputs has the shape \(300,\): it must be \(n, features\)"),
        (ARRAYS | {"inputs": INPUTS[:0]}, r"inputs has the shape \(0, 4\)"),
        (
            ARRAYS | {"targets": LABELS[:-1]},
            r"mine.npz: targets has the shape \(299,\): it must be \(300,\), for inputs has 300 examples",
        ),
        (ARRAYS | {"val_inputs": INPUTS[:, :2], "val_targets": LABELS}, "must agree but for n"),
        (ARRAYS | {"inputs": INPUTS + 1j}, "inputs is of type complex128: store real numbers"),
        (ARRAYS | {"inputs": np.asfortranarray(INPUTS)}, "stored column by column: save numpy.ascontiguousarray"),
        (ARRAYS | {"targets": LABELS - 1}, "is -1: number the classes from 0, or store numbers to predict as floats"),
        (ARRAYS | {"targets": LABELS * 1000}, "more than 1000 classes: store numbers to predict as floats"),
        (ARRAYS | {"targets": LABELS * 0}, "all targets are 0, and there is nothing to tell apart"),
        (ARRAYS | {"targets": np.full(300, np.inf)}, r"targets\[0\] is inf: it must be a finite number"),
        (ARRAYS | {"targets": np.array([b"a"] * 300)}, "targets are of type .*: use integers or strings"),
        (ARRAYS | {"targets": np.array([{}] * 300)}, "mine.npz cannot be read: .*; write it with numpy.savez"),
        (ARRAYS | {"vocabulary": 5}, "with a vocabulary, inputs and val_inputs must be integers"),
        (ARRAYS | {"inputs": LABELS[:, None], "vocabulary": 2}, r"inputs\[\d+, 0\] is 2: tokens must be in \[0, 2\)"),
        (ARRAYS | {"vocabulary": 1.5}, "vocabulary must be one whole number from 2"),
        ({"inputs": INPUTS[:9], "targets": LABELS[:9]}, "has 9 examples: at least 10 are needed"),
        ({"inputs": INPUTS[:10], "targets": np.arange(10)}, "leaves no example for validation"),
    ],
)
def test_refuses_archives(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        find("mine", tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "mine.csv cannot be read: .*Empty CSV file"),
        (["a,b", "1,2"], "mine.csv has no column 'target': name the one to predict so; it has a, b"),
        (["target", "1"], "mine.csv has no column beside target"),
        (["a,a,target", "1,2,0"], "the column 'a' is there twice: rename one"),
        (["a,target", "red,0"], "the column 'a' holds values of type string: turn it into numbers, or leave it out"),
        (["a,target", "1,0", "2,1", ",0"], "the column 'a' of row 3 is empty: fill it in, or leave the row out"),
        (["a,target", "1,0", "inf,1"], "the column 'a' of row 2 is inf"),
        (["a,target", "1,0", "2,"], "target of row 2 is empty: fill it in, or leave the row out"),
        (["a,target", "1,0", "2,1,3"], "mine.csv cannot be read: .*row 2: Expected 2 columns, got 3"),
        (["a,target,split", "1,0,test"], "split of row 1 is 'test'; valid: train, val"),
        (["a,target,split", *["1,0,train", "2,1,train"] * 9], "leaves no example for validation"),
        (["a,target", "1,2020-01-01"], "targets are of type date32"),
    ],
)
def test_refuses_tables(lines: list[str], message: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "mine.csv", lines)
    with pytest.raises(ValueError, match=message):
        find("mine", tmp_path)


def test_refuses_files_that_are_not_what_their_names_say(tmp_path: Path) -> None:
    for suffix in ("npz", "parquet"):
        (tmp_path / f"{suffix}.{suffix}").write_text("neither the one nor the other")
        with pytest.raises(ValueError, match=f"{suffix}.{suffix} cannot be read"):
            find(suffix, tmp_path)


def test_an_archive_cut_off_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **ARRAYS)  # type: ignore[arg-type]
    content = bytearray(path.read_bytes())
    content[2000] ^= 1  # within the inputs
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.npz cannot be read"):
        find("mine", tmp_path)
