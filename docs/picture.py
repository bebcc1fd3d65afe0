"""The picture of the README: `python docs/picture.py` runs a report, photographs its top, and writes `docs/report.png`.

It needs Chromium, and playwright of the `dev` extra. The conversion is made to lose: its input is noisy.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

REPORT = ["report", "digits_cnn", "-T", "2", "4", "8", "--encoding", "poisson"]
WIDTH, HEIGHT, COLOURS = 1100, 1850, 64


def main() -> None:
    """Write the picture beside this file."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("no Chromium on this machine; apt-get install chromium")
    out = Path(__file__).with_name("report.png")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "snnverify", *REPORT, "--out", f"{folder}/report"], check=True)
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(Path(folder, "report", "index.html").as_uri())
            page.screenshot(path=f"{folder}/whole.png")
            browser.close()
        Image.open(f"{folder}/whole.png").convert("RGB").quantize(COLOURS).save(out, optimize=True)
    print(f"written: {out} ({out.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
