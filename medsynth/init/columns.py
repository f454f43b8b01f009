"""What the columns of a table can be asked for by, and why others cannot."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from medsynth.config.columns import NOT_APPLICABLE_TEXT, PREDICTED, RESERVED
from medsynth.disk.tables import NUMBER
from medsynth.init.document import printable
from medsynth.init.grades import known_grades

MISSING = ("NA", "N/A", "NaN", "nan", "NAN", "<NA>", "#N/A")  # as R, pandas and spreadsheets write it
MOST_VALUES = 30
MOST_GRADES = 10
LEAST_PER_VALUE = 3  # images, on average; otherwise a text is free text, and a whole number a measurement
RARE_IMAGES, RARE_SHARE = 20, 0.02
SEPARATORS = "|;"
LISTED = 0.02  # share of the cells with a separator from which on they are lists
NO_FINDING = re.compile(r"no[ _-]?findings?|none|normal|healthy|negative|nothing", re.IGNORECASE)
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([ T].*)?|(19|20)\d{6}")
IDENTIFIER = {"id", "uid", "uuid", "index", "idx", "accession", "mrn"}
UNITS = {
    **{word: "years" for word in ("years", "year", "yrs", "yr")},
    **{word: "months" for word in ("months", "month")},
    **{word: "weeks" for word in ("weeks", "week")},
    **{word: "days" for word in ("days", "day")},
    **{word: word for word in ("mm", "mm2", "mm3", "cm", "cm2", "cm3", "um", "cc", "kg", "ms", "degrees")},
    **{"ml": "mL", "hu": "HU", "mmhg": "mmHg", "percent": "%", "pct": "%"},
}


@dataclass(frozen=True)
class Condition:
    """A column that images can be asked for by.

    Attributes:
        name: of the condition.
        column: of the table.
        settings: its section of the configuration.
        notes: what a reader of the configuration should know.
        counts: value → number of images; empty for a number.
    """

    name: str
    column: str
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def kind(self) -> str:
        return str(self.settings["kind"])


@dataclass(frozen=True)
class LeftOut:
    """A column that no condition is made of."""

    column: str
    reason: str


def words(text: str) -> list[str]:
    """The words of a name in lower case: `Patient Age`, `patient_age` and `PatientAge` are two words."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.findall(r"[a-z]+|\d+", parted.lower())


def condition_name(column: str, taken: Collection[str]) -> str:
    """A name that the configuration takes: of the column's own letters where it has such, and not one in use."""
    name = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
    if not name or not name[0].isalpha():
        name = f"column_{name}".rstrip("_")
    if name in RESERVED or name.startswith(PREDICTED):
        name = f"asked_{name}"
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def is_given(cell: str) -> bool:
    """Whether a cell has a value."""
    return cell not in ("", NOT_APPLICABLE_TEXT, *MISSING)


def describe(column: str, cells: Sequence[str], taken: Collection[str]) -> Condition | LeftOut:
    """What a column is, judged by its cells and its name.

    Args:
        cells: one for each row.
        taken: names that other conditions have.
    """
    given = [cell for cell in cells if is_given(cell)]
    distinct = Counter(given)
    if not distinct:
        return LeftOut(column, "no cell has a value")
    if len(distinct) == 1:
        return LeftOut(column, f"the only value is {printable(given[0])!r}")
    name = condition_name(column, taken)
    missing = _missing_note(cells)
    grades = known_grades(words(column), distinct)
    if grades is not None and len(given) >= LEAST_PER_VALUE * len(distinct):
        values, what = grades
        return Condition(
            name, column, {"kind": "ordinal", "values": values}, (what, _counted(distinct), *missing), distinct
        )
    for separator in SEPARATORS:
        if sum(separator in cell for cell in given) >= max(2, LISTED * len(given)):
            return _multi_label(name, column, separator, distinct, missing)
    if all(DATE.fullmatch(cell) for cell in distinct):
        return LeftOut(column, "dates")
    if all(NUMBER.fullmatch(cell) and math.isfinite(float(cell)) for cell in distinct):
        return _of_numbers(name, column, given, distinct, missing)
    if len(distinct) <= MOST_VALUES and len(given) >= LEAST_PER_VALUE * len(distinct):
        values = [value for value, _ in sorted(distinct.items(), key=lambda item: (-item[1], item[0]))]
        return Condition(
            name, column, {"kind": "categorical", "values": values}, (_counted(distinct), *missing), distinct
        )
    if len(distinct) == len(given):
        return LeftOut(column, "a different text in every row")
    return LeftOut(column, f"free text, {len(distinct):,} different cells")


