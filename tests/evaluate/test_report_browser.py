"""Laws of the page of runs in a browser: what is seen, heard and typed."""

import re
import time

import numpy as np
import pytest

from soundstream_jax.evaluate.report import gathering, page
from tests import outside
from tests.evaluate import example_runs

pytestmark = pytest.mark.browser

WIDTHS = (360, 768, 1440, 1920)
METRICS = {k: example_runs.METRICS[k] for k in ("visqol_audio", "log_mel")}


@pytest.fixture(scope="module")
def browser():
  """A Chromium without a window, which may not leave this machine."""
  found, driver = outside.chromium()
  from selenium import webdriver
  from selenium.webdriver.chrome import service

  options = webdriver.ChromeOptions()
  options.binary_location = found
  for word in (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--mute-audio",
    "--host-resolver-rules=MAP * ~NOTFOUND",
  ):
    options.add_argument(word)
  logged = {"browser": "ALL", "performance": "ALL"}
  options.set_capability("goog:loggingPrefs", logged)
  started = webdriver.Chrome(options=options, service=service.Service(driver))
  yield started
  started.quit()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  """A page of a run, with odd names in it, and of a sweep."""
  root = tmp_path_factory.mktemp("runs")
  odd = example_runs.ODD
  run = example_runs.workdir(root / "run")
  example_runs.evaluation(
    run / "evaluation",
    example_runs.models() + example_runs.BASELINES,
    metrics=METRICS,
    clips=3,
    name=f"tiny {odd}",
    missing_metrics={"zimtohrli": odd},
  )
  more = {"metrics": METRICS, "clips": 2, "classes": ("speech",)}
  example_runs.codebook_sizes(root / "sweep", **more)
  found = gathering.gather([str(run), str(root / "sweep")])
  path = root / "report.html"
  path.write_text(page.render(found), encoding="utf-8")
  return path


@pytest.fixture
def opened(browser, file):
  """The page, just opened; at the end nothing was asked for or complained."""
  shown(browser, width=1440, mode="light")
  for kind in ("browser", "performance"):
    browser.get_log(kind)
  browser.get(file.as_uri())
  yield browser
  assert browser.get_log("browser") == []
  asked = [
    url
    for line in browser.get_log("performance")
    for url in re.findall(r'"url":"([^"]{0,200})', line["message"])
    if '"Network.requestWillBeSent"' in line["message"]
  ]
  assert {u for u in asked if not u.startswith("data:")} == {file.as_uri()}


def shown(browser, *, width, mode):
  """Sets the window's width and whether it is dark."""
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
  )
  browser.execute_cdp_cmd(
    "Emulation.setEmulatedMedia",
    {"features": [{"name": "prefers-color-scheme", "value": mode}]},
  )


def until(condition, seconds=20.0):
  """Returns the first true value of a condition."""
  end = time.monotonic() + seconds
  while not (value := condition()):
    assert time.monotonic() < end, condition
    time.sleep(0.05)
  return value


def position(browser, number=0):
  """Returns the position of a player, in seconds."""
  script = "return players[arguments[0]].position()"
  return browser.execute_script(script, number)


def keys(browser, *typed):
  from selenium.webdriver.common import action_chains

  action_chains.ActionChains(browser).send_keys(*typed).perform()


def loud(browser, number=0):
  """Returns which versions of a playing clip can be heard."""
  return browser.execute_script(
    "return players[arguments[0]].voices.map((v) => v.gain.gain.value > 0.5)",
    number,
  )


def only(browser, version):
  """Waits until a fade is over and a version alone can be heard."""
  until(
    lambda: [i for i, heard in enumerate(loud(browser)) if heard] == [version]
  )


def playing(browser, number=0):
  return browser.execute_script(
    "return players[arguments[0]].voices !== null", number
  )


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_scrolls_the_page_sideways(width, opened):
  shown(opened, width=width, mode="dark")
  for fold in opened.find_elements("css selector", "details"):
    opened.execute_script("arguments[0].open = true", fold)
  assert opened.execute_script(
    "return document.documentElement.scrollWidth"
  ) == (width)
  # What is cut off scrolls in a place of its own.
  beyond = opened.execute_script(
    """
    const found = [];
    for (const one of document.querySelectorAll("body *")) {
      const box = one.getBoundingClientRect();
      const own = one.closest(".scroll, .skip, .spoken, svg");
      if (!own && box.right > innerWidth + 1) found.push(one.outerHTML);
    }
    return found.map((text) => text.slice(0, 200));
    """
  )
  assert beyond == []


