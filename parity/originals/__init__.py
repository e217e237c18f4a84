"""The study's originals, on today's software and as recorded with the software of 2018."""
