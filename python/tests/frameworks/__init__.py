"""Apps of real frameworks, called through a real gateway."""
