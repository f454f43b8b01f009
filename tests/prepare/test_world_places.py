"""Places in mm and volumes in ml, from a file through the store to the file that is handed over."""

import gzip

import nibabel
import numpy as np
import pytest

from medsynth.errors import InputError
from medsynth.release.formats import NIFTI, Encoder, typical_affine
from medsynth.release.intensity import grey_scale

SIZE = (32, 28, 24)  # of the store, (z, y, x)


def turn(degrees: float, first: int, second: int) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    whole = np.eye(3)
    whole[[first, first, second, second], [first, second, first, second]] = [c, -s, s, c]
    return whole


# (x, y, z) of the file → mm, RAS+: directions and voxel sizes.
GRIDS = {
    "ras": (np.eye(3), (1.5, 1.5, 1.5)),
    "lps": (np.diag([-1.0, -1, 1]), (1.5, 1.2, 2.0)),
    "asl, anisotropic": (np.array([[0, 0, -1.0], [1, 0, 0], [0, 1, 0]]), (0.8, 0.9, 4.0)),
    "oblique": (turn(25, 0, 1) @ turn(15, 1, 2), (1.1, 1.4, 2.2)),
    "oblique lps, anisotropic": (turn(-30, 0, 2) @ turn(10, 0, 1) @ np.diag([-1.0, -1, 1]), (0.7, 0.7, 3.0)),
}
BOX_MM = 54.0
CENTRE = np.array([12.0, -30.0, 45.0])  # of the volume, mm


def grid(name: str) -> tuple[tuple[int, ...], np.ndarray]:
    directions, sizes = GRIDS[name]
    shape = tuple(round(BOX_MM / mm) for mm in sizes)
    affine = np.eye(4)
    affine[:3, :3] = directions * sizes
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return shape, affine


def places(index: int) -> np.ndarray:
    """(2, 3) two points of a subject in mm."""
    shift = np.array([index % 5 - 2, index // 5 - 2, index % 3 - 1]) * 2.0
    return CENTRE + shift + np.array([[-9.0, -6, 7], [8, 5, -8]])


def make(collection, name: str, radius: float, frames: int = 1) -> np.ndarray:
    """Volumes with two balls, which their masks outline as 1 and 2; returns the volumes of these in ml, (rows, 2)."""
    shape, affine = grid(name)
    world = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.indices(shape)) + affine[:3, 3, None, None, None]
    found = []
    for index, row in enumerate(collection.rows):
        away = [np.linalg.norm(world - place[:, None, None, None], axis=0) for place in places(index)]
        labels = np.select([away[0] < radius, away[1] < radius], [1, 2]).astype(np.uint8)
        voxels = np.where(labels > 0, 800, -700).astype(np.int16)
        if frames > 1:
            voxels = np.stack([*[np.zeros_like(voxels)] * (frames - 1), voxels], -1)
        row |= {"image": f"{index}.nii.gz", "mask": f"{index}_mask.nii.gz"}
        nibabel.save(nibabel.Nifti1Image(voxels, affine), collection.folder / row["image"])
        nibabel.save(nibabel.Nifti1Image(labels, affine), collection.folder / row["mask"])
        voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
        found.append([(labels == label).sum() * voxel_ml for label in (1, 2)])
    return np.array(found)


def released(store, row: int) -> tuple[nibabel.Nifti1Image, nibabel.Nifti1Image]:
    """A stored image and its mask as release writes them, at the place that they have in the store."""
    encoder = Encoder(grey_scale(store), store.affine(row), {})
    image = encoder.encode(NIFTI, store.images[row], "sample")
    mask = encoder.encode_mask(NIFTI, store.masks[row], "sample")
    return tuple(nibabel.Nifti1Image.from_bytes(gzip.decompress(data)) for data in (image, mask))


def middle(weights: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The centre of mass in mm."""
    voxel = [np.average(axis, weights=weights) for axis in np.indices(weights.shape)]
    return affine[:3, :3] @ voxel + affine[:3, 3]


@pytest.mark.parametrize("name", GRIDS)
def test_places_and_volumes_survive_from_file_to_file(collection, name) -> None:
    volumes_ml = make(collection, name, radius=8.0)
    store = collection.prepare(modality="ct_volume", size=SIZE)
    assert len(store) == len(collection.rows)
    for row in range(0, len(store), 4):
        index = int(store.samples["source_row"][row]) - 1
        image, mask = released(store, row)
        half_voxel = max(store.spacing_mm(row)) / 2
        hounsfield, labels = image.get_fdata(), np.asarray(mask.dataobj)
        for label, place in enumerate(places(index), start=1):
            nearby = hounsfield * (np.linalg.norm(distance(image) - place[:, None, None, None], axis=0) < 11)
            assert np.linalg.norm(middle(np.where(nearby > 0, nearby, 0), image.affine) - place) < half_voxel
            assert np.linalg.norm(middle(labels == label, mask.affine) - place) < half_voxel
        found_ml = np.array([(labels == label).sum() for label in (1, 2)]) * np.prod(mask.header.get_zooms()) / 1000
        assert found_ml == pytest.approx(volumes_ml[index], rel=0.02)


def distance(image: nibabel.Nifti1Image) -> np.ndarray:
    """(3, x, y, z) the place of each voxel in mm."""
    voxels = np.indices(image.shape)
    return np.einsum("ij,jxyz->ixyz", image.affine[:3, :3], voxels) + image.affine[:3, 3, None, None, None]


def test_what_is_released_states_its_place_in_both_forms(collection) -> None:
    make(collection, "oblique lps, anisotropic", radius=8.0)
    store = collection.prepare(modality="ct_volume", size=SIZE)
    image, mask = released(store, 0)
    own = store.affine(0)[:, [2, 1, 0, 3]]
    for file, dtype in ((image, np.int16), (mask, np.uint8)):
        header = file.header
        assert header.get_data_dtype() == dtype and header.get_xyzt_units()[0] == "mm"
        np.testing.assert_allclose(header.get_sform(coded=True)[0], own, atol=1e-4)
        np.testing.assert_allclose(header.get_qform(coded=True)[0], own, atol=1e-4)
        assert header["sform_code"] == header["qform_code"] == 2
        assert header.get_zooms() == pytest.approx(store.spacing_mm(0)[::-1], rel=1e-5)
        assert nibabel.aff2axcodes(file.affine) == ("R", "A", "S")
    # A synthetic volume belongs to no scanner: its middle is at the origin, its axes are the world's.
    typical = typical_affine(store)
    np.testing.assert_allclose(typical @ [*((np.array(SIZE) - 1) / 2), 1], [0, 0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(typical[:3, :3], axis=0), store.spacing_mm(0), rtol=1e-5)


def test_the_chosen_volume_of_4d_files_is_stored(collection) -> None:
    make(collection, "oblique", radius=8.0, frames=3)
    chosen = collection.prepare(modality="ct_volume", size=SIZE, frame=2)
    assert not collection.rejected() and chosen.intensities().max() > 0.7
    with pytest.raises(InputError, match=r"3 volumes, expected one, or a name that ends in #0 to #2; source\.frame: 0"):
        collection.prepare(modality="ct_volume", size=SIZE)
