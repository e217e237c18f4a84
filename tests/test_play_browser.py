"""The pages in a real browser, with a fake camera before which rendered hands are held."""

import random
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from chifoumi_jax.play.game.opponent import beats, choose
from chifoumi_jax.play.game.roles import HANDS, Hand
from tests.hands import hand_or_nothing
from tests.playing import (
    Address,
    Started,
    chromium,
    chromium_options,
    jpeg,
    serving,
    show,
    start,
)

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser: install Debian's package chromium"
)

# Hands that the tests' model did not learn from.
SEED = 503
SLOW = 60_000


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    show(path, hand_or_nothing("nothing", SEED))
    return path


@pytest.fixture(scope="module")
def browsers(camera: Path) -> Iterator[dict[str, Browser]]:
    """One with a camera, one that is asked for it in vain, one without."""
    with sync_playwright() as playwright:
        options = {
            "camera": chromium_options(camera, "--use-fake-ui-for-media-stream"),
            "denied": chromium_options(camera, "--deny-permission-prompts"),
            "none": chromium_options(None, "--use-fake-ui-for-media-stream"),
        }
        yield {
            name: playwright.chromium.launch(executable_path=CHROMIUM, args=args)
            for name, args in options.items()
        }


@pytest.fixture(scope="module")
def shared(hands_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with serving(hands_run, tmp_path_factory.mktemp("browser") / "runs") as (found, _):
        yield found


@pytest.fixture
def server(shared: Address) -> Iterator[Address]:
    """The shared one, with the model that it began with."""
    yield shared
    shared.ask("POST", "/api/model", {"source": "given"})


def open_page(context: BrowserContext, url: str) -> Page:
    """A page of which any error, in the console too, fails the test."""
    context.set_default_timeout(SLOW)
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page failed: {error}"))
    go(page, url)
    return page


def go(page: Page, url: str) -> None:
    """Open a page, and wait until it listens."""
    page.goto(url)
    listens(page)


def listens(page: Page) -> None:
    """Wait until it does: before, its script may set what is clicked on anew."""
    expect(page.locator("main:not([inert])")).to_be_attached(timeout=SLOW)


@pytest.fixture
def context(browsers: dict[str, Browser]) -> Iterator[BrowserContext]:
    with browsers["camera"].new_context(locale="en", permissions=["camera"]) as found:
        yield found


def see(page: Page, label: str) -> None:
    """Wait until the page shows this class as the most probable one."""
    expect(page.locator(".meter.best .name")).to_have_text(label, timeout=SLOW)


def say(page: Page, text: str) -> None:
    """Wait until the page's live region says this."""
    expect(page.get_by_role("status").filter(has_text=text)).to_be_visible(timeout=SLOW)


def answer_to(machine: Hand, outcome: str) -> Hand:
    wins = next(hand for hand in HANDS if beats(hand, machine))
    loses = next(hand for hand in HANDS if beats(machine, hand))
    return {"win": wins, "lose": loses, "draw": machine}[outcome]


def play_round(page: Page, camera: Path, machine: Hand, outcome: str, *, key: bool) -> None:
    hand = answer_to(machine, outcome)
    show(camera, hand_or_nothing(hand, SEED))
    see(page, hand.capitalize())
    if key:
        page.locator("#main").focus()
        page.keyboard.press("Space")
    else:
        page.locator("#go").click()
    expect(page.locator("#machine-hand")).to_be_visible(timeout=SLOW)
    expect(page.locator("#machine-hand")).to_have_attribute("alt", machine.capitalize())
    expect(page.locator("#seal-text")).to_have_text("Opened: what was sealed")


def score(page: Page) -> tuple[str, str]:
    return page.locator("#score-you").inner_text(), page.locator("#score-machine").inner_text()


@pytest.fixture(scope="module")
def started(hands_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with start(hands_run, "--port", "0", "--seed", "5", cwd=tmp_path_factory.mktemp("cwd")) as one:
        yield one


def test_games_won_drawn_and_lost_and_a_server_that_goes_away(
    started: Started, context: BrowserContext, camera: Path, hands_run: Path, tmp_path: Path
) -> None:
    rng = random.Random(5)
    page = open_page(context, started.address.url)
    for outcome, after in (("win", ("1", "0")), ("draw", ("1", "0")), ("win", ("2", "0"))):
        play_round(page, camera, choose("fair", [], rng), outcome, key=outcome == "draw")
        assert score(page) == after
    say(page, "You win the match 2 to 0!")
    assert page.locator("#rounds li").count() == 3
    # Whoever cannot see the page hears it.
    expect(page.locator("#go")).to_have_text("Play again Space")

    page.get_by_label("1", exact=True).check(force=True)
    play_round(page, camera, choose("fair", [], rng), "lose", key=False)
    say(page, "The machine wins the match 1 to 0.")

    started.process.send_signal(signal.SIGTERM)
    started.process.wait(60)
    banner = page.get_by_role("alert").filter(has_text="The server does not answer")
    expect(banner).to_be_visible(timeout=SLOW)
    port = str(started.address.port)
    with start(hands_run, "--port", port, "--seed", "5", cwd=tmp_path):
        expect(page.locator("#offline")).to_be_hidden(timeout=SLOW)
        assert score(page) == ("0", "1")
        play_round(page, camera, choose("fair", [], random.Random(5)), "win", key=True)
        say(page, "You win the match 1 to 0!")
    page.close()


def test_no_hand_and_an_unsure_one_are_said(
    server: Address, context: BrowserContext, camera: Path
) -> None:
    page = open_page(context, server.url)
    show(camera, hand_or_nothing("nothing", SEED))
    see(page, "No hand")
    page.locator("#go").click()
    say(page, "No hand in view.")
    assert page.locator("#machine-hand").is_hidden()
    show(camera, hand_or_nothing("paper", SEED))
    expect(page.locator("#machine-hand")).to_be_visible(timeout=SLOW)
    page.close()


def test_frames_must_agree(server: Address, context: BrowserContext) -> None:
    page = open_page(context, f"{server.url}photos")
    verdicts = page.evaluate(
        """async () => {
          const { Agreement } = await import("/static/agreement.js");
          const agreement = new Agreement(3);
          const say = (text) => {
            const [state, label] = text.split(" ");
            return agreement.add({ state, label: label ?? "", probabilities: {} }).state;
          };
          return ["sure rock", "sure rock", "sure paper", "sure paper", "sure paper", "unsure rock",
            "unsure paper", "unsure rock", "nothing", "sure rock", "nothing", "nothing", "nothing",
          ].map(say);
        }"""
    )
    assert verdicts == [
        *("looking", "looking", "looking", "looking", "sure", "looking"),
        *("looking", "unsure", "looking", "looking", "looking", "looking", "nothing"),
    ]
    page.close()


def test_the_score_of_a_match(server: Address, context: BrowserContext) -> None:
    page = open_page(context, f"{server.url}photos")
    judged = page.evaluate(
        """async () => {
          const { judge, newMatch, settle, winner, winsNeeded } = await import("/static/match.js");
          const hands = ["rock", "paper", "scissors"];
          const outcomes = hands.flatMap((you) => hands.map((it) => judge(you, it)));
          let match = newMatch(3);
          const winners = [];
          for (const it of ["scissors", "rock", "paper", "paper"]) {
            match = settle(match, "rock", it);
            winners.push(winner(match));
          }
          return [outcomes, winners, match.you, match.machine, [1, 3, 5, 7].map(winsNeeded)];
        }"""
    )
    outcomes = ["draw", "lose", "win", "win", "draw", "lose", "lose", "win", "draw"]
    assert judged == [outcomes, [None, None, None, "lose"], 1, 2, [1, 2, 3, 4]]
    page.close()


def test_a_seal_that_does_not_fit_is_found(server: Address, context: BrowserContext) -> None:
    page = open_page(context, server.url)
    kept = page.evaluate(
        """async () => {
          const { ask } = await import("/static/api.js");
          const { holds } = await import("/static/seal.js");
          const json = { strategy: "fair", history: [] };
          const begun = await ask("/api/rounds", { json });
          const told = await ask("/api/reveal", { json: { round: begun.round, hand: "rock" } });
          const others = ["rock", "paper", "scissors"].filter((hand) => hand !== told.hand);
          const hands = [told.hand, ...others];
          return Promise.all(hands.map((hand) => holds(begun.commitment, told.nonce, hand)));
        }"""
    )
    assert kept == [True, False, False]
    page.close()


@pytest.mark.parametrize(
    ("browser", "sentence"),
    [("denied", "The camera is not permitted"), ("none", "There is no camera")],
)
def test_without_a_camera_pictures_do(
    server: Address, browsers: dict[str, Browser], browser: str, sentence: str, tmp_path: Path
) -> None:
    with browsers[browser].new_context(locale="en") as context:
        page = open_page(context, server.url)
        # What the button says changes by itself once the page has found no camera.
        page.get_by_role("button", name=re.compile("Turn on the camera|Try again")).click()
        expect(page.locator("#camera-text")).to_contain_text(sentence)
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        assert page.locator("#go").is_disabled()
        files = {name: tmp_path / f"{name}.jpg" for name in ("scissors", "nothing")}
        for name, path in files.items():
            path.write_bytes(jpeg(hand_or_nothing(name, SEED, 300)))
        files["bad"] = tmp_path / "bad.jpg"
        files["bad"].write_bytes(b"\xff\xd8\xff no picture")
        choose = page.get_by_label("Choose a picture of your hand")
        # One that is chosen before a round begins it.
        choose.set_input_files(files["bad"])
        say(page, "Choose another picture: the picture is damaged")
        choose.set_input_files(files["nothing"])
        say(page, "No hand in view.")
        choose.set_input_files(files["scissors"])
        expect(page.locator("#rounds li")).to_contain_text("Scissors")
        page.locator("#go").click()
        say(page, "The machine has chosen. Now your picture.")
        choose.set_input_files(files["scissors"])
        expect(page.locator("#rounds li")).to_have_count(2)


def test_photos_get_labels_and_heat_maps(
    server: Address, context: BrowserContext, tmp_path: Path
) -> None:
    page = open_page(context, f"{server.url}photos")
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(jpeg(hand_or_nothing("scissors", SEED, 300)))
    bad.write_bytes(b"\xff\xd8\xff no picture")
    page.get_by_label("Choose photos").set_input_files([good, bad])
    say(page, "2 photos done; 1 could not be read.")
    result = page.locator(".result", has_text="good.jpg")
    expect(result.get_by_role("heading")).to_have_text("Scissors")
    wrong = page.locator(".result", has_text="bad.jpg").locator(".error")
    expect(wrong).to_have_text("the picture is damaged")
    with_heat = result.get_by_role("img").get_attribute("src")
    page.get_by_label("Show heat maps").uncheck()
    expect(result.get_by_role("img")).not_to_have_attribute("src", with_heat or "")
    page.get_by_label("Language").select_option("fr")
    expect(wrong).to_have_text("l'image est abîmée")
    page.get_by_label("Langue").select_option("en")
    page.get_by_label("Choose photos").set_input_files([good] * 30)
    page.get_by_label("Choose photos").set_input_files([good] * 30)
    say(page, "60 photos at a time: remove them to ask about others.")
    expect(page.locator(".result")).to_have_count(60)
    page.close()


def test_photos_that_are_removed_while_they_are_read_stay_away(
    server: Address, context: BrowserContext, tmp_path: Path
) -> None:
    page = open_page(context, f"{server.url}photos")
    held: list[Route] = []
    page.route("**/api/photo", lambda route: held.append(route), times=2)
    for name in ("first", "second", "third"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(hand_or_nothing("rock", SEED, 100)))
    choose_photos = page.get_by_label("Choose photos")
    choose_photos.set_input_files([tmp_path / "first.jpg", tmp_path / "second.jpg"])
    wait_until(page, lambda: len(held) == 1)
    held.pop().continue_()
    expect(page.locator(".result", has_text="first.jpg")).to_be_visible()
    wait_until(page, lambda: len(held) == 1)
    page.get_by_role("button", name="Remove all").click()
    choose_photos.set_input_files([tmp_path / "third.jpg"])
    held.pop().continue_()
    say(page, "One photo: ")
    expect(page.locator(".result")).to_have_count(1)
    expect(page.locator(".result")).to_contain_text("third.jpg")
    page.close()


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come to pass")


def test_pictures_that_cannot_be_taught_are_said_and_the_others_taken(
    server: Address, context: BrowserContext, tmp_path: Path
) -> None:
    page = open_page(context, f"{server.url}teach")
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(jpeg(hand_or_nothing("rock", SEED, 100)))
    bad.write_bytes(b"no picture")
    thing = page.locator(".pupil").first
    thing.get_by_label("Add pictures of").set_input_files([good, bad, good])
    expect(thing.locator(".count")).to_have_text("2 pictures")
    expect(page.locator("#record-status")).to_contain_text(
        "2 pictures; 1 could not be taken: this is no picture"
    )
    thing.get_by_role("button", name="Clear the pictures of").click()
    expect(thing.locator(".count")).to_have_text("0 pictures")
    page.close()


def test_letters_are_keys_until_they_are_turned_off(
    server: Address, context: BrowserContext
) -> None:
    page = open_page(context, server.url)
    mirror = page.get_by_label("Mirror")
    page.keyboard.press("m")
    expect(mirror).not_to_be_checked()
    page.get_by_label("Keys N and M").uncheck()
    page.locator("body").click(position={"x": 1, "y": 1})
    page.keyboard.press("m")
    expect(mirror).not_to_be_checked()
    page.reload()
    listens(page)
    expect(page.get_by_label("Keys N and M")).not_to_be_checked()
    page.get_by_label("Keys N and M").check()
    page.close()


def test_pages_work_where_nothing_may_be_stored(server: Address, context: BrowserContext) -> None:
    page = context.new_page()
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } });"
    )
    go(page, server.url)
    page.get_by_label("Language").select_option("fr")
    expect(page.get_by_role("link", name="Jouer")).to_be_visible()
    page.close()


