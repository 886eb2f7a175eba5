"""What trainers read, and what is done to it."""
