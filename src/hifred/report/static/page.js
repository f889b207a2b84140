"use strict";

/* What the page does: unpacks the cubes, shows the spectrum of the pixel that is clicked and the images of the band that
   is dragged over. The figures are Bokeh's and are found by their names; `views.py` and `spectra.py` do the same sums. */

const LEVELS = 4095;
const BLANK = -32768;

async function unpack(text) {
  const octets = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([octets]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

/* Flux density of one instrument, the fusion or the truth: `codes` is (pixel, energy). */
class View {
  static async from(entry) {
    const view = new View();
    view.key = entry.key;
    view.bins = entry.bins;
    view.pixels = entry.pixels;
    view.edges = new Float64Array(await unpack(entry.edges));
    view.peaks = new Float32Array(await unpack(entry.peaks));
    view.place = new Int32Array(await unpack(entry.place));
    const octets = new Uint8Array(await unpack(entry.codes));
    const size = view.bins * view.pixels;
    view.codes = new Int16Array(size);
    for (let i = 0; i < size; i++) {
      const step = octets[i] | (octets[size + i] << 8);
      view.codes[i] = step + (i % view.bins === 0 ? 0 : view.codes[i - 1]);
    }
    return view;
  }

  get isInput() {
    return this.key !== "fused" && this.key !== "truth";
  }

  value(pixel, bin) {
    const code = this.codes[pixel * this.bins + bin];
    if (code === BLANK) return NaN;
    return (Math.sign(code) * code * code * this.peaks[pixel]) / (LEVELS * LEVELS);
  }

  spectrum(sky) {
    return Float64Array.from({ length: this.bins }, (_, bin) => this.value(this.place[sky], bin));
  }

  image(low, high) {
    const weights = [];
    for (let bin = 0; bin < this.bins; bin++) {
      const inside = Math.min(this.edges[bin + 1], high) - Math.max(this.edges[bin], low);
      if (inside > 0) weights.push([bin, inside]);
    }
    const whole = weights.reduce((sum, [, inside]) => sum + inside, 0);
    const own = new Float64Array(this.pixels);
    for (let pixel = 0; pixel < this.pixels; pixel++) {
      let flux = 0, seen = 0;
      for (const [bin, inside] of weights) {
        const value = this.value(pixel, bin);
        if (value === value) { flux += value * inside; seen += inside; }
      }
      own[pixel] = seen > 0 ? (flux / seen) * whole : NaN;
    }
    return Float32Array.from(this.place, (pixel) => own[pixel]);
  }
}

function quantile(values, part) {
  const known = Float64Array.from(values).filter((value) => value === value).sort();
  return known.length ? known[Math.floor(part * (known.length - 1))] : 0;
}

class Report {
  constructor(page) {
    this.page = page;
    this.row = 0;
    this.views = [];
    this.motion = null;
  }

  async open() {
    try {
      if (this.page.motion) this.motion = await View.from(this.page.motion.cube);
      this.views = await Promise.all(this.page.views.map((entry) => View.from(entry)));
    } catch (error) {
      this.say("trouble", `This browser cannot unpack the cubes (${error}): clicks and drags do nothing.`);
      return;
    }
    this.page.views = null;
    document.body.dataset.ready = "true";
  }

  model(name) {
    return Bokeh.documents[0].get_model_by_name(name);
  }

  say(id, text) {
    const element = document.getElementById(id);
    if (element) element.textContent = text;
  }

  /* Power of ten taken out of numbers up to `top`. */
  power(top) {
    const power = top > 0 && isFinite(top) ? Math.floor(Math.log10(top)) : 0;
    return power >= -2 && power <= 3 ? 0 : power;
  }

  number(tick, top) {
    return String(Number((tick / 10 ** this.power(top)).toPrecision(4))).replace("-", "−");
  }

  unit(top, unit) {
    const power = this.power(top);
    if (power === 0) return unit;
    const raised = [...String(power)].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
    return `10${raised} ${unit}`;
  }

  /* A click at `(x, y)` in sky pixels. */
  pick(x, y) {
    const [ny, nx] = this.page.shape;
    const column = Math.floor(x), row = Math.floor(y);
    if (!this.views.length || column < 0 || row < 0 || column >= nx || row >= ny) return;
    this.page.pixel = [row, column];
    this.model("marker").data = { x: [column + 0.5], y: [row + 0.5] };
    for (const view of this.views) {
      const values = view.spectrum(row * nx + column);
      this.model(`spectrum-${view.key}`).data = {
        x: Float64Array.from({ length: 2 * view.bins }, (_, i) => view.edges[(i + 1) >> 1]),
        y: Float64Array.from({ length: 2 * view.bins }, (_, i) => values[i >> 1]),
      };
    }
    this.say("pixel", this.pixelWords());
    if (this.motion) this.cut(row);
    this.fit("whole");
    this.fit("near");
  }

  /* Show the light along a row of pixels, by velocity. */
  cut(row) {
    const nx = this.page.shape[1], bins = this.motion.bins;
    const values = Float32Array.from({ length: bins * nx },
      (_, i) => this.motion.value(row * nx + (i % nx), Math.floor(i / nx)));
    const source = this.model("cut-source"), top = quantile(values, 1);
    source.data.image[0].set(values);
    source.change.emit();
    this.model("cut-scale").high = top > 0 ? top : 1;
    this.say("cut-row", this.rowWords(row));
    this.say("cut-unit", this.unit(top, this.page.motion.unit));
  }

  rowWords(row) {
    const size = this.page.pixel_size, words = `row y ${row}`;
    if (size === null) return words;
    const up = (row + 0.5 - this.page.shape[0] / 2) * size;
    return `${words}; ${Math.abs(up).toFixed(size < 1 ? 1 : 0)}″ ${up < 0 ? "below" : "above"} the centre`;
  }

  pixelWords() {
    const [row, column] = this.page.pixel, [ny, nx] = this.page.shape, size = this.page.pixel_size;
    const words = `pixel x ${column}, y ${row}`;
    if (size === null) return words;
    const left = (nx / 2 - column - 0.5) * size, up = (row + 0.5 - ny / 2) * size;
    const angle = this.page.rotation * Math.PI / 180, cos = Math.cos(angle), sin = Math.sin(angle);
    const east = left * cos + up * sin, north = up * cos - left * sin;
    const digits = size < 1 ? 1 : 0;
    return `${words}; ${Math.abs(east).toFixed(digits)}″ ${east < 0 ? "west" : "east"}, ` +
      `${Math.abs(north).toFixed(digits)}″ ${north < 0 ? "south" : "north"} of the centre`;
  }

  /* Scale the flux axis of a figure to the pixel's spectra between the ends of its energy axis. */
  fit(name) {
    const range = this.model(`${name}-x`);
    const [row, column] = this.page.pixel, sky = row * this.page.shape[1] + column;
    let best = 0, noisy = 0;
    for (const view of this.views) {
      const values = view.spectrum(sky)
        .filter((_, bin) => view.edges[bin + 1] > range.start && view.edges[bin] < range.end);
      if (view.isInput) noisy = Math.max(noisy, quantile(values, 0.99));
      else best = Math.max(best, quantile(values, 1));
    }
    const top = Math.max(best, best > 0 ? Math.min(noisy, 2 * best) : noisy);
    const axis = this.model(`${name}-y`);
    axis.setv({ start: 0, end: top > 0 ? 1.08 * top : 1 });
    this.say(`${name}-unit`, this.unit(axis.end, this.page.spectrum_unit));
  }

  drag(geometry) {
    if (geometry.type === "rect") this.select(geometry.x0, geometry.x1, "Chosen band");
  }

  /* Show the images of a band in the row that drags go to. */
  select(from, to, name) {
    const [first, last] = this.page.ends;
    const low = Math.max(Math.min(from, to), first), high = Math.min(Math.max(from, to), last);
    if (!this.views.length || high - low < 0.5 * this.page.bin) return;
    this.show(this.row, { low, high, label: name });
  }

  show(row, band) {
    this.page.bands[row] = band;
    let top = 0;
    for (const view of this.views) {
      const values = view.image(band.low, band.high);
      const source = this.model(`image-${row}-${view.key}-source`);
      source.data.image[0].set(values);
      source.change.emit();
      if (!view.isInput) top = Math.max(top, quantile(values, 0.995), 0.5 * quantile(values, 1));
    }
    top = top > 0 ? top : 1;
    this.model(`scale-${row}`).high = top;
    this.model(`bar-${row}-range`).end = top;
    for (const name of ["whole", "near"]) this.model(`${name}-box-${row}`).setv({ left: band.low, right: band.high });
    this.say(`band-${row}-name`, band.label);
    this.say(`band-${row}-range`, this.interval(band.low, band.high));
    this.say(`band-${row}-unit`, this.unit(top, this.page.image_unit));
    if (row === 0) this.approach(band);
  }

  interval(low, high) {
    if (this.page.energies) return `${low.toFixed(this.page.decimals)} to ${high.toFixed(this.page.decimals)} keV`;
    return `bins ${Math.ceil(low)} to ${Math.max(Math.floor(high) - 1, Math.ceil(low))}`;
  }

  /* Move the close-up to a band. */
  approach(band) {
    const [first, last] = this.page.ends;
    const half = Math.max(2.5 * (band.high - band.low), 15 * this.page.bin), middle = 0.5 * (band.low + band.high);
    this.model("near-x").setv({ start: Math.max(middle - half, first), end: Math.min(middle + half, last) });
    this.fit("near");
  }

  /* Which row of images a drag changes. */
  aim(row) {
    this.row = row;
    for (const button of document.querySelectorAll("[data-row]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.row) === row));
    }
  }

  toggle(button) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    for (const name of ["whole", "near"]) this.model(`${name}-line-${button.dataset.view}`).visible = shown;
  }

  reset() {
    if (!this.views.length) return;
    this.aim(0);
    this.page.start.bands.forEach((band, row) => this.show(row, { ...band }));
    this.pick(this.page.start.pixel[1] + 0.5, this.page.start.pixel[0] + 0.5);
  }

  /* Give up the keyboard focus that a click gave to a figure, which would be framed with dots. */
  unfocus() {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    if (document.activeElement?.shadowRoot) element.blur();
  }

  listen() {
    window.addEventListener("pointerup", () => setTimeout(() => this.unfocus()), true);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.row) this.aim(Number(button.dataset.row));
      else if (button.dataset.view) this.toggle(button);
      else if (button.dataset.low) this.select(Number(button.dataset.low), Number(button.dataset.high), button.title);
      else if (button.id === "reset") this.reset();
    });
  }
}

window.hifred = new Report(JSON.parse(document.getElementById("hifred-data").textContent));
window.hifred.listen();
window.hifred.open();
