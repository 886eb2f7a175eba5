"""`veil evaluate tables`: the paper's tables and figures."""
