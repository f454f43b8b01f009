import numpy as np
import pandas as pd
import pytest

from medsynth.conditions import regions
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Lesions, Number


def test_the_surroundings_of_each_row_are_twice_as_wide_as_its_lesions():
    fields = {"age_years": Number(kind="number", range=(0, 100)), "lesion": Lesions(kind="lesions", most=2)}
    schema = ConditionSchema(fields, 2)
    cells = {"lesion_1_x": ["0.25", "n/a"], "lesion_1_y": ["0.5", "n/a"], "lesion_1_size": ["0.1", "n/a"]}
    cells |= {"lesion_2_x": ["0.75", ""], "lesion_2_y": ["0.5", ""], "lesion_2_size": ["0.2", ""]}
    about = regions.surroundings(schema, pd.DataFrame(cells), (40, 60))
    assert about.shape == (2, 40, 60) and not about[1].any()
    widths = [int(about[0, :, part].any(0).sum()) for part in (slice(0, 30), slice(30, 60))]
    assert widths == pytest.approx([2 * 0.1 * 60, 2 * 0.2 * 60], abs=1)  # sizes are fractions of the width
    without = ConditionSchema({"age_years": fields["age_years"]}, 2)
    assert not regions.surroundings(without, pd.DataFrame({"age_years": ["1"]}), (8, 8)).any()


def test_the_region_fades_within_the_surroundings_and_is_whole_on_the_lesion():
    y, x = np.mgrid[:65, :65]
    radius = np.hypot(x - 32, y - 32)
    region = regions.fading(radius <= 20)
    assert region.dtype == np.float32 and not region[radius > 20].any()
    assert (region[radius <= 10] == 1).all()
    assert region[32, 32 + 15] == pytest.approx(0.5, abs=0.05) and 0 < region[32, 32 + 20] < 0.15
    assert (regions.fading(np.ones((4, 4), bool)) == 1).all()
    assert (regions.fading(x < 20)[:, 0] == 1).all()  # the image's border is no edge
