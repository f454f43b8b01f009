import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsynth.conditions.schema import ConditionSchema
from medsynth.config import SPLITS, Categorical, Number, Split
from medsynth.errors import InputError
from medsynth.prepare.table import draw_split, read_samples, split_samples

FIELDS = {
    "pathology": Categorical(kind="categorical", values=("normal", "nodule")),
    "age": Number(kind="number", range=(0, 100)),
}
SCHEMA = ConditionSchema(FIELDS, 2)
HEADER = "image,subject_id,pathology,age"


def read(tmp_path, text, name="samples.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return read_samples(path, SCHEMA)


def test_reads_rows_and_leaves_other_columns_behind(tmp_path):
    table = read(tmp_path, f"{HEADER},patient_name\na.png,s1,normal,50,Anna\nb.png,s1,,n/a,Bo\n", encoding="utf-8-sig")
    first, second = table.samples
    assert (first.source_row, first.image, first.subject_id) == (1, "a.png", "s1")
    assert first.cells == {"pathology": "normal", "age": "50"}
    assert second.cells == {"pathology": "", "age": "n/a"}
    assert not table.has_masks and table.rejected == []


@pytest.mark.parametrize(("name", "delimiter"), [("t.tsv", "\t"), ("t.csv", ";"), ("t.txt", "\t"), ("t.csv", ",")])
def test_delimiters_and_line_ends(tmp_path, name, delimiter):
    text = f"{HEADER}\r\n'a,b'.png,s1,normal,50\r\n\r\n".replace(",", delimiter).replace(f"a{delimiter}b", "ab")
    assert read(tmp_path, text, name).samples[0].image == "'ab'.png"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (HEADER, "without rows"),
        ("image,subject,pathology,age\na,b,normal,1\n", "no column 'subject_id', the nearest is 'subject'"),
        ("image,subject_id,Pathology,age\na,b,normal,1\n", "no column 'pathology', the nearest is 'Pathology'"),
        (f"{HEADER},age\na,b,normal,1,2\n", "'age' stands 2 times"),
        (f'{HEADER}\n"a,b,normal,1\n', "not a table"),
    ],
)
def test_unusable_tables(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason):
        read(tmp_path, text)


