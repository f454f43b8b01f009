import numpy as np
import pytest

from medsynth.train.overfitting import overfitted_from


def history(held_out: list[float], total: list[float]) -> list[dict[str, float]]:
    """A row for each 100 images, a validation at every second one."""
    rows = []
    for number, loss in enumerate(total, start=1):
        validated = number % 2 == 0
        value = held_out[number // 2 - 1] if validated else np.nan
        rows.append({"images_seen": 100 * number, "total": loss, "val_loss": value})
    return rows


FALLING = list(np.linspace(1, 0.2, 12))


def test_a_held_out_loss_that_rises_while_the_training_loss_falls_says_from_where():
    assert overfitted_from(history([0.9, 0.7, 0.6, 0.65, 0.7, 0.8], FALLING)) == 600


@pytest.mark.parametrize(
    ("held_out", "total"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], FALLING),  # falls to the end
        ([0.9, 0.7, 0.6, 0.603, 0.602, 0.604], FALLING),  # rests, within its noise
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.8], FALLING),  # one validation alone
        ([0.9, 0.7, 0.6, 0.65, 0.7, 0.8], FALLING[::-1]),  # both rise: the training broke down
        ([np.nan] * 6, FALLING),  # a family without a score
    ],
)
def test_anything_else_is_not_called_so(held_out, total):
    assert overfitted_from(history(held_out, total)) is None


def test_too_short_a_training_says_nothing():
    assert overfitted_from([]) is None
    assert overfitted_from(history([0.5, 0.9], FALLING[:4])) is None
