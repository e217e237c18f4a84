"""The pages in a real browser, with a fake camera that shows rendered hands."""

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
    ServerProcess,
    chromium,
    chromium_options,
    jpeg,
    serving,
    show,
    start_server,
)

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser: install Debian's package chromium"
)

# Seed of hands that the test model was not trained on.
SEED = 503
SLOW = 60_000


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    show(path, hand_or_nothing("nothing", SEED))
    return path


@pytest.fixture(scope="module")
def browsers(camera: Path) -> Iterator[dict[str, Browser]]:
    """One browser with a camera, one that denies permission for it, and one without a camera."""
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
def shared_server(hands_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with serving(hands_run, tmp_path_factory.mktemp("browser") / "runs") as (found, _):
        yield found


@pytest.fixture
def server(shared_server: Address) -> Iterator[Address]:
    """The shared server; its first model is active again after each test."""
    yield shared_server
    shared_server.ask("POST", "/api/model", {"source": "given"})


def open_page(context: BrowserContext, url: str) -> Page:
    """Open a page in a new tab; an uncaught error in its scripts fails the test."""
    context.set_default_timeout(SLOW)
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page failed: {error}"))
    go(page, url)
    return page


def go(page: Page, url: str) -> None:
    """Open a page, and wait until it is ready."""
    page.goto(url)
    wait_until_ready(page)


def wait_until_ready(page: Page) -> None:
    """Wait until the page's script has finished its setup, which could undo earlier clicks."""
    expect(page.locator("main:not([inert])")).to_be_attached(timeout=SLOW)


@pytest.fixture
def context(browsers: dict[str, Browser]) -> Iterator[BrowserContext]:
    with browsers["camera"].new_context(locale="en", permissions=["camera"]) as found:
        yield found


def expect_best(page: Page, label: str) -> None:
    """Wait until the page shows this class as the most probable one."""
    expect(page.locator(".meter.best .name")).to_have_text(label, timeout=SLOW)


def expect_status(page: Page, text: str) -> None:
    """Wait until a live region of the page contains this text."""
    expect(page.get_by_role("status").filter(has_text=text)).to_be_visible(timeout=SLOW)


def hand_for(outcome: str, machine: Hand) -> Hand:
    """The player's hand that gives this outcome against the machine's hand."""
    wins = next(hand for hand in HANDS if beats(hand, machine))
    loses = next(hand for hand in HANDS if beats(machine, hand))
    return {"win": wins, "lose": loses, "draw": machine}[outcome]


def play_round(page: Page, camera: Path, machine: Hand, outcome: str, *, key: bool) -> None:
    hand = hand_for(outcome, machine)
    show(camera, hand_or_nothing(hand, SEED))
    expect_best(page, hand.capitalize())
    if key:
        page.locator("#main").focus()
        page.keyboard.press("Space")
    else:
        page.locator("#go").click()
    expect(page.locator("#machine-hand")).to_be_visible(timeout=SLOW)
    expect(page.locator("#machine-hand")).to_have_attribute("alt", machine.capitalize())
    expect(page.locator("#seal-text")).to_have_text("Opened: the sealed hand")


def score(page: Page) -> tuple[str, str]:
    return page.locator("#score-you").inner_text(), page.locator("#score-machine").inner_text()


@pytest.fixture(scope="module")
def started(hands_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("cwd")
    with start_server(hands_run, "--port", "0", "--seed", "5", cwd=folder) as server:
        yield server


def test_matches_are_won_and_lost_and_survive_a_server_restart(
    started: ServerProcess, context: BrowserContext, camera: Path, hands_run: Path, tmp_path: Path
) -> None:
    rng = random.Random(5)
    page = open_page(context, started.address.url)
    for outcome, after in (("win", ("1", "0")), ("draw", ("1", "0")), ("win", ("2", "0"))):
        play_round(page, camera, choose("fair", [], rng), outcome, key=outcome == "draw")
        assert score(page) == after
    # The result is in a live region, so that screen readers announce it.
    expect_status(page, "You win the match 2 to 0!")
    assert page.locator("#rounds li").count() == 3
    expect(page.locator("#go")).to_have_text("Play again Space")

    page.get_by_label("1", exact=True).check(force=True)
    play_round(page, camera, choose("fair", [], rng), "lose", key=False)
    expect_status(page, "The machine wins the match 1 to 0.")

    started.process.send_signal(signal.SIGTERM)
    started.process.wait(60)
    banner = page.get_by_role("alert").filter(has_text="The server does not answer")
    expect(banner).to_be_visible(timeout=SLOW)
    port = str(started.address.port)
    with start_server(hands_run, "--port", port, "--seed", "5", cwd=tmp_path):
        expect(page.locator("#offline")).to_be_hidden(timeout=SLOW)
        assert score(page) == ("0", "1")
        play_round(page, camera, choose("fair", [], random.Random(5)), "win", key=True)
        expect_status(page, "You win the match 1 to 0!")
    page.close()


def test_a_missing_hand_is_reported_until_a_hand_is_in_view(
    server: Address, context: BrowserContext, camera: Path
) -> None:
    page = open_page(context, server.url)
    show(camera, hand_or_nothing("nothing", SEED))
    expect_best(page, "No hand")
    page.locator("#go").click()
    expect_status(page, "No hand in view.")
    assert page.locator("#machine-hand").is_hidden()
    show(camera, hand_or_nothing("paper", SEED))
    expect(page.locator("#machine-hand")).to_be_visible(timeout=SLOW)
    page.close()


def test_several_frames_in_a_row_must_agree(server: Address, context: BrowserContext) -> None:
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


def test_the_outcomes_of_rounds_and_the_score_of_a_match(
    server: Address, context: BrowserContext
) -> None:
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


def test_a_hand_that_does_not_match_the_commitment_is_detected(
    server: Address, context: BrowserContext
) -> None:
    page = open_page(context, server.url)
    kept = page.evaluate(
        """async () => {
          const { ask } = await import("/static/api.js");
          const { holds } = await import("/static/seal.js");
          const json = { strategy: "fair", history: [] };
          const begun = await ask("/api/rounds", { json });
          const shown = await ask("/api/reveal", { json: { round: begun.round, hand: "rock" } });
          const others = ["rock", "paper", "scissors"].filter((hand) => hand !== shown.hand);
          const hands = [shown.hand, ...others];
          return Promise.all(hands.map((hand) => holds(begun.commitment, shown.nonce, hand)));
        }"""
    )
    assert kept == [True, False, False]
    page.close()


@pytest.mark.parametrize(
    ("browser", "sentence"),
    [("denied", "The camera is not permitted"), ("none", "There is no camera")],
)
def test_picture_files_work_without_a_camera(
    server: Address, browsers: dict[str, Browser], browser: str, sentence: str, tmp_path: Path
) -> None:
    with browsers[browser].new_context(locale="en") as context:
        page = open_page(context, server.url)
        # Either label, because the button's text changes when the page has found no camera.
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
        # Choosing a picture starts a round if none is running.
        choose.set_input_files(files["bad"])
        expect_status(page, "Choose another picture: the picture is damaged")
        choose.set_input_files(files["nothing"])
        expect_status(page, "No hand in view.")
        choose.set_input_files(files["scissors"])
        expect(page.locator("#rounds li")).to_contain_text("Scissors")
        page.locator("#go").click()
        expect_status(page, "The machine has chosen. Now choose your picture.")
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
    expect_status(page, "2 photos done; 1 could not be read.")
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
    expect_status(page, "At most 60 photos at a time: remove these to add others.")
    expect(page.locator(".result")).to_have_count(60)
    page.close()


def test_photos_that_are_removed_while_they_are_processed_do_not_come_back(
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
    expect_status(page, "One photo: ")
    expect(page.locator(".result")).to_have_count(1)
    expect(page.locator(".result")).to_contain_text("third.jpg")
    page.close()


def wait_until(page: Page, condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("the condition did not become true within 30 s")


def test_unreadable_pictures_are_reported_and_the_others_are_added(
    server: Address, context: BrowserContext, tmp_path: Path
) -> None:
    page = open_page(context, f"{server.url}teach")
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(jpeg(hand_or_nothing("rock", SEED, 100)))
    bad.write_bytes(b"no picture")
    card = page.locator(".pupil").first
    card.get_by_label("Add pictures of").set_input_files([good, bad, good])
    expect(card.locator(".count")).to_have_text("2 pictures")
    expect(page.locator("#record-status")).to_contain_text(
        "2 pictures; 1 could not be used: this file is not a picture"
    )
    card.get_by_role("button", name="Clear the pictures of").click()
    expect(card.locator(".count")).to_have_text("0 pictures")
    page.close()


def test_letter_keys_work_until_they_are_turned_off(
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
    wait_until_ready(page)
    expect(page.get_by_label("Keys N and M")).not_to_be_checked()
    page.get_by_label("Keys N and M").check()
    page.close()


def test_pages_work_without_browser_storage(server: Address, context: BrowserContext) -> None:
    page = context.new_page()
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } });"
    )
    go(page, server.url)
    page.get_by_label("Language").select_option("fr")
    expect(page.get_by_role("link", name="Jouer")).to_be_visible()
    page.close()


def test_the_french_choice_is_kept_and_covers_errors(
    server: Address, context: BrowserContext
) -> None:
    page = open_page(context, server.url)
    page.get_by_label("Language").select_option("fr")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    expect(page.get_by_role("link", name="Jouer")).to_be_visible()
    page.get_by_role("link", name="Apprendre").click()
    # The next page is in French too, and so are its error messages.
    expect(page.get_by_role("heading", level=1)).to_have_text("Apprenez-lui les vôtres")
    name = page.locator(".pupil").first.get_by_role("textbox")
    name.fill("a/b")
    name.press("Enter")
    expect(page.locator(".pupil").first.get_by_role("alert")).to_contain_text(
        "le nom d'une classe doit"
    )
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
        # Both scores are on one line, although the labels above them differ in length.
        tops = [page.locator(f"#score-{side}").bounding_box() for side in ("you", "machine")]
        assert tops[0] is not None and tops[1] is not None
        assert tops[0]["y"] == tops[1]["y"]


def test_teach_from_the_first_frame_to_a_prediction(
    server: Address, context: BrowserContext, camera: Path
) -> None:
    page = open_page(context, f"{server.url}teach")
    cards = page.locator(".pupil")
    expect(cards).to_have_count(2)
    for place, (name, gesture) in enumerate((("Fist", "rock"), ("Flat", "paper"))):
        card = cards.nth(place)
        card.get_by_role("textbox").fill(name)
        card.get_by_role("textbox").press("Enter")
        for seed in range(SEED, SEED + 3):
            show(camera, hand_or_nothing(gesture, seed))
            # The camera shows the new picture only from its second next frame on.
            page.wait_for_timeout(300)
            before = card.locator(".count").inner_text()
            record = card.get_by_role("button", name=f"Hold to record {name}")
            record.hover()
            page.mouse.down()
            expect(card.locator(".count")).not_to_have_text(before)
            page.wait_for_timeout(400)
            page.mouse.up()
    page.reload()
    for card in cards.all():
        expect(card.locator(".thumbs img")).not_to_have_count(0)
    expect_status(page, "Ready to learn.")
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
def test_pages_have_no_accessibility_violations(
    server: Address, browsers: dict[str, Browser], theme: str, width: int, height: int, camera: Path
) -> None:
    show(camera, hand_or_nothing("rock", SEED))
    with browsers["camera"].new_context(
        locale="en", permissions=["camera"], viewport={"width": width, "height": height}
    ) as context:
        page = open_page(context, server.url)
        expect(page.locator("#go")).to_be_in_viewport(ratio=1)
        page.get_by_label("Appearance").select_option(theme)
        expect_best(page, "Rock")
        page.locator("#go").click()
        expect(page.locator("#machine-hand")).to_be_visible(timeout=SLOW)
        for path in ("", "photos", "teach"):
            if path:
                go(page, f"{server.url}{path}")
            if path == "photos":
                page.get_by_role("button", name="Try it with drawn hands").click()
                expect_status(page, "3 photos done.")
            if path == "teach":
                expect(page.locator(".pupil").first).to_be_visible()
            # Without animations, because the contrast is meaningless during a change of colour.
            page.emulate_media(reduced_motion="reduce")
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
        # Axe does find a violation when there is one.
        page.evaluate("document.querySelector('main').append(document.createElement('button'))")
        assert Axe().run(page).violations_count == 1


def test_real_photos_can_be_taught(
    server: Address, context: BrowserContext, camera: Path, real_photos: Path
) -> None:
    from PIL import Image

    page = open_page(context, f"{server.url}teach")
    cards = page.locator(".pupil")
    for place, name in enumerate(("rock", "paper")):
        card = cards.nth(place)
        files = sorted((real_photos / "train" / name).iterdir())[:24]
        card.get_by_role("textbox").fill(f"real {name}")
        card.get_by_role("textbox").press("Enter")
        clear = card.get_by_role("button", name="Clear")
        if clear.is_visible():
            clear.click()
        card.get_by_label("Add pictures of").set_input_files(files)
        expect(card.locator(".count")).to_have_text("24 pictures", timeout=SLOW)
    page.get_by_role("button", name="Learn in seconds").click()
    expect(page.locator("#job-text")).to_have_text("Learnt. Try it now.", timeout=240_000)
    for name in ("rock", "paper"):
        file = sorted((real_photos / "train" / name).iterdir())[3]
        with Image.open(file) as image:
            show(camera, image)
        expect(page.locator("#seen")).to_have_text(f"real {name}", timeout=SLOW)
    page.close()
