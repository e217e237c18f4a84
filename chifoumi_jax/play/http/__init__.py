"""The HTTP side of the game: requests are limited and checked before anything is done."""
