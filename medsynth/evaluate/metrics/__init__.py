"""One module a group of metrics; `registry.METRICS` names them."""
