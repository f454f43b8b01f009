import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsynth.conditions.schema import ConditionSchema
from medsynth.config import SPLITS, Bins, Categorical, Number, Split, TableSource
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


# --- columns of other names, missing values, bins ---------------------------------------------------------------


def read_as(tmp_path, text, schema=SCHEMA, **source):
    path = tmp_path / "samples.csv"
    path.write_text(text, encoding="utf-8")
    return read_samples(path, schema, TableSource(kind="table", table=path.name, **source))


def test_columns_have_the_tables_own_names(tmp_path):
    columns = {"image": "File: path", "subject_id": "환자", "age": "Age, years", "split": "Set"}
    text = 'pathology,"Age, years",File: path,환자,Set,image\nnodule,7,a.png,p1,val,http://x\n'
    (sample,) = read_as(tmp_path, text, columns=columns).samples
    assert (sample.image, sample.subject_id, sample.split) == ("a.png", "p1", "val")
    assert sample.cells == {"pathology": "nodule", "age": "7"}


def test_one_column_can_serve_twice(tmp_path):
    text = "file,pathology,age\na.png,normal,1\nb.png,normal,2\n"
    table = read_as(tmp_path, text, columns={"image": "file", "subject_id": "file"})
    assert [sample.subject_id for sample in table.samples] == ["a.png", "b.png"]


def test_null_leaves_an_optional_column_out(tmp_path):
    text = f"{HEADER},split,mask\na,s1,normal,1,Training,\n"
    assert read_as(tmp_path, text).samples == []
    table = read_as(tmp_path, text, columns={"split": None, "mask": None})
    assert [(sample.split, sample.mask) for sample in table.samples] == [("", "")] and not table.has_masks


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": "filename"}, "no column 'filename' for image, the nearest is 'image'"),
        ({"mask": "Mask"}, "no column 'Mask' for mask"),
    ],
)
def test_a_renamed_column_must_be_there(tmp_path, columns, reason):
    with pytest.raises(InputError, match=reason):
        read_as(tmp_path, f"{HEADER}\na,s,normal,1\n", columns=columns)


def test_cells_that_count_as_missing(tmp_path):
    table = read_as(tmp_path, f"{HEADER}\na,s,NA,NaN\n", missing=["NA", "NaN"])
    assert table.samples[0].cells == {"pathology": "", "age": ""}


def test_a_short_row_is_still_rejected(tmp_path):
    (bad,) = read_as(tmp_path, f"{HEADER}\na\n").rejected
    assert bad.image == "a" and bad.reason == "1 cells, the header has 4"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *(("-5", "low"), ("9.99", "low"), ("10", "mid"), ("19.9", "mid"), ("20", "high"), ("1e9", "high")),
        *(("", ""), ("n/a", "n/a")),
    ],
)
def test_bins_label_ranges_of_a_number(tmp_path, text, label):
    fields = {"group": Categorical(kind="categorical", values=("low", "mid", "high"))}
    bins = {"group": Bins(column="Volume", edges=(10, 20), labels=("low", "mid", "high"))}
    table = read_as(
        tmp_path, f"image,subject_id,Volume\na,s,{text}\nb,s,many\nc,s,nan\n", ConditionSchema(fields, 2), bins=bins
    )
    assert table.samples[0].cells == {"group": label}
    assert [(bad.source_row, bad.value) for bad in table.rejected] == [(2, "many"), (3, "nan")]


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


def test_a_class_of_few_subjects_may_be_small_where_others_have_it_in_fewer_of_their_rows():
    """Slices of volumes: one shows mostly the head, seven mostly the chest, and two of these the head too."""
    volumes = {"v0": "head head chest", **{f"v{n}": "chest chest head" for n in (1, 2)}}
    volumes |= {f"v{n}": "chest" for n in range(3, 8)}
    rows = [(subject, (value,)) for subject, values in volumes.items() for value in values.split()]
    split = draw_split(rows, "region", SHARES, 0)
    assert set(split) == set(volumes) and set(split.values()) == set(SPLITS)
    with pytest.raises(InputError, match="region 'head' has 2 subjects"):
        draw_split([row for row in rows if row[0] != "v2"], "region", SHARES, 0)


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
