"""A trained model in few bytes: quantised, packed, compressed, and read back."""
