"""The columns of every table that a run leaves. Conditions have columns in them too, which cannot have these names.

Imports nothing, so that a configuration is checked before anything heavy is loaded; a test compares this list with the
tables of a run.
"""

AXES = "xyz"  # array axes from the last: x along columns, y along rows, z along slices
AXIS_NAMES = {2: ("height", "width"), 3: ("depth", "height", "width")}
NOT_APPLICABLE_TEXT = "n/a"  # the cell of a value that cannot apply; that of a missing one is empty


def spatial_columns(name: str, spatial_dims: int) -> tuple[str, ...]:
    """The columns of a spatial condition."""
    return (*(f"{name}_{axis}" for axis in AXES[:spatial_dims]), f"{name}_size")


def geometry_columns(part: str, spatial_dims: int) -> tuple[str, ...]:
    """The columns of one part of an image's geometry."""
    return tuple(f"{part}_{axis}" for axis in AXIS_NAMES[spatial_dims])


GEOMETRY = ("source", "start", "extent")
PREDICTED = "predicted_"  # before the name of a condition's column: what was read from the image

# Beside the conditions.
SOURCE = {"image", "subject_id", "split", "mask"}  # of a sample table
STORE = {"source_row", "image", "subject_id", "split", "sha256", "low", "high"} | {
    column for part in GEOMETRY for dims in AXIS_NAMES for column in geometry_columns(part, dims)
}
SHARD = {"sample_id", "seed", "model_sha256", "sampler"}
VERDICT = ("requested_probability", "conformity", "nearest_similarity", "verdict", "reason")  # in this order
JUDGED = {"sample_id", "nearest_image", *VERDICT}
DIGESTS = {"generator_sha256", "config_sha256", "training_data_sha256"}
REJECTED = {"sample_id", "seed", "synthetic", *VERDICT} | DIGESTS
RELEASED = REJECTED | {"file_name", "rescale_slope", "rescale_intercept"}
RESERVED = SOURCE | STORE | SHARD | JUDGED | REJECTED | RELEASED
