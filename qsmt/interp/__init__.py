"""What networks compute: exactly, and in batches with an error radius."""
