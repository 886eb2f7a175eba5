"""What is done to the pixels of a face: conceal, align, draw, smooth, blend, guard."""
