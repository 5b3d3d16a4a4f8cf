"""The conductor: the super conductor of the top level, the cell conductors, and the converger."""
