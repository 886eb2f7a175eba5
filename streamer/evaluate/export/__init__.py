"""What was measured of photos, in the forms that other people's benchmarks read."""
