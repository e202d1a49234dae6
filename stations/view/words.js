// Values as people read them.  What is not known is "-", never 0.

const digits = new Intl.NumberFormat("en-GB");

export const count = (n) => (n == null ? "-" : digits.format(n).replaceAll(",", "\u202f"));

export const shape = (sides) => (sides.length ? sides.join(" × ") : "scalar");

export function number(value) {
  if (value == null || !Number.isFinite(value)) return "-";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return scaled(value, size);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

function scaled(value, size) {
  const steps = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const step = steps.find(([power]) => size >= power);
  return step ? `${(value / step[0]).toFixed(1)} ${step[1]}` : value.toExponential(1);
}

export function age(ms) {
  if (ms == null) return "-";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 100_000 ? `${(ms / 1000).toFixed(1)} s` : elapsed(ms / 1000);
}

export function elapsed(seconds) {
  if (seconds == null) return "";
  const whole = Math.floor(seconds), pad = (n) => String(n).padStart(2, "0");
  const minutes = `${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
  return whole < 3600 ? minutes : `${Math.floor(whole / 3600)}:${minutes}`;
}

const perS = (rate) => (rate >= 1000 ? `${(rate / 1000).toFixed(1)}k` : rate >= 100 ? rate.toFixed(0) : rate.toFixed(1));

export function perSecond(rate, target) {
  if (rate == null) return "-";
  return `${perS(rate)}${target ? ` of ${perS(target).replace(".0", "")}` : ""} /s`;
}

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB/s`;

export function drops(lost) {
  if (lost == null) return "-";
  const parts = Object.entries(lost).filter(([, n]) => n > 0).map(([reason, n]) => `${count(n)} ${reason}`);
  return parts.length ? parts.join(", ") : "0";
}
