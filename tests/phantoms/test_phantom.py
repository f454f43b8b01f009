"""What every phantom keeps to."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from medsynth import registry
from medsynth.config import ConditionField
from medsynth.config.columns import lesion_columns
from medsynth.errors import InputError
from medsynth.images.modalities import MODALITIES
from medsynth.phantoms.phantom import Phantom, PhantomImage


@pytest.mark.parametrize("name", registry.PHANTOMS)
def test_a_phantom_describes_itself_as_a_configuration_does(name):
    phantom = registry.PHANTOMS[name].load()
    dims = MODALITIES[phantom.modality].spatial_dims
    for field in phantom.conditions.values():
        TypeAdapter(ConditionField).validate_python(field)
    image = phantom.render(0, (32,) * dims)
    expected = {key for key, field in phantom.conditions.items() if field["kind"] != "lesions"}
    if any(field["kind"] == "lesions" for field in phantom.conditions.values()):
        expected |= set(lesion_columns("lesion", dims, 1, False, False)[0])
    assert set(image.conditions) == expected
    numbers = sorted(phantom.structures.values())
    assert numbers == list(range(1, len(numbers) + 1))
    channels = MODALITIES[phantom.modality].channels
    assert image.voxels.shape == (channels, *image.labels.shape) == (channels, *[32] * dims)
    assert (image.voxels.dtype, image.labels.dtype) == (np.float32, np.uint8)
    assert phantom.window[0] <= image.voxels.min() < image.voxels.max() <= phantom.window[1]


@pytest.mark.parametrize("name", registry.PHANTOMS)
def test_a_seed_decides_the_bits(name):
    phantom = registry.PHANTOMS[name].load()
    size = (24,) * MODALITIES[phantom.modality].spatial_dims
    one, again, other = (phantom.render(seed, size) for seed in (3, 3, 4))
    assert np.array_equal(one.voxels, again.voxels) and np.array_equal(one.labels, again.labels)
    assert one.conditions == again.conditions and not np.array_equal(one.voxels, other.voxels)


def test_an_ordinal_condition_is_set_by_one_of_its_grades():
    grades = {"grade": {"kind": "ordinal", "values": ["0", "1", "2"]}}
    blank = np.zeros((1, 16, 16), np.float32)
    phantom = Phantom("mri", grades, {}, lambda _, size, asked: PhantomImage(blank, blank[0], dict(asked)))
    assert phantom.render(0, (16, 16), grade="1").conditions == {"grade": "1"}
    with pytest.raises(InputError, match="grade = '3', expected one of"):
        phantom.render(0, (16, 16), grade="3")
