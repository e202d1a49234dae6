// The page: one websocket, one card a stream.  What is on screen is always the newest; nothing is queued here.

import { drawImage, drawLines } from "./draw.js";
import { Card } from "./card.js";
import { EVENTS, HELLO, IMAGE, LINES, STATUS, TICK, VALUES, parse, seen } from "./wire.js";
import { count, elapsed, megabytes } from "./words.js";

const at = (id) => document.getElementById(id);
const cards = new Map(); // by the stream's id on the wire
const RETRY_MS = 1000;

// For tests and the curious: what was drawn since the page was opened, and a way to lose the connection.
const drawn = { ticks: 0, images: 0, lines: 0 };
globalThis.drawn = drawn;
globalThis.disconnect = () => current?.close();
let current = null;

function connect() {
  const socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws")));
  current = socket;
  socket.binaryType = "arraybuffer";
  socket.onopen = () => setLink("open", "live");
  socket.onmessage = ({ data }) => onFrame(socket, data);
  socket.onclose = () => {
    setLink("closed", "connection lost");
    for (const card of cards.values()) card.forget();
    showRecording({ state: "unknown", name: "", seconds: null });
    setTimeout(connect, RETRY_MS);
  };
}

function setLink(state, words) {
  document.body.dataset.link = state;
  at("link").dataset.state = state;
  at("link-text").textContent = words;
}

let decoding = []; // of the tick that is being received

function onFrame(socket, data) {
  const { kind, header, payload } = parse(data);
  if (kind === HELLO) onHello(header);
  else if (kind === STATUS) onStatus(header);
  else if (kind === EVENTS) onEvents(header.events);
  else if (kind === VALUES) onValues(header.values);
  else if (kind === IMAGE) decoding.push(onImage(header, payload));
  else if (kind === LINES) onLines(header, payload);
  else if (kind === TICK) onTick(socket, header.number);
}

function onLines(header, payload) {
  const levels = new Int16Array(payload.buffer, payload.byteOffset, header.channels * header.buckets * 2);
  cards.get(header.stream)?.offer({ header, levels });
}

async function onImage(header, jpeg) {
  const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  const card = cards.get(header.stream);
  if (card) card.offer({ header, bitmap });
  else bitmap.close();
}

// A tick is seen when it is on the screen.  A hidden page gets no animation frames, so it sees nothing and is sent nothing.
async function onTick(socket, number) {
  const images = decoding;
  decoding = [];
  await Promise.allSettled(images);
  requestAnimationFrame(() => {
    for (const card of cards.values()) draw(card);
    drawn.ticks++;
    if (socket.readyState === WebSocket.OPEN) socket.send(seen(number));
  });
}

function draw(card) {
  const news = card.take();
  if (!news) return;
  if (news.bitmap) {
    drawImage(card.canvas, news.bitmap);
    news.bitmap.close();
    drawn.images++;
  } else {
    drawLines(card.canvas, news.header, news.levels, card.isNamed);
    drawn.lines++;
  }
  card.showDrawn(news.header);
}

function onHello({ rig, terminal }) {
  at("rig").textContent = rig;
  at("terminal").textContent = `terminal ${terminal}`;
  document.title = `${rig} · pipeline`;
  for (const card of cards.values()) card.remove();
  cards.clear();
}

function onStatus({ streams, recording }) {
  const here = new Set(streams.map((stream) => stream.id));
  for (const [id, card] of cards) {
    if (!here.has(id)) {
      card.remove();
      cards.delete(id);
    }
  }
  for (const stream of streams) {
    if (!cards.has(stream.id)) cards.set(stream.id, new Card(stream, at("card"), at("cards")));
    cards.get(stream.id).show(stream);
  }
  at("empty").hidden = streams.length > 0;
  showTotals(streams);
  showRecording(recording);
}

function showTotals(streams) {
  const sum = (value) => streams.reduce((total, stream) => total + value(stream), 0);
  const lost = sum((stream) => Object.values(stream.drops ?? {}).reduce((a, b) => a + b, 0));
  at("total-streams").textContent = streams.length;
  at("total-mb").textContent = megabytes(sum((stream) => stream.bytes_per_s ?? 0));
  at("total-drops").textContent = count(lost);
  at("total-drops").classList.toggle("bad", lost > 0);
}

function showRecording({ state, name, seconds }) {
  const words = { recording: `recording ${elapsed(seconds)}`, standby: "standing by", idle: "not recording", unknown: "-" }[state];
  at("recording").dataset.state = state;
  at("recording").title = name;
  at("recording-text").textContent = state === "recording" && name ? `${words} · ${name}` : words;
}

function onValues(values) {
  at("messages").hidden = values.length === 0;
  at("values").replaceChildren(...values.map(valueRow));
}

function valueRow({ sender, key, text, wall_ms, stopped }) {
  const row = document.createElement("tr");
  row.classList.toggle("stopped", stopped);
  row.title = new Date(wall_ms).toLocaleTimeString("en-GB");
  for (const [kind, words] of [["who", sender], ["key", key], ["value", text]]) {
    row.append(Object.assign(document.createElement("td"), { className: kind, textContent: words }));
  }
  return row;
}

function onEvents(events) {
  at("event-count").textContent = events.length;
  at("events").replaceChildren(...events.toReversed().map(eventRow));
}

function eventRow({ wall_ms, kind, who, text, bad }) {
  const row = document.createElement("li");
  const time = document.createElement("time");
  const words = document.createElement("span");
  const name = document.createElement("strong");
  row.classList.toggle("bad", bad);
  time.textContent = new Date(wall_ms).toLocaleTimeString("en-GB");
  name.textContent = kind;
  words.append(name, who ? ` ${who}` : "");
  row.append(time, words);
  if (text) row.append(Object.assign(document.createElement("p"), { textContent: text }));
  return row;
}

let ticksBefore = 0;
setInterval(() => {
  at("drawn").textContent = document.hidden ? "-" : `${drawn.ticks - ticksBefore} /s`;
  ticksBefore = drawn.ticks;
}, 1000);

connect();
