"""Terms of a loss beside a family's own, one module each; `terms` holds what a model chose of them."""
