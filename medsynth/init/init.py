"""`medsynth init`: read a table and a sample of its images, write a configuration that runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from medsynth import config
from medsynth.conditions.schema import ConditionSchema
from medsynth.disk import tables
from medsynth.errors import InputError
from medsynth.init import document, labels, modality, roles
from medsynth.init import images as looking
from medsynth.init.columns import Condition, LeftOut, describe
from medsynth.init.document import printable
from medsynth.init.proposal import Bad, Proposal
from medsynth.prepare.sources import open_table
from medsynth.prepare.table import Rejection, read_samples

MOST_BAD = 0.5
SHOWN_REASONS = 3


def init(table: Path, chosen: str | None = None) -> str:
    """A commented configuration for a table of images.

    Args:
        chosen: the modality, None to guess it.
    Raises:
        InputError: no images, no modality, nothing to condition on, no label, or too many rows that cannot be used.
    """
    header, rows = tables.read_rows(table)
    whole = [row for row in rows if len(row) == len(header)]
    if not whole:
        raise InputError(f"{table}: no row has {len(header)} cells, as the header has")
    cells = {column: [row[place] for row in whole] for place, column in enumerate(header)}
    survey = looking.survey(table, cells)
    found = roles.find(table.parent, cells, survey)
    kind, why = _modality(table, cells, survey, chosen)
    conditions, left_out = _conditions(cells, found)
    label = labels.choose(conditions, cells, cells[found.subject])
    if label is None:
        raise InputError(f"{table}: {_no_label(conditions, left_out)}")
    proposal = Proposal(table, cells, survey, found, kind, why, conditions, left_out, label)
    values, notes = proposal.build(_count_bad(proposal))
    text = document.render(values, notes)
    assert yaml.safe_load(text) == values, "the YAML does not say what was meant"
    config.parse(config.Config, values, "the configuration made")
    return text


def _modality(table: Path, cells: dict[str, list[str]], survey: looking.Survey, chosen: str | None) -> tuple[str, str]:
    if chosen is not None:
        return modality.check(chosen, survey), "--modality"
    folder = table.resolve().parent
    example = Path(next(cell for cell in cells[survey.column] if cell.strip()))
    places = {
        "folder's name": [folder.name],
        "table's name": [table.stem],
        "columns' names": list(cells),
        "images' paths": [*example.parts[:-1], example.stem],
        "path": [folder.parent.name],
    }
    try:
        return modality.guess(survey, places)
    except InputError as error:
        raise InputError(f"{table}: {error}") from None


def _conditions(cells: dict[str, list[str]], found: roles.Roles) -> tuple[list[Condition], list[LeftOut]]:
    """What each column without a role of its own can be asked for by, and those that cannot."""
    conditions: list[Condition] = []
    left_out = list(found.left_out)
    for column, texts in cells.items():
        if column in found.taken:
            continue
        description = describe(column, texts, [condition.name for condition in conditions])
        if isinstance(description, Condition):
            conditions.append(description)
        else:
            left_out.append(description)
    return conditions, left_out


def _no_label(conditions: Sequence[Condition], left_out: Sequence[LeftOut]) -> str:
    if conditions:
        kinds = ", ".join(f"{printable(field.column, 30)} ({field.kind})" for field in conditions)
        return f"no usable label: none of {kinds} has classes of 3 patients each, or a number that can be binned"
    reasons = "; ".join(f"{printable(left.column, 30)}: {left.reason}" for left in left_out)
    return f"nothing to condition on ({reasons or 'no other column'}), expected a column with classes or numbers"


def _count_bad(proposal: Proposal) -> Bad:
    """Rows that would not be used, as `prepare` itself checks them; of the images a sample alone.

    Raises:
        InputError: more than half of them cannot, or they cannot be split.
    """
    values, _ = proposal.build(Bad())
    settings = config.parse(config.Config, values, "the configuration made").prepare(proposal.dataset)
    assert isinstance(settings.source, config.TableSource)
    table = read_samples(proposal.table, ConditionSchema(settings.conditions, len(settings.size)), settings.source)
    reasons = Counter(f"{bad.column or 'row'}: {bad.reason}" for bad in table.rejected)
    there = [sample for sample in table.samples if looking.is_there(proposal.table.parent, sample.image)]
    gone = len(table.samples) - len(there)
    if gone:
        reasons["image: no such file"] = gone
    intake = open_table(settings, settings.source.model_copy(update={"max_bad_fraction": 1.0}), [])
    tried = looking.spread(there, looking.LOOKED_AT[len(settings.size)])
    failed = [result for sample in tried if isinstance(result := intake.prepare_one(sample), Rejection)]
    for bad in failed:
        reasons[f"{bad.column}: {bad.reason} (of {len(tried)} images tried)"] += 1
    count = len(table.rejected) + gone + (math.ceil(len(failed) / len(tried) * len(there)) if tried else 0)
    shown = tuple(f"{printable(reason, 120)} ({number:,})" for reason, number in reasons.most_common(SHOWN_REASONS))
    if count > MOST_BAD * table.rows:
        raise InputError(f"{proposal.table}: about {count:,} of {table.rows:,} rows cannot be used: {'; '.join(shown)}")
    return Bad(count, shown)
