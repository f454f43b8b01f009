"""Simulated patients whose true conditions are known: one module a body part, and the table of all of them."""

from medsynth.phantoms.chest_xray import CHEST_XRAY
from medsynth.phantoms.phantom import Phantom, PhantomImage

PHANTOMS: dict[str, Phantom] = {
    "chest_xray": CHEST_XRAY,
}

__all__ = ["PHANTOMS", "Phantom", "PhantomImage"]