def _missing_note(cells: Sequence[str]) -> tuple[str, ...]:
    absent = Counter(cell for cell in cells if not is_given(cell))
    inapplicable = absent.pop(NOT_APPLICABLE_TEXT, 0)
    found = {"missing": absent.total(), f"{NOT_APPLICABLE_TEXT}, cannot apply": inapplicable}
    text = ", ".join(f"{count:,} {what}" for what, count in found.items() if count)
    return (f"{text}.",) if text else ()


def _counted(counts: Counter[str]) -> str:
    """How many images each value has, the rare ones marked."""
    total = counts.total()
    shown = (
        f"{printable(value, 40)}: {count:,}{' (rare)' if count < RARE_IMAGES or count < RARE_SHARE * total else ''}"
        for value, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
    return f"Images: {', '.join(shown)}."


def _multi_label(
    name: str, column: str, separator: str, distinct: Counter[str], missing: tuple[str, ...]
) -> Condition | LeftOut:
    lists = {cell: [label.strip() for label in cell.split(separator)] for cell in distinct}
    counts: Counter[str] = Counter()
    for cell, labels in lists.items():
        for label in labels:
            counts[label] += distinct[cell]
    if counts[""] or any(len(set(labels)) < len(labels) for labels in lists.values()):
        return LeftOut(column, f"lists between {separator!r}, some with an empty or a repeated value")
    if len(counts) > MOST_VALUES:
        return LeftOut(column, f"lists between {separator!r} of {len(counts)} different values")
    if not any(label == NOT_APPLICABLE_TEXT for label in counts):
        alone = [label for label in counts if NO_FINDING.fullmatch(label) and all(
            len(labels) == 1 for labels in lists.values() if label in labels
        )]  # fmt: skip
        none = alone[0] if alone and alone[0] in distinct else "no finding"
        values = [label for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if label != none]
        if values and none not in values:
            settings = {"kind": "multi_label", "values": values, "none": none}
            settings |= {} if separator == "|" else {"separator": separator}
            return Condition(name, column, settings, (_counted(counts), *missing), counts)
    return LeftOut(column, f"lists between {separator!r} whose values cannot be told from missing ones")


def _of_numbers(
    name: str, column: str, given: Sequence[str], distinct: Counter[str], missing: tuple[str, ...]
) -> Condition | LeftOut:
    numbers = {text: Decimal(text) for text in distinct}
    low, high = min(numbers.values()), max(numbers.values())
    whole = all(number == number.to_integral_value() for number in numbers.values())
    if whole and len(set(numbers.values())) == len(given):
        if (low in (0, 1) and high - low == len(given) - 1) or IDENTIFIER & set(words(column)) or not column.strip():
            return LeftOut(column, "numbers the rows")
    elif whole and words(column)[-1:] and words(column)[-1] in IDENTIFIER:
        return LeftOut(column, "an identifier by its name")
    if not math.isfinite(float(high) - float(low)) or low == high:
        return LeftOut(column, "numbers without a finite range")
    grades = sorted(distinct, key=numbers.__getitem__)
    one_spelling = len(set(numbers.values())) == len(grades)
    if whole and one_spelling and len(grades) <= MOST_GRADES and len(given) >= LEAST_PER_VALUE * len(grades):
        counted = (_counted(distinct), *missing)
        if len(grades) == 2:
            return Condition(name, column, {"kind": "categorical", "values": grades}, counted, distinct)
        why = "Few whole numbers: taken as grades in rising order. If they only name things, say kind: categorical."
        return Condition(name, column, {"kind": "ordinal", "values": grades}, (why, *counted), distinct)
    settings: dict[str, Any] = {"kind": "number", "range": round_outward(low, high)}
    if unit := next((UNITS[word] for word in reversed(words(column)) if word in UNITS), ""):
        settings["unit"] = unit
    return Condition(name, column, settings, (f"From {low} to {high} in the table.", *missing))


def round_outward(low: Decimal, high: Decimal) -> list[float | int]:
    """The nearest multiples of the span's power of ten that enclose a range: 42 to 87 lie in 40 to 90.

    Whole ends are whole numbers, so that they are written as such.
    """
    step = (high - low).adjusted()
    ends = [
        (low.scaleb(-step).to_integral_value(ROUND_FLOOR)).scaleb(step),
        (high.scaleb(-step).to_integral_value(ROUND_CEILING)).scaleb(step),
    ]
    return [int(end) if end == end.to_integral_value() and abs(end) < 10**15 else float(end) for end in ends]
