"""How like held-out images are to what a model makes of them through its latent; nothing of a family that does not.

The floor is what the nearest training image gives in the place of a reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from medsynth.artifacts.store import to_intensity
from medsynth.evaluate import similarity
from medsynth.evaluate.metrics.metric import NAN, Evidence, Metric, Row, statistic_row
from medsynth.images.content import DARK

Measure = Callable[[np.ndarray, np.ndarray], float]
NOTE = "of held-out images, range 2; floor: the nearest training image in their place"


def foreground(real: np.ndarray) -> np.ndarray:
    """(*spatial) which voxels of (C, *spatial) in [-1, 1] are not dark."""
    return real.max(0) > 2 * DARK - 1


def _rows(name: str, of: Measure, note: str, evidence: Evidence) -> Iterator[Row]:
    """One measure, for all images and for each group of them."""
    compared = evidence.reconstructions
    assert compared is not None
    made, floor = (
        np.array([of(*map(to_intensity, pair)) for pair in zip(compared.real, other, strict=True)])
        for other in (compared.made, compared.nearest)
    )
    table = evidence.test.table.iloc[compared.rows]
    for group in evidence.groups():
        chosen = group.rows(table) & np.isfinite(made)
        if chosen.any():
            row = statistic_row((name, True), group.name, np.mean, [made[chosen]], [floor[chosen]], evidence)
            yield replace(row, note="; ".join(filter(None, (row.note, note))))
        else:
            count = int(chosen.sum())
            yield Row(name, group.name, NAN, NAN, NAN, NAN, count, count, True, "no held-out image of it")


def _with_foreground(name: str, of: Callable[..., float], evidence: Evidence) -> Iterator[Row]:
    """A measure of whole images and, of volumes, of the voxels that are not dark."""
    yield from _rows(name, of, NOTE, evidence)
    if len(evidence.shape) == 3:
        within = partial(_of_foreground, of)
        yield from _rows(f"{name}_foreground", within, f"{NOTE}; voxels that are not dark", evidence)


def _of_foreground(of: Callable[..., float], real: np.ndarray, made: np.ndarray) -> float:
    return of(real, made, foreground(real))


def _too_small(name: str, needed: int, evidence: Evidence) -> Row:
    compared = evidence.reconstructions
    count = 0 if compared is None else len(compared.rows)
    note = f"images of {' x '.join(map(str, evidence.shape))}, expected sides of at least {needed}"
    return Row(name, "all", NAN, NAN, NAN, NAN, count, count, True, note)


def _psnr_rows(evidence: Evidence) -> Iterator[Row]:
    if evidence.reconstructions is not None:
        yield from _with_foreground("psnr", similarity.psnr, evidence)


def _ssim_rows(evidence: Evidence) -> Iterator[Row]:
    if evidence.reconstructions is None:
        return
    if min(evidence.shape) < similarity.WINDOW:
        yield _too_small("ssim", similarity.WINDOW, evidence)
    else:
        yield from _with_foreground("ssim", similarity.ssim, evidence)


def _ms_ssim_rows(evidence: Evidence) -> Iterator[Row]:
    if evidence.reconstructions is None:
        return
    scales = similarity.scales_that_fit(evidence.shape)
    if scales < 2:
        yield _too_small("ms_ssim", 2 * similarity.WINDOW, evidence)
    else:
        note = f"{NOTE}; {scales} of {len(similarity.SCALE_WEIGHTS)} scales fit"
        yield from _rows("ms_ssim", similarity.ms_ssim, note, evidence)


RECONSTRUCTIONS = frozenset({"reconstructions"})
PSNR = Metric(RECONSTRUCTIONS, _psnr_rows)
SSIM = Metric(RECONSTRUCTIONS, _ssim_rows)
MS_SSIM = Metric(RECONSTRUCTIONS, _ms_ssim_rows)
