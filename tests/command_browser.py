# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the page of attn plot share: a browser without a screen, which answers questions about x.html. Where there
is no Chromium they are skipped."""

import html
import json
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from command_support import InAnEmptyFolder

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# The page in a window of its own size; a script asks it, and what that returns is left in the body.
FRAME = """<!DOCTYPE html><body><iframe src="x.html" width="%d" height="%d"></iframe><script>
document.querySelector('iframe').addEventListener('load', event => {
  const view = event.target.contentWindow, page = view.document;
  const all = selector => [...page.querySelectorAll(selector)];
  const said = () => page.querySelector('#said').innerText.replace(/\\s+/g, ' ').trim();
  const box = element => element.getBoundingClientRect();
  const seen = element => box(element).top >= 0 && box(element).bottom <= view.innerHeight + 1;
  const press = (element, key) => element.dispatchEvent(new view.KeyboardEvent('keydown', { key, bubbles: true }));
  const part = element => Number(element.style.getPropertyValue('--part') || 0);
  let answer;
  try { answer = (() => { %s })(); } catch (error) { answer = { error: String(error) }; }
  document.body.textContent = JSON.stringify(answer);
});
</script>"""


@unittest.skipUnless(BROWSER, "there is no Chromium")
class InABrowser(InAnEmptyFolder):
    def browse(self, *options, dark=False):
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        return subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--hide-scrollbars",
             "--user-data-dir=" + str(Path("profile").resolve()), "--virtual-time-budget=20000", *scheme, *options,
             Path("frame.html").resolve().as_uri()], capture_output=True, timeout=120).stdout.decode()

    def ask(self, script, width=1200, height=800, dark=False, options=()):
        """What the body of a function returns that runs beside the page, in a window of that size."""
        Path("frame.html").write_text(FRAME % (width, height, script), "utf-8")
        done = self.browse("--window-size=1300,900", "--dump-dom", *options, dark=dark)
        answer = json.loads(html.unescape(re.search(r"<body>(.*)</body>", done, re.S)[1]))
        self.assertNotIn("error", answer if isinstance(answer, dict) else {}, answer)
        return answer

    def picture(self, name, script="", width=1200, height=800, dark=False):
        """What the page looks like after the script, for people: kept in the folder ATTN_SCREENSHOTS."""
        folder = Path(os.environ.get("ATTN_SCREENSHOTS") or ".").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        frame = FRAME.replace("document.body.textContent = JSON.stringify(answer);", "")
        frame = frame.replace("<body>", '<body style="margin:0"><style>iframe { border: 0; display: block; }</style>')
        Path("frame.html").write_text(frame % (width, height, script), "utf-8")
        file = folder / (name + ".png")
        file.unlink(missing_ok=True)
        self.browse("--window-size=%d,%d" % (width, height), "--screenshot=" + str(file), dark=dark)
        return file