def test_french(server: Address, context: BrowserContext) -> None:
    page = open_page(context, server.url)
    page.get_by_label("Language").select_option("fr")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    expect(page.get_by_role("link", name="Jouer")).to_be_visible()
    page.get_by_role("link", name="Apprendre").click()
    # It is kept, and nothing is left in English.
    expect(page.get_by_role("heading", level=1)).to_have_text("Apprenez-lui les vôtres")
    name = page.locator(".pupil").first.get_by_role("textbox")
    name.fill("a/b")
    name.press("Enter")
    expect(page.locator(".pupil").first.get_by_role("alert")).to_contain_text("une classe a besoin")
    page.close()


def test_a_narrow_phone_in_french_shows_score_and_both_hands(
    server: Address, browsers: dict[str, Browser], tmp_path: Path
) -> None:
    height = 640
    with browsers["none"].new_context(
        locale="fr", viewport={"width": 360, "height": height}, has_touch=True, is_mobile=True
    ) as context:
        page = open_page(context, server.url)
        path = tmp_path / "rock.jpg"
        path.write_bytes(jpeg(hand_or_nothing("rock", SEED, 300)))
        page.locator("#picture").set_input_files(path)
        expect(page.locator("#machine-hand")).to_be_visible(timeout=SLOW)
        hand, dock = (page.locator(name).bounding_box() for name in ("#machine-stage", "#dock"))
        assert hand is not None and dock is not None
        assert hand["y"] + hand["height"] <= dock["y"]
        assert dock["y"] + dock["height"] <= height + 1
        # Labels stand on a line of their own, numbers on another, on both sides alike.
        tops = [page.locator(f"#score-{side}").bounding_box() for side in ("you", "machine")]
        assert tops[0] is not None and tops[1] is not None
        assert tops[0]["y"] == tops[1]["y"]


