"""The names of array axes, and of the columns that are named after them."""

AXES = "xyz"  # array axes from the last: x along columns, y along rows, z along slices
AXIS_NAMES = {2: ("height", "width"), 3: ("depth", "height", "width")}
GEOMETRY = ("source", "start", "extent")


def geometry_columns(part: str, spatial_dims: int) -> tuple[str, ...]:
    """The columns of one part of an image's geometry."""
    return tuple(f"{part}_{axis}" for axis in AXIS_NAMES[spatial_dims])
