"""Requests of the page that teaches."""

from starlette.routing import Route

from chifoumi_jax.play.service import Service


def teach_routes(service: Service) -> list[Route]:
    """The teaching part of the API."""
    return []
