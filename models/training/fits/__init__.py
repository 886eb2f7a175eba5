"""What is fitted in closed form."""
