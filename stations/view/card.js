// One stream on the page: its canvas, its labels, its facts.

import { ink, overlap } from "./draw.js";
import { age, count, drops, number, perSecond, shape } from "./words.js";

const LANE = 10, LANE_NAMED = 17, HEIGHT = 330; // CSS pixels; HEIGHT as in page.css

export class Card {
  constructor(stream, template, parent) {
    this.root = template.content.firstElementChild.cloneNode(true);
    this.canvas = this.root.querySelector("canvas");
    this.facts = Object.fromEntries([...this.root.querySelectorAll("[data-fact]")].map((dd) => [dd.dataset.fact, dd]));
    this.labels = this.root.querySelector(".labels");
    this.news = null;
    this.values = [];
    this.isNamed = stream.labels.length > 0;
    this.channels = stream.channels;
    this.root.dataset.stream = stream.name;
    this.root.dataset.kind = stream.kind;
    this.root.querySelector("h2").textContent = stream.name;
    this.root.querySelector("h2").title = stream.name;
    this.root.querySelector(".form").textContent = `${shape(stream.shape)} ${stream.dtype}`;
    if (stream.kind === "traces") this.#addLabels(stream);
    parent.insertBefore(this.root, [...parent.children].find((other) => other.dataset.stream > stream.name) ?? null);
  }

  // Lanes and labels are rows of the same height, so a name stands beside its line.
  #addLabels({ labels, channels }) {
    const height = Math.max(HEIGHT, channels * (this.isNamed ? LANE_NAMED : LANE));
    this.root.querySelector(".canvas").style.height = `${height}px`;
    this.labels.classList.toggle("numbers", !this.isNamed);
    this.labels.hidden = !this.isNamed && channels === 1;
    for (let channel = 0; channel < channels; channel++) {
      const row = document.createElement("div");
      const name = document.createElement("span");
      const value = document.createElement("b");
      name.textContent = this.isNamed ? labels[channel] ?? channel : channels <= 16 || channel % 4 === 0 ? channel : "";
      name.style.color = ink(channel);
      row.append(name, value);
      this.labels.append(row);
      this.values.push(value);
    }
  }

  // Keep something to be drawn; a newer one replaces it.
  offer(news) {
    this.news?.bitmap?.close();
    this.news = news;
  }

  take() {
    const news = this.news;
    this.news = null;
    return news;
  }

  remove() {
    this.offer(null);
    this.root.remove();
  }

  // Facts that come with every status.
  show({ state, rate, target, age_ms, items, drops: lost, unit }) {
    const pill = this.root.querySelector(".pill");
    this.root.dataset.state = state;
    this.unit = unit;
    pill.dataset.state = state;
    pill.lastElementChild.textContent = state;
    this.facts.rate.textContent = perSecond(rate, target);
    this.facts.age.textContent = age(age_ms);
    this.facts.items.textContent = count(items);
    this.facts.drops.textContent = drops(lost);
    this.facts.drops.classList.toggle("bad", Object.values(lost ?? {}).some((n) => n > 0));
  }

  // What was known a moment ago is not known any more.
  forget() {
    const pill = this.root.querySelector(".pill");
    this.root.dataset.state = pill.dataset.state = pill.lastElementChild.textContent = "unknown";
    this.facts.rate.textContent = this.facts.age.textContent = "-";
  }

  // Facts that come with what was drawn.
  showDrawn(header) {
    this.root.dataset.sequence = header.sequence;
    if (header.last) this.#showLines(header);
    else this.facts.shown.textContent = pictureWords(header);
  }

  #showLines({ last, span_s, low, high }) {
    last.forEach((value, channel) => (this.values[channel].textContent = number(value)));
    const lane = (high[0] - low[0]) / overlap(this.channels, this.isNamed);
    const gain = this.isNamed ? "" : ` · ${number(lane)}${this.unit ? ` ${this.unit}` : ""} a lane`;
    this.facts.shown.textContent = (span_s > 0 ? `last ${number(span_s)} s` : "newest") + gain;
  }
}

function pictureWords({ width, height, low, high }) {
  const range = low === 0 && high === 255 ? "" : ` · ${number(low)} to ${number(high)}`;
  return `${width} × ${height}${range}`;
}
