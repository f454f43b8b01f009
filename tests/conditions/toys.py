"""Toy collections: images of each kind of condition, drawn so that the condition can be seen."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from medsynth.config import Categorical, Lesions, Mask, MultiLabel, Number, Ordinal

FIELDS = {
    "categorical": Categorical(kind="categorical", values=("dark", "bright")),
    "ordinal": Ordinal(kind="ordinal", values=(0, 1, 2, 3, 4)),
    "number": Number(kind="number", range=(0, 50)),
    "multi_label": MultiLabel(kind="multi_label", values=("left", "top")),
    "lesions": Lesions(kind="lesions", most=2, graded=True, kinds=("bright", "dark")),
    "mask": Mask(kind="mask"),
}
STRUCTURES = {"block": 3, "core": 5}
Toy = tuple[np.ndarray, pd.DataFrame, np.ndarray]


def toy(kind: str, count: int, dims: int, side: int, seed: int) -> Toy:
    """uint16 images (n, 1, *spatial), the cells of a field `x`, and masks, which are empty but for the mask's toy."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0.5, 0.03, (count, *[side] * dims))
    masks = np.zeros(images.shape, np.uint8)
    rows = [TOYS[kind](image, mask, rng) for image, mask in zip(images, masks, strict=True)]
    return (images.clip(0, 1) * 65535).astype(np.uint16)[:, None], pd.DataFrame(rows, dtype=str), masks


def _categorical(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> dict[str, str]:
    value = rng.integers(2)
    image += 0.3 * value - 0.15
    return {"x": FIELDS["categorical"].values[value]}


def _ordinal(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> dict[str, str]:
    rank = rng.integers(5)
    image += 0.15 * (rank - 2)
    return {"x": str(rank)}


def _number(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> dict[str, str]:
    value = rng.uniform(0, 50)
    image += 0.4 * (value / 50 - 0.5)
    return {"x": f"{value:.3f}"}


def _multi_label(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> dict[str, str]:
    left, top = rng.random(2) < 0.5
    half = len(image) // 2
    image[..., :half] += 0.25 * left
    image[..., :half, :] -= 0.25 * top
    return {"x": "|".join(name for name, there in (("top", top), ("left", left)) if there) or "no finding"}


def _lesions(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> dict[str, str]:
    """None, one or two balls, one in each half, bright or dark; either slot may come first."""
    side, dims = len(image), image.ndim
    centres = np.stack(np.meshgrid(*[np.arange(side) + 0.5] * dims, indexing="ij")[::-1], -1)  # x first
    names = [*"xyz"[:dims], "size", "severity", "kind"]
    cells = {f"x_{slot}_{name}": "n/a" for slot in (1, 2) for name in names}
    for slot, half in zip((1, 2), rng.permutation(2), strict=True):
        if rng.random() < 0.3:
            continue
        place, size, severity = rng.uniform(0.2, 0.8, dims), rng.uniform(0.2, 0.5), rng.uniform()
        place[0] = 0.5 * half + rng.uniform(0.15, 0.35)
        kind = rng.choice(["bright", "dark"])
        radius = np.linalg.norm(centres - place * side, axis=-1)
        sign = 1 if kind == "bright" else -1
        image += sign * (0.15 + 0.3 * severity) / (1 + np.exp(np.clip(2 * (radius - size * side / 2), -50, 50)))
        numbers = [*(f"{value:.5f}" for value in (*place, size, severity)), kind]
        cells |= {f"x_{slot}_{name}": text for name, text in zip(names, numbers, strict=True)}
    return cells


def _mask(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> dict[str, str]:
    """A box with a brighter core, three to five eighths of the image wide."""
    side = len(image)
    width = int(rng.integers(3 * side // 8, 5 * side // 8 + 1))
    box = tuple(slice(start, start + width) for start in rng.integers(0, side - width + 1, image.ndim))
    core = tuple(slice(part.start + side // 8, part.stop - side // 8) for part in box)
    mask[box], mask[core] = 3, 5
    image[box] += 0.15
    image[core] += 0.2
    return {"other": ""}


TOYS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], dict[str, str]]] = {
    "categorical": _categorical,
    "ordinal": _ordinal,
    "number": _number,
    "multi_label": _multi_label,
    "lesions": _lesions,
    "mask": _mask,
}