def test_teaching_from_the_first_frame_to_a_prediction(
    server: Address, context: BrowserContext, camera: Path
) -> None:
    page = open_page(context, f"{server.url}teach")
    things = page.locator(".pupil")
    expect(things).to_have_count(2)
    for place, (name, gesture) in enumerate((("Fist", "rock"), ("Flat", "paper"))):
        thing = things.nth(place)
        thing.get_by_role("textbox").fill(name)
        thing.get_by_role("textbox").press("Enter")
        for seed in range(SEED, SEED + 3):
            show(camera, hand_or_nothing(gesture, seed))
            # The camera shows it from its next picture but one on.
            page.wait_for_timeout(300)
            before = thing.locator(".count").inner_text()
            record = thing.get_by_role("button", name=f"Hold to record {name}")
            record.hover()
            page.mouse.down()
            expect(thing.locator(".count")).not_to_have_text(before)
            page.wait_for_timeout(400)
            page.mouse.up()
    page.reload()
    for thing in things.all():
        expect(thing.locator(".thumbs img")).not_to_have_count(0)
    say(page, "Ready to learn.")
    page.get_by_label("Network").select_option("cnn")
    page.get_by_role("button", name="Train and save").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.locator("#job-text")).to_contain_text("Trained and saved as", timeout=240_000)
    for gesture, name in (("rock", "Fist"), ("paper", "Flat")):
        show(camera, hand_or_nothing(gesture, SEED))
        expect(page.locator("#seen")).to_have_text(name, timeout=SLOW)
    page.get_by_role("button", name="Ask it under Photos").click()
    expect(page.locator("#model-line")).to_have_text("Model: teach-1.")
    go(page, server.url)
    expect(page.locator("#unplayable")).to_contain_text("no class for paper, scissors")
    assert page.locator("#go").is_disabled()
    page.close()


