"""The ladder for the study's own models: three ports, four originals, and the planted faults."""
