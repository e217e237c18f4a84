"""Makes `docs/{play,photos,teach}{,-phone}.jpg`: screenshots of the pages with rendered hands.

python docs/make_screenshots.py [RUN]

RUN is the folder of a run that was trained on rendered hands; the packaged model if not given.
Needs Debian's Chromium.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from chifoumi_jax.builtin import NAME
from tests.hands import hand_or_nothing
from tests.playing import chromium, chromium_options, show, start_server

SIZES = {"": (1280, 800), "-phone": (390, 844)}
FOLDER = Path("docs")


def main(run: str) -> None:
    """Use the three pages at each size, and save a screenshot of each."""
    model = Path(run) if run == NAME else Path(run).absolute()
    with (
        tempfile.TemporaryDirectory() as temporary,
        start_server(model, "--port", "0", "--seed", "1", cwd=Path(temporary)) as started,
        sync_playwright() as playwright,
    ):
        camera = Path(temporary) / "camera.y4m"
        show(camera, _hand("scissors", 503))
        options = chromium_options(camera, "--use-fake-ui-for-media-stream")
        browser = playwright.chromium.launch(executable_path=chromium(), args=options)
        for suffix, (width, height) in SIZES.items():
            context = browser.new_context(
                viewport={"width": width, "height": height},
                permissions=["camera"],
                locale="en",
                color_scheme="dark" if suffix else "light",
                has_touch=bool(suffix),
                is_mobile=bool(suffix),
                device_scale_factor=2 if suffix else 1,
            )
            context.set_default_timeout(120_000)
            page = context.new_page()
            url = started.address.url
            _play(page, url, camera)
            _save(page, f"play{suffix}")
            _classify_photos(page, url)
            _save(page, f"photos{suffix}")
            _teach(page, url, camera)
            _save(page, f"teach{suffix}")
            context.close()


def _hand(gesture: str, seed: int) -> Image.Image:
    return hand_or_nothing(gesture, seed, 400)


def _play(page: Page, url: str, camera: Path) -> None:
    show(camera, _hand("scissors", 503))
    page.goto(url)
    for number in range(2):
        expect(page.locator("#guide")).to_have_attribute("data-state", "sure", timeout=120_000)
        page.locator("#go").click()
        expect(page.locator("#rounds li")).to_have_count(number + 1, timeout=120_000)
    page.wait_for_timeout(1_000)


def _classify_photos(page: Page, url: str) -> None:
    page.goto(f"{url}photos")
    page.get_by_role("button", name="Try it with drawn hands").click()
    expect(page.locator(".result")).to_have_count(3, timeout=120_000)
    page.wait_for_timeout(1_000)


def _teach(page: Page, url: str, camera: Path) -> None:
    page.goto(f"{url}teach")
    cards = page.locator(".pupil")
    expect(cards).to_have_count(2)
    if cards.nth(0).locator(".count").inner_text() == "0 pictures":
        for place, (name, gesture) in enumerate((("Fist", "rock"), ("Flat hand", "paper"))):
            card = cards.nth(place)
            card.get_by_role("textbox").fill(name)
            card.get_by_role("textbox").press("Enter")
            for seed in range(506, 512):
                show(camera, _hand(gesture, seed))
                page.wait_for_timeout(400)
                card.locator("button.primary").hover()
                page.mouse.down()
                page.wait_for_timeout(500)
                page.mouse.up()
                page.wait_for_timeout(300)
        page.get_by_role("button", name="Learn in seconds").click()
        expect(page.locator("#job-text")).to_have_text("Learnt. Try it now.", timeout=240_000)
    show(camera, _hand("rock", 506))
    expect(page.locator("#seen")).to_be_visible(timeout=120_000)
    page.wait_for_timeout(3_000)


def _save(page: Page, name: str) -> None:
    page.evaluate("scrollTo(0, 0)")
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(FOLDER / f"{name}.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:2] or [NAME])
