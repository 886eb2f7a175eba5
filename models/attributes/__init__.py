"""Sex, age and skin tone of a face."""
