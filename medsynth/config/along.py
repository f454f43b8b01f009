"""What `along` says: which column a strip moves, and through which cells. It decides images, so it is fingerprinted."""

from __future__ import annotations

MOST_FRAMES = 100
FORMS = "expected COLUMN=LOW:HIGH:COUNT, COLUMN=VALUE,VALUE,... or COLUMN alone for all values of a list"


def parse_along(text: str) -> tuple[str, tuple[str, ...]]:
    """The column that a strip moves, and the cells of its frames; none where all values of a list are meant.

    Raises:
        ValueError: the text has none of the three forms, or asks for fewer than 2 or more than MOST_FRAMES frames.
    """
    column, equals, of = text.partition("=")
    if not column or (equals and not of):
        raise ValueError(f"along {text[:120]!r}: {FORMS}")
    if not equals:
        return column, ()
    parts = of.split(":")
    if len(parts) == 1:
        values = tuple(part.strip() for part in of.split(","))
        _refuse_length(text, len(values))
    else:
        try:
            low, high, count = parts
            first, last, frames = float(low), float(high), int(count)
        except ValueError:
            raise ValueError(f"along {text[:120]!r}: {FORMS}") from None
        _refuse_length(text, frames)
        values = tuple(f"{first + (last - first) * step / (frames - 1):.6g}" for step in range(frames))
    return column, values


def _refuse_length(text: str, frames: int) -> None:
    if not 2 <= frames <= MOST_FRAMES:
        raise ValueError(f"along {text[:120]!r}: {frames} frames, expected 2 to {MOST_FRAMES}")
