"""Limits on what clients can send and keep on the server."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Requests over a limit are refused before their content is decoded or stored.

    Attributes:
        frame_bytes: Size of a webcam frame, in bytes.
        frame_pixels: Width times height of a webcam frame.
        photo_bytes: Size of a photo, in bytes.
        photo_pixels: Width times height of a photo; phones make up to 50 million pixels.
        json_bytes: Size of the body of any other request, in bytes.
        picture_requests: Concurrent requests that carry a picture.
        batch: Pictures in one batch of the model.
        header_seconds: Time in which a request's headers must arrive, once a client has connected.
        body_seconds: Time in which a request's body must arrive.
        rounds: Open rounds; above this number, the oldest round is dropped.
        history: Past rounds that a request can list for the opponent.
        classes: Classes that can be taught.
        frames: Pictures of each of these classes.
    """

    frame_bytes: int = 1_000_000
    frame_pixels: int = 4_000_000
    photo_bytes: int = 20_000_000
    photo_pixels: int = 50_000_000
    json_bytes: int = 20_000
    picture_requests: int = 16
    batch: int = 8
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    rounds: int = 256
    history: int = 300
    classes: int = 12
    frames: int = 300