def test_latin_1_is_refused(tmp_path):
    with pytest.raises(InputError, match="not UTF-8 at byte 31"):
        read(tmp_path, f"{HEADER}\né.png,s,normal,1\n", encoding="latin-1")


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (",s1,normal,1", "image", "missing"),
        ("a.png, ,normal,1", "subject_id", "missing"),
        ("a.png,s1,Normal,1", "pathology", "not one of normal, nodule"),
        ("a.png,s1,normal,101", "age", "not within 0 to 100"),
        ("a.png,s1,normal,nan", "age", "not within"),
        ("a.png,s1,normal,old", "age", "not a number"),
        ("a.png,s1,normal", "", "3 cells, the header has 4"),
        ("a.png,s1,normal,1,2", "", "5 cells, the header has 4"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason(tmp_path, row, column, reason):
    table = read(tmp_path, f"{HEADER}\nok.png,s0,normal,1\n{row}\n")
    assert [sample.image for sample in table.samples] == ["ok.png"]
    (bad,) = table.rejected
    assert bad.source_row == 2 and bad.column == column and reason in bad.reason


def test_split_and_mask_columns(tmp_path):
    header = f"{HEADER},split,mask"
    rows = ["a,s1,normal,1,train,m", "b,s2,normal,1,valid,m", "c,s3,normal,1,test,", "d,s4,normal,1,val,n/a"]
    table = read(tmp_path, "\n".join([header, *rows]))
    assert [(sample.split, sample.mask) for sample in table.samples] == [("train", "m"), ("val", "n/a")]
    assert [(bad.source_row, bad.column) for bad in table.rejected] == [(2, "split"), (3, "mask")]


def test_every_row_of_a_subject_in_two_splits_is_rejected(tmp_path):
    rows = ["a,s1,normal,1,train", "b,s1,normal,1,test", "c,s2,normal,1,val", "d,s1,normal,1,train"]
    table = read(tmp_path, "\n".join([f"{HEADER},split", *rows]))
    assert [sample.subject_id for sample in table.samples] == ["s2"]
    assert [bad.source_row for bad in table.rejected] == [1, 2, 4]
    assert {bad.reason for bad in table.rejected} == {"subject s1 is in train and test"}


CELL = st.sampled_from(["", "n/a", "normal", "nodule", "5", "nan", "train", "val", "test", "s1", "s2"])


@given(st.lists(st.lists(CELL, min_size=4, max_size=7).filter(lambda row: row[0] != ""), min_size=1, max_size=12))
def test_counts_always_add_up(tmp_path_factory, rows):
    text = "\n".join([f"{HEADER},split", *map(",".join, rows)])
    table = read(tmp_path_factory.mktemp("table"), text)
    found = [sample.source_row for sample in table.samples] + [bad.source_row for bad in table.rejected]
    assert sorted(found) == list(range(1, len(rows) + 1)) and table.rows == len(rows)
    assert len({(sample.subject_id, sample.split) for sample in table.samples}) == len(
        {sample.subject_id for sample in table.samples}
    )


# --- the split --------------------------------------------------------------------------------------------------

SHARES = Split()
CLASS_SIZES = st.dictionaries(st.sampled_from("abcd"), st.integers(3, 40), min_size=1)


def subjects(sizes):
    return [(f"{value}{i}", (value,)) for value, count in sizes.items() for i in range(count)]


@given(CLASS_SIZES, st.integers(0, 99), st.randoms())
def test_every_class_is_in_every_split_in_its_share(sizes, seed, random):
    rows = subjects(sizes)
    split = draw_split(rows, "label", SHARES, seed)
    assert set(split) == {subject for subject, _ in rows}
    for value, count in sizes.items():
        found = [split[subject] for subject, (label,) in rows if label == value]
        assert set(found) == set(SPLITS)
        assert abs(found.count("train") - 0.7 * count) <= 2
    random.shuffle(rows)
    assert draw_split(rows, "label", SHARES, seed) == split


def test_another_seed_is_another_split():
    rows = subjects({"a": 30})
    assert draw_split(rows, "label", SHARES, 0) != draw_split(rows, "label", SHARES, 1)


def test_a_subject_counts_as_the_label_of_most_of_its_rows():
    rows = [*subjects({"a": 3, "b": 3}), *(("x", (label,)) for label in ("b", "a", "a", "", ""))]
    alone = [*subjects({"a": 3, "b": 3}), ("x", ("a",))]
    assert draw_split(rows, "label", SHARES, 5) == draw_split(alone, "label", SHARES, 5)


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_too_small_to_split_is_named(count):
    with pytest.raises(InputError, match=f"pathology 'rare' has {count} subjects"):
        draw_split(subjects({"a": 9, "rare": count}), "pathology", SHARES, 0)


def test_subjects_without_a_label_may_be_few():
    split = draw_split([*subjects({"a": 9}), ("x", ("",)), ("y", ("n/a",))], "label", SHARES, 0)
    assert {"x", "y"} <= set(split)


@given(
    st.dictionaries(st.tuples(st.sampled_from("ab"), st.sampled_from(["f", "m", ""])), st.integers(3, 20), min_size=1)
)
def test_every_combination_of_strata_is_in_every_split_in_its_share(sizes):
    rows = [("".join(values) + str(i), values) for values, count in sizes.items() for i in range(count)]
    split = draw_split(rows, "label", SHARES, 0)
    for values, count in sizes.items():
        found = [split[subject] for subject, of in rows if of == values]
        assert set(found) == set(SPLITS) and abs(found.count("train") - 0.7 * count) <= 2


def test_combinations_too_small_to_split_are_split_together_within_their_class():
    sizes = {("a", "f"): 20, ("a", "m"): 2, ("a", ""): 1, ("b", "f"): 1, ("b", "m"): 2}
    rows = [("".join(values) + str(i), values) for values, count in sizes.items() for i in range(count)]
    split = draw_split(rows, "label", SHARES, 0)
    for few in ({("a", "m"), ("a", "")}, {("b", "f"), ("b", "m")}):
        assert {split[subject] for subject, values in rows if values in few} == set(SPLITS)
    with pytest.raises(InputError, match="label 'b' has 2 subjects"):
        draw_split(rows[:-1], "label", SHARES, 0)


def test_a_given_split_is_kept_and_must_be_complete(tmp_path):
    rows = ["a,s1,normal,1,train", "b,s2,normal,1,val", "c,s3,normal,1,test"]
    table = read(tmp_path, "\n".join([f"{HEADER},split", *rows]))
    assert split_samples(table.samples, ["pathology"], SHARES, 0) == {"s1": "train", "s2": "val", "s3": "test"}
    with pytest.raises(InputError, match=r"no subject is in val or test.*train 1, val 0, test 0"):
        split_samples(table.samples[:1], ["pathology"], SHARES, 0)
