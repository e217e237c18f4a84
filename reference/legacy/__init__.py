"""Scripts for the software of 2018, and the golden files that they wrote."""