@pytest.mark.parametrize(("theme", "width", "height"), [("light", 1280, 800), ("dark", 390, 844)])
def test_nothing_is_in_the_way_of_anybody(
    server: Address, browsers: dict[str, Browser], theme: str, width: int, height: int, camera: Path
) -> None:
    show(camera, hand_or_nothing("rock", SEED))
    with browsers["camera"].new_context(
        locale="en", permissions=["camera"], viewport={"width": width, "height": height}
    ) as context:
        page = open_page(context, server.url)
        expect(page.locator("#go")).to_be_in_viewport(ratio=1)
        page.get_by_label("Appearance").select_option(theme)
        see(page, "Rock")
        page.locator("#go").click()
        expect(page.locator("#machine-hand")).to_be_visible(timeout=SLOW)
        for path in ("", "photos", "teach"):
            if path:
                go(page, f"{server.url}{path}")
            if path == "photos":
                page.get_by_role("button", name="Try it with drawn hands").click()
                say(page, "3 photos done.")
            if path == "teach":
                expect(page.locator(".pupil").first).to_be_visible()
            # Halfway through a change of colour its contrast says nothing.
            page.emulate_media(reduced_motion="reduce")
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
        # That it would find something.
        page.evaluate("document.querySelector('main').append(document.createElement('button'))")
        assert Axe().run(page).violations_count == 1


def test_real_photos_can_be_taught(
    server: Address, context: BrowserContext, camera: Path, real_photos: Path
) -> None:
    from PIL import Image

    page = open_page(context, f"{server.url}teach")
    things = page.locator(".pupil")
    for place, name in enumerate(("rock", "paper")):
        thing = things.nth(place)
        files = sorted((real_photos / "train" / name).iterdir())[:24]
        thing.get_by_role("textbox").fill(f"real {name}")
        thing.get_by_role("textbox").press("Enter")
        clear = thing.get_by_role("button", name="Clear")
        if clear.is_visible():
            clear.click()
        thing.get_by_label("Add pictures of").set_input_files(files)
        expect(thing.locator(".count")).to_have_text("24 pictures", timeout=SLOW)
    page.get_by_role("button", name="Learn in seconds").click()
    expect(page.locator("#job-text")).to_have_text("Learnt. Try it now.", timeout=240_000)
    for name in ("rock", "paper"):
        file = sorted((real_photos / "train" / name).iterdir())[3]
        with Image.open(file) as image:
            show(camera, image)
        expect(page.locator("#seen")).to_have_text(f"real {name}", timeout=SLOW)
    page.close()
