"""The questions behind every figure of README and docs: one a file, run from the root of the repository."""
