"""The study's originals, on today's software and as recorded on the software of 2018."""
