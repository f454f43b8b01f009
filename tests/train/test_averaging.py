import pytest
import torch

from medsynth import config
from medsynth.config.training import EMA_WIDTHS, Training
from medsynth.errors import InputError
from medsynth.train.averaging import move_average, power_of


@pytest.mark.parametrize(("width", "power"), [(0.05, 16.97), (0.10, 6.94), (0.15, 3.56)])
def test_the_power_of_the_ema_profile_is_the_papers(width, power):
    assert power_of(width) == pytest.approx(power, abs=0.01)  # Karras et al. 2024, section C.1 gives the first two


def test_the_average_weighs_each_step_by_its_power():
    # Eq. 121 unrolled: after n steps, step i has the weight i^(g + 1) - (i - 1)^(g + 1), over n^(g + 1).
    power, average = power_of(0.1) + 1, {"w": torch.full((2,), 99.0, dtype=torch.float64)}
    values = [3.0, -1.0, 4.0, 1.0, 5.0]
    for step, value in enumerate(values, start=1):
        move_average(average, {"w": torch.full((2,), value, dtype=torch.float64)}, step, 0.1)
    weights = [(step**power - (step - 1) ** power) / len(values) ** power for step in range(1, len(values) + 1)]
    expected = sum(weight * value for weight, value in zip(weights, values, strict=True))
    assert average["w"].tolist() == pytest.approx([expected] * 2)


def test_the_widest_profile_is_the_mean_of_all_steps():
    assert power_of(12**-0.5) == pytest.approx(0, abs=1e-9)  # gamma = 0: every step has the same weight
    average = {"w": torch.zeros(1, dtype=torch.float64)}
    for step, value in enumerate([3.0, -1.0, 4.0, 1.0], start=1):
        move_average(average, {"w": torch.full((1,), value, dtype=torch.float64)}, step, EMA_WIDTHS[1])
    assert average["w"].item() == pytest.approx(7 / 4)


def test_the_narrowest_profile_is_the_last_step():
    average = {"w": torch.zeros(1)}
    for step in (1, 2, 3):
        move_average(average, {"w": torch.full((1,), float(step))}, step, EMA_WIDTHS[0])
    assert average["w"].item() == 3


@pytest.mark.parametrize("width", [0.289, 0.3, 0.5, 1.0, 1e-7, 1e-200])
def test_a_width_that_no_profile_has_is_refused(width):
    with pytest.raises(InputError, match=r"c: ema: expected a width from 1e-06 to 0\.28868, .*, got"):
        config.parse(Training, {"ema": width}, "c")
    assert config.parse(Training, {"ema": 0.2886}, "c").ema == 0.2886