def test_every_sound_can_be_played_by_the_browsers_own_player(opened):
  # As where scripts are off. Browsers play nothing before a click.
  opened.find_element("css selector", "h1").click()
  played = opened.execute_async_script(
    """
    const done = arguments[0];
    const audio = document.querySelector("audio");
    audio.muted = true;
    audio.play().then(() => {
      const look = () =>
        audio.currentTime > 0.2
          ? done([audio.currentTime, audio.duration])
          : setTimeout(look, 20);
      look();
    }, (error) => done(String(error)));
    """
  )
  assert isinstance(played, list), played
  assert played[0] > 0.2 and played[1] == pytest.approx(2.0, abs=0.01)


def test_switching_keeps_the_position_and_one_version_is_loud(opened):
  from selenium.webdriver.common.by import By

  player = opened.find_element(By.CSS_SELECTOR, ".player")
  player.find_element(By.CSS_SELECTOR, "button").click()
  until(lambda: playing(opened) and position(opened) > 0.3)
  opened.execute_script("window.before = [players[0].voices, players[0].began]")
  for number in (3, 1, 5):
    tile = player.find_elements(By.CSS_SELECTOR, ".choice")[number]
    tile.click()
    only(opened, number)
    chosen = player.find_elements(By.CSS_SELECTOR, ".track.chosen input")
    assert [each.get_attribute("value") for each in chosen] == [str(number)]
    # The same sounds run on, from the same beginning: only gains changed.
    assert opened.execute_script(
      "return before[0] === players[0].voices && before[1] === players[0].began"
    )
  # And the position is read from the sound card's clock alone.
  stood = opened.execute_script(
    "const at = players[0].position(); players[0].select(2);"
    "return players[0].position() - at"
  )
  assert abs(stood) < 0.01


def test_all_versions_of_a_clip_run_in_one_time_and_are_the_sounds(opened):
  """The page's clock is the sound card's, and its buffers are the files'."""
  opened.execute_script("active = players[0]")
  keys(opened, " ")
  until(lambda: playing(opened))
  sizes = opened.execute_script(
    "return players[0].buffers.map((b) => [b.length, b.sampleRate, b.duration])"
  )
  assert len({tuple(size) for size in sizes}) == 1
  peaks = opened.execute_script(
    "return players[0].buffers.map((b) => "
    "Math.max(...b.getChannelData(0).slice(0, 40000)))"
  )
  assert np.all(np.array(peaks) > 0.05)


def test_the_keyboard_plays_switches_and_moves(opened):
  from selenium.webdriver.common.keys import Keys

  # Nothing was clicked: Tab leads into the first player.
  opened.execute_script(
    "document.querySelector('.player').scrollIntoView();"
    "document.querySelector('.player button').focus()"
  )
  keys(opened, " ")
  until(lambda: playing(opened) and position(opened) > 0.1)
  keys(opened, "4")
  only(opened, 3)
  keys(opened, Keys.ARROW_RIGHT)  # the next one, as radio buttons do
  only(opened, 4)
  keys(opened, " ")
  until(lambda: not playing(opened))
  stood = position(opened)
  assert stood > 0.1
  keys(opened, "2")
  assert position(opened) == stood  # from where it goes on
  keys(opened, " ")
  until(lambda: playing(opened))
  only(opened, 1)
  # The slider moves all of them.
  slider = opened.find_element("css selector", ".player input[type=range]")
  keys(opened, " ")
  until(lambda: not playing(opened))
  slider.send_keys(Keys.HOME)
  assert position(opened) == 0
  slider.send_keys(Keys.END)
  assert position(opened) == pytest.approx(2.0, abs=0.02)


def test_only_one_clip_plays(opened):
  buttons = opened.find_elements("css selector", ".player button")
  buttons[0].click()
  until(lambda: playing(opened, 0) and position(opened) > 0.1)
  opened.execute_script("arguments[0].scrollIntoView()", buttons[1])
  buttons[1].click()
  until(lambda: playing(opened, 1))
  assert not playing(opened, 0)
  assert position(opened, 0) > 0.1


