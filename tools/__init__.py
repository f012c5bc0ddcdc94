"""Tools of the maintainers: checks, locks and notes of a release."""
