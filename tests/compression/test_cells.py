"""Labels, groups, ids and rows in every array that people hold them in: the same result, or refused with the rows."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embcomp.compression import Compressor
from embcomp.compression.cells import cells, group_codes, names, refuse_other_order, rows_text
from embcomp.compression.rows import as_rows
from embcomp.compression.targets import encode
from embcomp.errors import DataError, EmbcompWarning

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, 80)
X = (RNG.normal(size=(80, 16)) + 4 * np.eye(16)[CODES]).astype(np.float32)
MISSING = np.zeros(80, dtype=bool)
MISSING[[3, 10, 11]] = True
TEXT = np.array([f"c{code}" for code in CODES], dtype=object)


def with_gaps(values, gap):
    found = np.array(values, dtype=object)
    found[MISSING] = gap
    return found


def series(values, dtype):
    return pd.Series(values, dtype=dtype).mask(MISSING)


TEXTS = {
    "list with None": with_gaps(TEXT, None).tolist(),
    "list with NaN": with_gaps(TEXT, float("nan")).tolist(),
    "tuple with NA": tuple(with_gaps(TEXT, pd.NA).tolist()),
    "objects with None": with_gaps(TEXT, None),
    "objects with NaN": with_gaps(TEXT, np.nan),
    "objects with NA": with_gaps(TEXT, pd.NA),
    "objects with NaT": with_gaps(TEXT, pd.NaT),
    "a column": with_gaps(TEXT, None)[:, None],
    "masked texts": np.ma.array(TEXT.astype(str), mask=MISSING),
    "masked bytes": np.ma.array(TEXT.astype("S"), mask=MISSING),
    "Series of objects": pd.Series(with_gaps(TEXT, None), dtype=object),
    "Series of string": series(TEXT, "string"),
    "Series of categories": series(pd.Categorical(TEXT), "category"),
    "Series of str": series(TEXT, "str"),
    "Index": pd.Index(with_gaps(TEXT, None)),
    "DataFrame": series(TEXT, "string").to_frame(),
}
NUMBERS = {
    "Int64": series(CODES, "Int64"),
    "UInt8": series(CODES, "UInt8"),
    "Float64": series(CODES.astype(float), "Float64"),
    "float with NaN": np.where(MISSING, np.nan, CODES),
    "float tensor": torch.from_numpy(np.where(MISSING, np.nan, CODES)),
    "bfloat16 tensor": torch.from_numpy(np.where(MISSING, np.nan, CODES)).bfloat16(),
    "int with -1": np.where(MISSING, -1, CODES),
    "int8 with -1": np.where(MISSING, -1, CODES).astype(np.int8),
    "int tensor with -1": torch.from_numpy(np.where(MISSING, -1, CODES)),
    "int column": np.where(MISSING, -1, CODES)[:, None],
    "int list with -1": np.where(MISSING, -1, CODES).tolist(),
    "list of numpy integers with -1": list(np.where(MISSING, -1, CODES)),
    "int objects with None": with_gaps(CODES, None),
    "masked integers": np.ma.array(CODES, mask=MISSING),
    "masked column": np.ma.array(CODES[:, None], mask=MISSING[:, None]),
    "Series of int": pd.Series(np.where(MISSING, -1, CODES)),
    "Series on another index": pd.Series(np.where(MISSING, -1, CODES), index=range(500, 580)),
    "DataFrame of one column": pd.DataFrame({"y": np.where(MISSING, -1, CODES)}),
    "Int64 with -1": pd.Series(np.where(MISSING, -1, CODES), dtype="Int64"),
    "categories of int": series(pd.Categorical(CODES), "category"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_the_same_labels_in_whatever_holds_them(name):
    found = encode(TEXTS[name], 80)
    assert found.classes == ["c0", "c1", "c2", "c3"]
    np.testing.assert_array_equal(found.values, np.where(MISSING, -1, CODES))


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_the_same_labels_in_whatever_holds_them(name):
    found = encode(NUMBERS[name], 80)
    assert found.classes == [0, 1, 2, 3]
    np.testing.assert_array_equal(found.values, np.where(MISSING, -1, CODES))


def test_the_arrow_strings_of_pandas_are_labels_too():
    pytest.importorskip("pyarrow")
    for dtype in ("string[pyarrow]", pd.ArrowDtype(__import__("pyarrow").string())):
        found = encode(series(TEXT, dtype), 80)
        assert found.classes == ["c0", "c1", "c2", "c3"] and (found.values[MISSING] == -1).all()


def test_bytes_booleans_dates_and_mixed_labels():
    assert encode(np.array([b"b", b"a", b"b"]), 3).classes == ["a", "b"]
    assert encode([True, False, None], 3).values.tolist() == [1, 0, -1]
    assert encode(pd.Series([True, False, None], dtype="boolean"), 3).values.tolist() == [1, 0, -1]
    assert encode(np.array(["2024-01-01", "NaT", "2025-01-01"], "M8[D]"), 3).values.tolist() == [0, -1, 1]
    assert encode(["a", 1, None, "a"], 4).values.tolist() == [1, 0, -1, 1]


def test_unicode_forms_of_a_label_are_one():
    assert encode(["Gru\u0308n", "Gr\u00fcn", "x"], 3).values.tolist() == [0, 0, 1]


def test_a_text_called_nan_is_a_label():
    assert encode(["nan", "b", "nan"], 3).classes == ["b", "nan"]


MATRIX = np.eye(4)[CODES]
GAPS = RNG.random((80, 4)) < 0.1
MATRICES = {
    "float with NaN": np.where(GAPS, np.nan, MATRIX),
    "tensor": torch.from_numpy(np.where(GAPS, np.nan, MATRIX)),
    "masked": np.ma.array(MATRIX, mask=GAPS),
    "masked integers": np.ma.array(MATRIX.astype(int), mask=GAPS),
    "DataFrame": pd.DataFrame(np.where(GAPS, np.nan, MATRIX)),
    "DataFrame of Int8": pd.DataFrame(np.where(GAPS, np.nan, MATRIX)).astype("Int8"),
    "DataFrame of boolean": pd.DataFrame(np.where(GAPS, np.nan, MATRIX)).astype("boolean"),
    "lists with None": [[None if gap else value for value, gap in zip(*row)] for row in zip(MATRIX, GAPS)],
}


@pytest.mark.parametrize("name", MATRICES)
def test_matrices_of_labels_are_the_same_in_whatever_holds_them(name):
    np.testing.assert_array_equal(encode(MATRICES[name], 80).values, np.where(GAPS, np.nan, MATRIX))


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.coo_array, scipy.sparse.csc_array])
def test_sparse_labels_are_a_matrix(make):
    np.testing.assert_array_equal(encode(make(MATRIX), 80).values, MATRIX)
    np.testing.assert_array_equal(encode(torch.from_numpy(MATRIX).to_sparse(), 80).values, MATRIX)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((80, 2, 2)), r"shape \(80, 2, 2\)"),
        (np.zeros(79), "80 rows of embeddings but 79 labels"),
        (pd.Series(TEXT[:70]), "80 rows of embeddings but 70 labels"),
        ([["a", "b"]] * 80, "a matrix of labels must hold numbers"),
        ([{"a": 1}] * 80, "labels must be texts or numbers"),
        (np.zeros(80, dtype=[("a", int), ("b", int)]), "records of several fields"),
        (np.ma.array(TEXT.astype(str), mask=True), "one class only"),
    ],
)
def test_what_are_no_labels_is_refused(labels, message):
    with pytest.raises(DataError, match=message):
        Compressor(3, "lda").fit(X, labels)


@pytest.mark.parametrize("name", [*TEXTS, *NUMBERS])
def test_a_fit_does_not_depend_on_what_holds_the_labels(name):
    plain = Compressor(3, "lda").fit(X, np.where(MISSING, -1, CODES)).transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Compressor(3, "lda").fit(X, {**TEXTS, **NUMBERS}[name])
    assert len(found.classes_) == 4
    np.testing.assert_allclose(found.transform(X), plain, atol=1e-5)
    assert found.report(X, {**TEXTS, **NUMBERS}[name]).separation_after > 0.5


GROUPS = {name: values for name, values in (TEXTS | NUMBERS).items() if "-1" not in name and "on another" not in name}
GROUPS = {
    name: values
    for name, values in GROUPS.items()
    if name not in ("int column", "Series of int", "DataFrame of one column")
}


@pytest.mark.parametrize("name", GROUPS)
def test_rows_without_a_group_are_named_whatever_holds_the_groups(name):
    with pytest.raises(DataError, match=r"3 of 80 rows have no group: rows 3, 10, 11$"):
        Compressor(3, "mlp", epochs=1).fit(X, CODES, groups=GROUPS[name])


@pytest.mark.parametrize(
    "groups",
    [
        TEXT,
        TEXT.tolist(),
        TEXT.astype("S"),
        TEXT[:, None],
        CODES,
        CODES.astype(float),
        torch.from_numpy(CODES),
        pd.Series(TEXT, dtype="string"),
        pd.Series(pd.Categorical(TEXT)),
        pd.Series(CODES, dtype="Int64"),
        np.ma.array(CODES, mask=False),
        pd.DataFrame({"g": TEXT}),
    ],
    ids=lambda groups: type(groups).__name__,
)
def test_groups_are_the_same_in_whatever_holds_them(groups):
    np.testing.assert_array_equal(group_codes(groups, 80), CODES)


def test_groups_of_mixed_kinds_stay_apart_and_several_columns_are_refused():
    assert len(set(group_codes(["1", 1, "a", 2], 4))) == 4
    with pytest.raises(DataError, match=r"groups have shape \(80, 2\); expected one value a row"):
        Compressor(3, "pca").fit(X, groups=np.stack([CODES, CODES], 1))
    with pytest.raises(DataError, match="80 rows of embeddings but 3 groups"):
        Compressor(3, "pca").fit(X, groups=[1, 2, 3])


def test_ids_are_texts_and_none_is_missing():
    assert names(np.array([b"a", b"b"]), 2) == names(["a", "b"], 2) == names(pd.Series(["a", "b"]), 2) == ["a", "b"]
    compressor = Compressor(2, "pca").fit(
        X[:2].repeat(3, 0) + RNG.normal(size=(6, 16)), ids=[b"a", b"b", "c", 4, "e", "f"]
    )
    assert compressor.seen(["a", b"b", "4", 4, "x"]) == ["a", b"b", "4", 4]
    with pytest.raises(DataError, match=r"1 of 3 rows have no id: row 1"):
        Compressor(2, "pca").fit(X[:3], ids=["a", None, "c"])


def test_masked_rows_are_refused_by_number_and_unmasked_ones_read():
    masked = np.ma.masked_invalid(np.where(np.isin(np.arange(80), [4, 7])[:, None], np.nan, X))
    for call in (lambda: Compressor(2, "pca").fit(masked), lambda: Compressor(2, "pca").fit(X).transform(masked)):
        with pytest.raises(
            DataError, match=r"2 of 80 rows hold masked values: rows 4, 7; leave them out, or fill them"
        ):
            call()
    whole = np.ma.array(X, mask=False)
    np.testing.assert_array_equal(
        Compressor(2, "pca").fit(whole).transform(whole), Compressor(2, "pca").fit(X).transform(X)
    )


def frame(dtype):
    return pd.DataFrame(X).astype(dtype)


@pytest.mark.parametrize(
    "rows",
    [
        X.tolist(),
        frame("float32"),
        frame("Float32"),
        frame("float64"),
        frame(object),
        torch.from_numpy(X),
        np.asfortranarray(X),
    ],
    ids=["lists", "float32", "Float32", "float64", "objects", "tensor", "by columns"],
)
def test_rows_are_the_same_in_whatever_holds_them(rows):
    np.testing.assert_allclose(
        Compressor(3, "pca").fit(rows).transform(rows), Compressor(3, "pca").fit(X).transform(X), atol=1e-5
    )


@pytest.mark.parametrize("dtype", ["Float32", object, "float32"])
def test_rows_with_missing_values_are_named(dtype):
    table = frame(dtype)
    table.iloc[5, 3] = None
    table.iloc[9, 0] = None
    with pytest.raises(DataError, match=r"2 of 80 rows hold NaN or infinity \(inf\): rows 5, 9"):
        Compressor(3, "pca").fit(table)


def test_sparse_rows_are_refused_with_the_mend():
    with pytest.raises((TypeError, ValueError), match=r"toarray"):
        Compressor(3, "pca").fit(scipy.sparse.csr_matrix(X))
    with pytest.raises(DataError, match=r"X\.to_dense\(\)"):
        Compressor(3, "pca").fit(torch.from_numpy(X).to_sparse())


def test_a_frame_with_columns_called_as_a_store_is_a_frame():
    table = pd.DataFrame(X[:, :3], columns=["ids", "data", "frames"])
    assert as_rows(table).shape == (80, 3)


def test_tables_in_another_order_are_refused():
    table = pd.DataFrame(X, index=[f"{row}.wav" for row in range(80)])
    labels = pd.Series(TEXT, index=table.index)
    shuffled = labels.sample(frac=1, random_state=0)
    for what in ({"y": shuffled}, {"groups": shuffled}):
        with pytest.raises(
            DataError, match=r"name the same rows .* in another order; give them as (labels|groups)\.loc"
        ):
            Compressor(3, "pca").fit(table, **what)
    given = Compressor(3, "lda").fit(table, shuffled.loc[table.index])
    np.testing.assert_array_equal(given.transform(table), Compressor(3, "lda").fit(table, labels).transform(table))
    refuse_other_order(table, labels.reset_index(drop=True), "labels")
    refuse_other_order(X, shuffled, "labels")


VALUES = st.one_of(
    st.none(), st.text(max_size=3), st.integers(-3, 3), st.floats(), st.booleans(), st.binary(max_size=2)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(VALUES, max_size=6))
def test_any_list_is_read_value_by_value(values):
    try:
        found = cells(values)
    except UnicodeDecodeError:
        return
    assert found.values.shape == found.missing.shape == (len(values),)
    assert [bool(gap) for gap in found.missing] == [value is None or value != value for value in values]


def test_rows_are_not_added_to_sums_that_are_not_there(tmp_path):
    whole = Compressor(3, "pca").partial_fit(X[:40], ids=np.array([f"{row}" for row in range(40)], "S"))
    assert whole.seen(["3", "41"]) == ["3"]
    whole.save(tmp_path / "c")
    loaded = Compressor.load(tmp_path / "c")
    before = loaded.transform(X)
    with pytest.raises(DataError, match="saved without its sums"):
        loaded.partial_fit(X[40:])
    np.testing.assert_array_equal(loaded.transform(X), before)
    assert loaded.fit(X).n_samples_ == 80
    with pytest.warns(EmbcompWarning, match="fit keeps no sums: partial_fit starts anew"):
        assert loaded.partial_fit(X[40:]).n_samples_ == 40
    with pytest.raises(DataError, match="1 of 2 rows have no id: row 1"):
        whole.partial_fit(X[:2], ids=["a", None])


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA])
def test_scores_name_rows_without_a_group(gap):
    from embcomp.metrics.rows import Rows

    with pytest.raises(DataError, match="1 of 4 rows have no group: rows 2"):
        Rows.of(np.array([0, 1, 0, 1]), np.eye(2)[[0, 1, 1, 1]], 2, np.array(["a", "b", gap, "c"], dtype=object))


@pytest.mark.parametrize("count", [1, 2, 8, 9, 200])
def test_of_many_rows_eight_are_named_and_the_others_counted(count):
    text = rows_text(np.arange(10, 10 + count))
    named = [int(word) for word in re.findall(r"\d+", text.split(" and ")[0])]
    assert named == list(range(10, 10 + min(count, 8)))
    assert text.endswith(f" and {count - 8} more") == (count > 8) and text.startswith("rows ") == (count > 1)


def test_a_matrix_of_labels_has_the_columns_that_fitting_saw():
    labels = np.array([[0, 0, np.nan], [0, 1, 1]])  # not every class need vary in later rows
    found = encode(labels, 2, ["a", "b", "c"])
    assert found.classes == ["a", "b", "c"] and found.multilabel
    np.testing.assert_array_equal(found.values, labels)
    with pytest.raises(DataError, match="labels have 3 columns, fitting saw 2"):
        encode(labels, 2, ["a", "b"])
