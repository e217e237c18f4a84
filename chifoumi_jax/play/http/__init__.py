"""The HTTP layer of the game: limits and checks that run before a request is handled."""
