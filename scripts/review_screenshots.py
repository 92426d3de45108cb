"""Fill a demonstration, look at every review page, light and dark, wide and at 400 px, and save the pictures.

    python scripts/review_screenshots.py [docs/images/review [queue,call,…]]

Needs Chromium (Debian: apt-get install chromium) and playwright (pip install playwright).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.review.chromium import Demonstration, launched

WIDE, NARROW = {"width": 1360, "height": 900}, {"width": 400, "height": 860}


def main(folder: Path, only: frozenset[str] = frozenset()) -> None:
    """Save a picture of each page, or of those named, in each form."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        Demonstration.running(Path(data)) as demo,
        launched() as browser,
    ):
        cookies: list = []
        for scheme in ("light", "dark"):
            for width, size in (("wide", WIDE), ("narrow", NARROW)):
                context = browser.new_context(
                    viewport=size, color_scheme=scheme, locale="en-GB", timezone_id="America/Chicago"
                )
                page = context.new_page()
                page.goto(demo.url + "/review")
                page.screenshot(path=folder / f"sign-in-{width}-{scheme}.png")
                if cookies:
                    context.add_cookies(cookies)
                else:
                    demo.sign_in(page)
                    cookies = context.cookies()
                for name, path in demo.pages().items():
                    if only and name not in only:
                        continue
                    demo.open(page, path)
                    if name == "call":
                        page.keyboard.press("m")
                        page.wait_for_selector(".map img", timeout=90_000)
                        page.wait_for_load_state("networkidle")
                    page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
                context.close()
    shrink(folder)


def shrink(folder: Path) -> None:
    """Save the pictures with 64 colours: a third of the size, and all that a page has."""
    from PIL import Image

    for file in folder.glob("*.png"):
        image = Image.open(file).convert("RGB")
        image = image.crop((0, 0, image.width, min(image.height, 2200)))
        image.quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    if shutil.which("chromium") is None:
        sys.exit("expected chromium on the path: apt-get install chromium")
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/review"),
        frozenset(sys.argv[2].split(",") if len(sys.argv) > 2 else ()),
    )
