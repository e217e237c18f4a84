"""How much the server takes from anyone."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is more is refused, before it is decoded or kept.

    Attributes:
        frame_bytes: Of a frame of the webcam.
        frame_pixels: Its width times height.
        photo_bytes: Of a photo.
        photo_pixels: Its width times height; phones make up to 50 million.
        json_bytes: Of any other request.
        waiting: Requests with a picture that may be on their way at once.
        batch: Pictures that the model is asked about at once.
        header_seconds: In which a request's headers must have come, once a client has connected.
        body_seconds: In which a request's body must have come.
        rounds: That may have begun and not ended; the oldest is forgotten.
        history: Past rounds that the opponent looks at.
        classes: That can be taught.
        frames: Of each of them.
    """

    frame_bytes: int = 1_000_000
    frame_pixels: int = 4_000_000
    photo_bytes: int = 20_000_000
    photo_pixels: int = 50_000_000
    json_bytes: int = 20_000
    waiting: int = 16
    batch: int = 8
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    rounds: int = 256
    history: int = 300
    classes: int = 12
    frames: int = 300
