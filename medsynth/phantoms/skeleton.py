"""Bones of the torso, and the arteries of the lungs, as tubes in the patient's frame (see `torso`)."""

from __future__ import annotations

from functools import cache

import numpy as np

from medsynth.phantoms import projection as pj
from medsynth.phantoms.torso import Torso

COMPACT = pj.MU_CORTICAL - pj.MU_SOFT  # what compact bone adds to the tissue it replaces, 1/cm
VERTEBRA = 0.26  # share of compact bone within a vertebral body
RIB = 0.8  # within a rib: a cortical shell about marrow
SHAFT = 0.65  # within clavicle, scapula and humerus
RIB_END = (2.2, 2.35, 2.4, 2.4, 2.4, 2.35, 2.3, 2.15, 2.0, 1.9, 1.5, 1.0)  # angle from the spine where cartilage begins


def pitch(torso: Torso) -> float:
    """From one vertebra to the next in cm: twelve between the apex of the lungs and the costophrenic angles."""
    return torso.height / 11.8


def vertebral_mu(torso: Torso, y: np.ndarray) -> np.ndarray:
    """What the vertebral column adds to the tissue it replaces, in 1/cm at heights y: soft discs, dense end plates."""
    phase = (y / pitch(torso)) % 1
    disc = 0.2
    body = np.clip((phase - disc) / 0.08, 0.25, 1) * np.clip((1 - phase) / 0.08, 0.25, 1)
    plate = np.exp(-(((phase - disc - 0.06) / 0.05) ** 2)) + np.exp(-(((phase - 0.94) / 0.05) ** 2))
    return (COMPACT * torso.mineral * (VERTEBRA * body + 0.12 * plate)).astype(np.float32)


