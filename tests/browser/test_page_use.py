"""Laws of the page that codes in a browser: keys, widths, light, players."""

import re

import pytest

from tests.browser import driving
from tests.evaluate import test_report_browser as report

pytestmark = pytest.mark.browser


def keys(page, *typed):
  from selenium.webdriver.common import action_chains

  action_chains.ActionChains(page.browser).send_keys(*typed).perform()


def tab_to(page, name):
  """Presses Tab until an element has the focus, which can be seen."""
  from selenium.webdriver.common.keys import Keys

  for _ in range(40):
    if page.script("return document.activeElement.id") == name:
      break
    keys(page, Keys.TAB)
  else:
    raise AssertionError(f"Tab does not lead to {name}")
  outlines = page.script(
    "const at = document.activeElement;"
    "return [at, at.closest('label')].map((one) => "
    "one && getComputedStyle(one).outlineStyle)"
  )
  assert "solid" in outlines, name


def position(page):
  return float(page.text("time").split()[0])


def test_all_can_be_done_by_keys_alone(page, codec):
  from selenium.webdriver.common.keys import Keys

  tab_to(page, "file")
  tab_to(page, "example")
  keys(page, Keys.ENTER)
  page.done()
  tab_to(page, "layers")
  keys(page, Keys.HOME, Keys.ARROW_RIGHT)
  assert "2 of 16 layers" in page.text("layers-said")
  tab_to(page, "loss")
  keys(page, *[Keys.ARROW_RIGHT] * 5)
  assert page.text("loss-said") == "5 %"
  tab_to(page, "packet")
  keys(page, Keys.ARROW_UP)
  assert page.at("packet").get_attribute("value") == "2"
  page.done()
  tab_to(page, "play")
  keys(page, Keys.SPACE)
  driving.until(lambda: position(page) > 0.2)
  keys(page, Keys.TAB, Keys.ARROW_LEFT)
  chosen = "return document.querySelector('[name=version]:checked').value"
  assert page.script(chosen) == "0"
  keys(page, Keys.SHIFT + Keys.TAB + Keys.NULL, Keys.SPACE)
  driving.until(lambda: page.text("play") == "Play")
  stood = position(page)
  tab_to(page, "seek")
  keys(page, Keys.END)
  assert position(page) > stood
  keys(page, Keys.HOME)
  assert position(page) == 0
  for old in page.downloads.iterdir():
    old.unlink()
  tab_to(page, "save-sstr")
  keys(page, Keys.ENTER)
  (path,) = driving.until(page.saved)
  assert codec.from_bytes(path.read_bytes()).shape[1] == 2


def test_the_microphone_is_used_by_keys_alone(page):
  from selenium.webdriver.common.keys import Keys

  tab_to(page, "record")
  keys(page, Keys.SPACE)
  driving.until(lambda: page.recorded() >= 0.5)
  # The button keeps the focus, and stops what it began.
  keys(page, Keys.SPACE)
  page.done()
  assert page.script("return document.activeElement.id") == "record"


def test_both_versions_play_in_one_time_to_the_end(page):
  page.press("example")
  page.done()
  page.press("play")
  driving.until(lambda: position(page) > 0.5)
  page.script("document.querySelector('[name=version][value=\"0\"]').click()")
  stood = position(page)
  driving.until(lambda: position(page) > stood)
  page.script(
    "const seek = document.getElementById('seek');"
    "seek.value = seek.max - 0.2; seek.dispatchEvent(new Event('input'))"
  )
  driving.until(lambda: page.text("play") == "Play")
  assert position(page) == 0


@pytest.mark.parametrize("width", [320, 360, 768, 1200, 1920])
def test_no_width_scrolls_the_page_sideways(width, page):
  page.press("example")
  page.done()
  page.shown(width=width, mode="light")
  found = page.script("return document.documentElement.scrollWidth")
  assert found == width
  beyond = page.script(
    "return [...document.querySelectorAll('main *')]"
    ".filter((one) => !one.closest('.spoken') && "
    "one.getBoundingClientRect().right > innerWidth + 1)"
    ".map((one) => one.outerHTML.slice(0, 200))"
  )
  assert beyond == []


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_text_can_be_read_by_day_and_night(mode, page):
  page.press("example")
  page.done()
  page.shown(width=1200, mode=mode)
  found = page.script(report.CONTRASTS)
  assert len(found) > 12
  assert {name: c for name, c in found.items() if c < 4.5} == {}
  bright = page.script(
    "return getComputedStyle(document.documentElement).backgroundColor"
  )
  assert (int(re.findall(r"\d+", bright)[0]) > 127) == (mode == "light")


INK = """
const canvas = document.getElementById(arguments[0]);
const copy = new OffscreenCanvas(canvas.width, canvas.height)
  .getContext("2d", {willReadFrequently: true});
copy.drawImage(canvas, 0, 0);
const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
const shades = new Set();
let filled = 0;
for (let i = 0; i < data.length; i += 4) {
  if (data[i + 3]) filled++;
  shades.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
}
return [shades.size, filled / (data.length / 4)];
"""


def test_spectrograms_and_packets_are_drawn(page):
  page.press("example")
  page.done()
  for name in ("original", "coded"):
    driving.until(lambda name=name: page.script(INK, name)[1] > 0.97)
    assert page.script(INK, name)[0] > 50
  page.set("loss", 20)
  page.done()
  driving.until(lambda: page.script(INK, "packets")[0] >= 2)


def test_the_page_says_what_it_may_ask_of_whom(page):
  asked = page.browser.execute_async_script(
    """
    const done = arguments[0];
    fetch("https://example.org/").then(
      () => done("asked"), (error) => done(String(error)));
    """
  )
  assert "TypeError" in asked
  complaints = page.browser.get_log("browser")
  assert any("Content Security Policy" in c["message"] for c in complaints)
  page.browser.get_log("performance")
  page.browser.refresh()
  driving.until(lambda: page.script("return document.body.dataset.ready"))
