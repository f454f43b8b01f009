import pytest
import torch

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
