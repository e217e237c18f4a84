"""API requests of the Play page: the active model, rounds and camera frames.

Neither side can cheat. `begin` chooses the machine's hand, and returns only a hash of it. `reveal`
returns the hand once the player's is known, and the page checks it against the hash. The server
keeps no history of a player: the page sends it, and the strategies of the machine read it.
"""

from functools import partial
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from chifoumi_jax.play.game.opponent import Round, Strategy, choose
from chifoumi_jax.play.game.roles import HANDS
from chifoumi_jax.play.http.body import bad_field, read_object, read_picture, text_field
from chifoumi_jax.play.http.errors import Refusal
from chifoumi_jax.play.models import Source
from chifoumi_jax.play.pictures import read_pixels
from chifoumi_jax.play.service import Service


def game_routes(service: Service) -> list[Route]:
    """The routes of these requests, for this server."""
    limits = service.limits
    read_json = partial(read_object, max_bytes=limits.json_bytes, seconds=limits.body_seconds)

    async def model(request: Request) -> JSONResponse:
        return JSONResponse(service.models.as_json())

    async def use(request: Request) -> JSONResponse:
        value = await read_json(request)
        source = _one_of(value, "source", get_args(Source))
        if not service.models.use(source):
            raise Refusal(409, "not-taught", "no model has been taught yet")
        return JSONResponse(service.models.as_json())

    async def begin(request: Request) -> JSONResponse:
        value = await read_json(request)
        strategy: Strategy = _one_of(value, "strategy", get_args(Strategy))
        history = _history(value, limits.history)
        hand = choose(strategy, history, service.rng)
        name, commitment = service.rounds.begin(hand)
        return JSONResponse({"round": name, "commitment": commitment})

    async def reveal(request: Request) -> JSONResponse:
        value = await read_json(request)
        # The player must have chosen. The page says who has won, so the hand itself is not needed.
        _one_of(value, "hand", HANDS)
        committed = service.rounds.reveal(text_field(value, "round"))
        if committed is None:
            raise Refusal(409, "no-round", "there is no such round, or it is over: begin a new one")
        return JSONResponse({"hand": committed.hand, "nonce": committed.nonce})

    async def frame(request: Request) -> JSONResponse:
        # Before the first `await`: another request may make another model the active one.
        classifier = service.models.active.classifier
        # The slot is taken before the picture is read, because it also limits the memory.
        with service.slots.acquire():
            content = await read_picture(request, limits.frame_bytes, limits.body_seconds)
            decode = partial(read_pixels, classifier.recipe, content, limits.frame_pixels)
            prediction = await service.predict(classifier, decode)
            return JSONResponse(prediction.as_json())

    return [
        Route("/api/model", model, methods=["GET"]),
        Route("/api/model", use, methods=["POST"]),
        Route("/api/rounds", begin, methods=["POST"]),
        Route("/api/reveal", reveal, methods=["POST"]),
        Route("/api/frame", frame, methods=["POST"]),
    ]


def _one_of(value: dict[str, Any], name: str, allowed: tuple[Any, ...]) -> Any:
    found = value.get(name)
    if not isinstance(found, str) or found not in allowed:
        raise bad_field(name, f"one of {', '.join(allowed)}")
    return found


def _history(value: dict[str, Any], max_rounds: int) -> list[Round]:
    """The finished rounds that the request lists, oldest first."""
    pairs = value.get("history")
    if not isinstance(pairs, list) or len(pairs) > max_rounds or not all(map(_is_pair, pairs)):
        raise bad_field("history", f"at most {max_rounds} pairs of hands, [player's, machine's]")
    return [Round(*pair) for pair in pairs]


def _is_pair(pair: object) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(isinstance(hand, str) and hand in HANDS for hand in pair)
    )
