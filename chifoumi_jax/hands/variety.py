"""How much the rendered pictures vary: the ranges that make the data set easier or harder."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Variety:
    """Ranges that pictures are sampled from: angles in degrees, lengths in cm, shares in [0, 1].

    Attributes:
        people: Number of people in each split.
        openness: How far a paper's fingers are spread, as a share.
        opening: How far a scissors' fingers are spread, as a share.
        wrist: How far the wrist bends, as a share of its usual range.
        free_thumb: Share of fists and scissors whose thumb lies beside the fingers, not on them.
        arm_angle: Largest angle of the forearm from upright in the picture, in either direction.
        corner_share: Share of pictures whose arm enters from a lower corner instead.
        corner_angle: Angle of the forearm from upright in those pictures.
        pitch: Largest angle of the fingers towards the camera or away from it.
        yaw: Largest rotation of the hand about its own length, in either direction.
        centre: Largest offset of the hand's middle from the frame's, as a share of the frame.
        height: Height of the hand as a share of the frame's height, for each gesture.
        width: Largest width of the hand as a share of the frame's width, for each gesture.
        field_of_view: Vertical field of view.
        bare_share: Share of bare arms, without a sleeve in the picture.
        contrast: Difference of the light that backdrop and skin reflect, in stops.
        tint: How much the colours of a backdrop's materials differ, in CIE a* and b* at a clutter
            of 1.
        collage: Share of backdrops that are made of several surfaces.
        darker_share: Share of backdrops darker than the skin, for the darkest and the lightest
            skin.
        clutter: Difference of things in the background from the background, in stops.
        distance: Distance from the hand to the surface behind it.
        blur: Blur of the whole picture, standard deviation in per mille of its longer side.
        noise: Standard deviation of the sensor's noise, in levels of 255.
        quality: JPEG quality.
        exposure: Largest error of the exposure, in stops, in either direction.
        long_side: Longer side of the written pictures, in pixels.
        aspects: Width divided by height of the written pictures.
    """

    people: int = 36
    openness: Range = (0.4, 1.0)
    opening: Range = (0.6, 1.0)
    wrist: float = 1.0
    free_thumb: float = 0.0
    arm_angle: float = 16.0
    corner_share: float = 0.08
    corner_angle: Range = (22.0, 32.0)
    pitch: float = 16.0
    yaw: float = 16.0
    centre: float = 0.04
    height: tuple[tuple[str, Range], ...] = (
        ("paper", (0.62, 0.75)),
        ("rock", (0.42, 0.52)),
        ("scissors", (0.58, 0.72)),
    )
    width: tuple[tuple[str, float], ...] = (("paper", 0.64), ("rock", 0.48), ("scissors", 0.56))
    field_of_view: Range = (32.0, 58.0)
    bare_share: float = 0.4
    contrast: Range = (1.7, 2.8)
    tint: float = 9.0
    collage: float = 0.0
    darker_share: Range = (0.6, 0.92)
    clutter: Range = (0.06, 0.35)
    distance: Range = (4.0, 30.0)
    blur: Range = (0.7, 1.8)
    noise: Range = (0.5, 4.0)
    quality: tuple[int, int] = (70, 95)
    exposure: float = 0.25
    long_side: tuple[int, int] = (320, 720)
    aspects: tuple[float, ...] = (1.0, 1.0, 4 / 3, 4 / 3, 3 / 4, 3 / 2, 5 / 4, 4 / 5)


VARIETY = Variety()

WILD = Variety(
    openness=(0.0, 1.0),
    opening=(0.35, 1.0),
    wrist=2.0,
    free_thumb=0.4,
    arm_angle=90.0,
    pitch=50.0,
    yaw=45.0,
    centre=0.12,
    height=(("paper", (0.45, 0.9)), ("rock", (0.3, 0.7)), ("scissors", (0.45, 0.9))),
    width=(("paper", 0.85), ("rock", 0.7), ("scissors", 0.8)),
    bare_share=0.6,
    contrast=(0.0, 3.0),
    tint=18.0,
    collage=0.6,
    darker_share=(0.3, 0.6),
    clutter=(0.1, 1.3),
    distance=(1.0, 60.0),
    blur=(0.0, 4.0),
    noise=(0.5, 8.0),
    quality=(40, 95),
    exposure=1.0,
    long_side=(160, 224),
)
"""For training a model that must work on photos: many views, any background, any light."""
