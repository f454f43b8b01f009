"""The columns of every table that a run leaves. Conditions have columns in them too, which cannot have these names.

A test compares this list with the tables of a run.
"""

from medsynth import registry
from medsynth.images.axes import AXES, AXIS_NAMES, GEOMETRY, geometry_columns

NOT_APPLICABLE_TEXT = "n/a"  # the cell of a value that cannot apply; that of a missing one is empty


def lesion_columns(
    name: str, spatial_dims: int, most: int, graded: bool, has_kinds: bool
) -> tuple[tuple[str, ...], ...]:
    """The columns of each lesion that a field of at most `most` lesions has room for."""
    parts = (*AXES[:spatial_dims], "size", *(["severity"] if graded else []), *(["kind"] if has_kinds else []))
    slots = [name] if most == 1 else [f"{name}_{slot}" for slot in range(1, most + 1)]
    return tuple(tuple(f"{slot}_{part}" for part in parts) for slot in slots)


SURPLUS = "surplus"  # the verdict on a sample that would be kept, had its class not enough
PREDICTED = "predicted_"  # before the name of a condition's column: what was read from the image

# Beside the conditions.
SOURCE = {"image", "subject_id", "split", "mask"}  # of a sample table
STORE = {"source_row", "image", "subject_id", "split", "sha256", "low", "high", "affine"} | {
    column for part in GEOMETRY for dims in AXIS_NAMES for column in geometry_columns(part, dims)
}
SHARD = {"sample_id", "seed", "model_sha256", "sampler"}
# Of a shard where images are asked for by masks: the position in the store of the training image whose mask it is.
MASK_OF = "mask_of"
MASK_FILE = "mask_file_name"
INADEQUATE = "reader inadequate"  # how the note of a metric begins that rests on what the readers cannot read
VERDICT = (
    "requested_probability",
    "conformity",
    "misread_check",
    "nearest_similarity",
    "verdict",
    "reason",
)  # in this order
# How like an image is to the training image most like it, as a whole and in its parts.
LIKENESS = {"whole": "nearest_similarity", "parts": "nearest_similarity_of_parts"}
COPY_LIMITS = ("likeness", "limit")  # of evaluate: from which likeness, a key of LIKENESS, on an image is a copy
JUDGED = {"sample_id", "nearest_image", *VERDICT}
DIGESTS = ("generator_sha256", "config_sha256", "training_data_sha256")
REJECTED = {"sample_id", "synthetic", *VERDICT, *DIGESTS}  # and of the conditions the label alone
FURTHER_FILES = {name: f"file_{name}" for name in registry.RELEASE_FORMATS}  # beside file_name, the first format's
RELEASED = REJECTED | {"seed", "file_name", "rescale_slope", "rescale_intercept", *FURTHER_FILES.values()}
RESERVED = {MASK_OF, MASK_FILE} | SOURCE | STORE | SHARD | JUDGED | REJECTED | RELEASED
