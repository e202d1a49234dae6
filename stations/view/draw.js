// Canvas drawing: images as they come, channels as lanes of least-to-greatest bars.  Knows no websocket.

const GAP = -32768, FULL = 32767;
const INKS = ["#1f5f9c", "#b4532a", "#1a7f6b", "#7a4fa3", "#8a6d00", "#a8386b", "#3b6ea8", "#4d7a28"];
const GRID = "#e6ebf0";

const CROWD = 8, OVERLAP = 2.5;

// How far a line may reach beyond its lane: many channels of one gain share the room, as on an oscillograph's paper.
export const overlap = (channels, isNamed) => (!isNamed && channels > CROWD ? OVERLAP : 1);

export const ink = (channel) => INKS[channel % INKS.length];

// Draw a decoded image at its own size; CSS fits it into the card.
export function drawImage(canvas, bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
}

// Draw lanes from top to bottom, time from left to right.  levels: Int16Array (channels, buckets, 2).
export function drawLines(canvas, { channels, buckets, span_s }, levels, isNamed) {
  const scale = globalThis.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * scale));
  const height = Math.max(1, Math.round(canvas.clientHeight * scale));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext("2d", { alpha: false });
  pen.fillStyle = "#fbfcfd";
  pen.fillRect(0, 0, width, height);
  drawGrid(pen, width, height, channels, span_s);
  pen.lineWidth = Math.max(1, scale * (channels > CROWD ? 0.9 : 1.2));
  const reach = overlap(channels, isNamed);
  pen.lineJoin = "round";
  for (let channel = 0; channel < channels; channel++) {
    pen.strokeStyle = ink(channel);
    const lane = { top: (channel * height) / channels, height: height / channels, width };
    drawLane(pen, levels.subarray(channel * buckets * 2, (channel + 1) * buckets * 2), lane, reach);
  }
}

function drawGrid(pen, width, height, channels, span) {
  pen.strokeStyle = GRID;
  pen.lineWidth = 1;
  pen.beginPath();
  if (channels <= 16) {
    for (let lane = 1; lane < channels; lane++) line(pen, 0, (height * lane) / channels, width, (height * lane) / channels);
  }
  for (let t = secondsPerLine(span); span > 0 && t < span; t += secondsPerLine(span)) {
    line(pen, width * (1 - t / span), 0, width * (1 - t / span), height);
  }
  pen.stroke();
}

function line(pen, x0, y0, x1, y1) {
  pen.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
  pen.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
}

export function secondsPerLine(span) {
  return [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60].find((step) => span / step <= 6) ?? 600;
}

function drawLane(pen, levels, { top, height, width }, reach) {
  const middle = top + height / 2, half = (height / 2 / FULL) * reach, buckets = levels.length / 2;
  let isDown = false;
  pen.beginPath();
  for (let bucket = 0; bucket < buckets; bucket++) {
    const low = levels[2 * bucket], high = levels[2 * bucket + 1];
    if (low === GAP) {
      isDown = false;
      continue;
    }
    const x = ((bucket + 0.5) * width) / buckets;
    // Up in one bucket and down in the next keeps the joining strokes short.
    const [from, to] = bucket % 2 ? [high, low] : [low, high];
    if (isDown) pen.lineTo(x, middle - from * half);
    else pen.moveTo(x, middle - from * half);
    if (from !== to || !isDown) pen.lineTo(x, middle - to * half);
    isDown = true;
  }
  pen.stroke();
}
