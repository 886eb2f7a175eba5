"""Networks on aligned crops, `(N, 3, S, S)`. Knows nothing of video."""
