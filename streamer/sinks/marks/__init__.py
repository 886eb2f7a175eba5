"""What outputs say of themselves: that faces in them were generated."""