def test_a_clip_that_is_not_repeated_ends_at_its_start(opened):
  box = opened.find_element("css selector", ".player input[type=checkbox]")
  box.click()
  opened.find_element("css selector", ".player button").click()
  until(lambda: playing(opened) and position(opened) > 0.05)
  until(lambda: not playing(opened))
  assert position(opened) == 0


def test_a_metric_is_chosen_for_all_groups_by_mouse_and_keyboard(opened):
  from selenium.webdriver.common.keys import Keys

  def seen():
    return opened.execute_script(
      "return [...document.querySelectorAll('.block')]"
      ".filter((b) => b.checkVisibility()).map((b) => b.dataset.metric)"
    )

  assert seen() == ["visqol_audio"] * 2
  first = opened.find_element("css selector", ".chooser input")
  first.send_keys(Keys.ARROW_RIGHT)
  assert seen() == ["log_mel"] * 2


def test_focus_can_be_seen_wherever_tab_leads(opened):
  from selenium.webdriver.common.keys import Keys

  styles = set()
  for _ in range(25):
    keys(opened, Keys.TAB)
    found = opened.execute_script(
      """
      const at = document.activeElement;
      const ring = (one) => one && getComputedStyle(one).outlineStyle;
      const near = [at, at.nextElementSibling, at.closest("label")];
      return [at.tagName, near.map(ring)];
      """
    )
    assert "solid" in found[1], found
    styles.add(found[0])
  assert {"A", "INPUT", "DIV", "SUMMARY"} <= styles


CONTRASTS = """
const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92
  : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) =>
  0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parsed = (text) => text.match(/[\\d.]+/g).map(Number);
const ground = (one) => {
  for (; one; one = one.parentElement) {
    const colour = parsed(getComputedStyle(one).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
};
const found = {};
for (const one of document.querySelectorAll("body *")) {
  const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !one.checkVisibility() || one.matches("script, .spoken")) continue;
  const style = getComputedStyle(one);
  const ink = one instanceof SVGElement ? style.fill : style.color;
  const pair = [light(parsed(ink)), light(ground(one))].sort((a, b) => a - b);
  const contrast = (pair[1] + 0.05) / (pair[0] + 0.05);
  const name = `${one.tagName}.${one.getAttribute("class") ?? ""}`;
  found[name] = Math.min(found[name] ?? 99, contrast);
}
return found;
"""


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_text_can_be_read_by_day_and_night(mode, opened):
  shown(opened, width=1440, mode=mode)
  found = opened.execute_script(CONTRASTS)
  assert len(found) > 15 and "text." in found  # of drawings too
  assert {name: c for name, c in found.items() if c < 4.5} == {}
  bright = opened.execute_script(
    "return getComputedStyle(document.documentElement).backgroundColor"
  )
  assert (int(re.findall(r"\d+", bright)[0]) > 127) == (mode == "light")


def test_without_scripts_all_is_there(opened, file):
  opened.execute_cdp_cmd(
    "Emulation.setScriptExecutionDisabled", {"value": True}
  )
  try:
    opened.get(file.as_uri())
    audio = opened.find_elements("css selector", "audio")
    assert len(audio) == 45 and all(each.is_displayed() for each in audio)
    blocks = opened.find_elements("css selector", ".block")
    assert all(block.is_displayed() for block in blocks)
  finally:
    opened.execute_cdp_cmd(
      "Emulation.setScriptExecutionDisabled", {"value": False}
    )


def test_it_prints_in_ink_on_paper(opened):
  import base64

  shown(opened, width=1440, mode="dark")
  done = opened.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27})
  pdf = base64.b64decode(done["data"])
  assert pdf.startswith(b"%PDF") and len(pdf) > 50_000
  opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
  try:
    colours = opened.execute_script(
      "const style = getComputedStyle(document.documentElement);"
      "return [style.backgroundColor, style.color]"
    )
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    for name in ("nav", ".transport", "audio", ".chooser"):
      each = opened.find_element("css selector", name)
      assert not each.is_displayed(), name
  finally:
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
