"""Face recognisers, and the crop each takes."""
