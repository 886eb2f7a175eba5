"""What is measured of a face or a picture, by any evaluation."""
