"""The board: what the lattice adds, beside everything simpler that trains on the same rows. See `__main__`."""
