"""Our U-Nets (Ronneberger et al. 2015): what they are made of, and the one that harmonizes drawn faces."""
