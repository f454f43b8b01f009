"""Trained or fixed judges of images; never a generator's loss."""