def bones(torso: Torso, pixel: float) -> list[pj.Tubes]:
    """Ribs, clavicles, scapulae, humeri and the arches of the vertebrae; finer for a smaller pixel (cm)."""
    n = int(1.6 * torso.width / pixel)
    mu = COMPACT * torso.mineral
    return [ribs(torso, n, mu, pixel), *girdle(torso, n // 2, mu, pixel), *arches(torso, mu, pixel)]


def strands(radius: float, pixel: float) -> int:
    return max(1, int(np.ceil(2.5 * radius / pixel)))


def rib_lines(torso: Torso, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twelve ribs of the right side that hug the lungs from the spine round the flank, falling to the front.

    Returns:
        points (12, n, 3) as (x, y, z), radius (12, n), and the bony share (12, n), which ends where cartilage begins.
    """
    k = np.arange(12)[:, None]
    end = np.array(RIB_END)[:, None]
    angle = 0.13 + (end - 0.13) * np.linspace(0, 1, n)
    drop = torso.rib_drop * torso.width * (0.6 + 0.4 * np.minimum(k / 7, 1))
    y = (k + 0.15) * pitch(torso) + drop * (1 - np.cos(angle)) / 2 * 1.25
    lateral, _, depth = torso.edges(y)
    margin = 0.012 * torso.width
    x, z = (lateral + margin) * np.sin(angle), -(depth + margin) * np.cos(angle)
    radius = torso.width * np.where(k == 0, 0.021, 0.0175)
    bony = np.clip((end - angle) / 0.12, 0, 1)
    return np.stack([-x, y, z], -1), np.broadcast_to(radius, y.shape), bony


def ribs(torso: Torso, n: int, mu: float, pixel: float) -> pj.Tubes:
    """Twelve pairs."""
    right, radius, bony = rib_lines(torso, n)
    points = np.concatenate([right, right * (-1, 1, 1)])
    weight = np.concatenate([bony, bony]) * mu * RIB
    return pj.tube(points, np.tile(radius, (2, 1)), 0.022 * torso.width, weight, strands(radius.max(), pixel))


@cache
def bend(knots: int, n: int) -> np.ndarray:
    """The matrix (n, knots) that carries equidistant knots to n points of the polynomial through them."""
    at = np.linspace(0, 1, knots)
    return np.vander(np.linspace(0, 1, n), knots) @ np.linalg.inv(np.vander(at, knots))


def girdle(torso: Torso, n: int, mu: float, pixel: float) -> list[pj.Tubes]:
    """Clavicles, scapulae and humeri."""
    w, h = torso.width, torso.height
    arm = np.array([np.sin(torso.arm), np.cos(torso.arm)])
    socket = np.array([0.60 * w, 0.05 * h])
    elbow = socket + arm * 1.2 * w
    ball = np.sqrt(1 - np.linspace(-0.99, 0.99, n) ** 2)
    lines = (  # (x, y) knots on the patient's left, radius and half-depth as shares of the width
        ([(0.05 * w, 0.11 * h), (0.2 * w, 0.055 * h), (0.4 * w, -0.01 * h), (0.58 * w, -0.035 * h)], 0.024, 0.026),
        ([(0.37 * w, 0.03 * h), (0.48 * w, 0.0), (0.63 * w, -0.03 * h)], 0.018, 0.012),
        ([(0.56 * w, 0.10 * h), (0.50 * w, 0.24 * h), (0.45 * w, 0.42 * h)], 0.016, 0.015),
        ([(0.45 * w, 0.42 * h), (0.38 * w, 0.24 * h), (0.37 * w, 0.03 * h)], 0.010, 0.006),
        ([tuple(socket - 0.03 * w * arm), tuple(socket + 0.06 * w * arm)], 0.055 * ball, 0.035),
        ([tuple(socket), tuple(elbow)], 0.032, 0.022),
    )
    tubes = []
    for knots, radius, depth in lines:
        x, y = (bend(len(knots), n) @ np.array(knots)).T
        pair = np.stack([np.stack([side * x, y, 0 * y], -1) for side in (-1, 1)])
        fine = strands(float(np.max(radius)) * w, pixel)
        tubes.append(pj.tube(pair, radius * w, depth * w, mu * SHAFT, fine))
    return tubes


def arches(torso: Torso, mu: float, pixel: float) -> list[pj.Tubes]:
    """Pedicles and spinous processes of the vertebrae, from the neck to the loins."""
    step, half = pitch(torso), 0.052 * torso.width
    rows = (np.arange(-6, 16) + 0.45) * step
    along = np.linspace(-0.16, 0.16, 8) * step
    tubes = []
    for x, drop, radius in ((-0.72 * half, 0, 0.17), (0.72 * half, 0, 0.17), (0.0, 0.35 * step, 0.14)):
        y = rows[:, None] + drop + along
        points = np.stack([np.full_like(y, x), y, np.zeros_like(y)], -1)
        width = radius * half
        tubes.append(pj.tube(points, width, 0.5 * half, mu * SHAFT, strands(width, pixel)))
    return tubes


def arteries(torso: Torso, pixel: float) -> list[pj.Tubes]:
    """Branching arteries of both lungs; each fork divides as r^3 = 2 r'^3 (Murray 1926, PNAS 12:207)."""
    w, h = torso.width, torso.height
    rng = np.random.default_rng(torso.tree)
    fan = np.radians([-75, -35, 5, 40, 75])
    hilum = (torso.mediastinum + 0.015) * w
    start = np.repeat([[-hilum, 0.47 * h, 0.0], [hilum, 0.44 * h, 0.0]], len(fan), axis=0)
    aim = np.concatenate([np.stack([side * np.cos(fan), np.sin(fan), 0.2 * fan], -1) for side in (-1, 1)])
    aim += 0.15 * rng.standard_normal(aim.shape)
    radius, length = 0.019 * w, 0.105 * w
    tubes = []
    for _ in range(6):
        aim /= np.linalg.norm(aim, axis=-1, keepdims=True)
        reach = length * rng.uniform(0.7, 1.3, (len(aim), 1, 1))
        at = np.linspace(0, 1, 2 + int(1.5 * length / pixel))[:, None]
        points = start[:, None] + reach * at * aim[:, None]
        tubes.append(pj.tube(points, radius, radius, pj.MU_SOFT - pj.MU_LUNG, strands(radius, pixel)))
        turn = 0.45 * rng.standard_normal(aim.shape)
        start = np.repeat(points[:, -1], 2, axis=0)
        aim = np.concatenate([aim[:, None] + turn[:, None], aim[:, None] - turn[:, None]], 1).reshape(-1, 3)
        radius, length = radius * 0.5 ** (1 / 3), length * 0.82
    return tubes
