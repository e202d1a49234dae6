// The websocket's wire as the page sees it; stations/view/frames.py is its description.

export const VERSION = 1;
export const HELLO = 1, STATUS = 2, EVENTS = 3, IMAGE = 4, LINES = 5, TICK = 6, VALUES = 7;

const PREFIX = 8;
const text = new TextDecoder();

// Return {kind, header, payload} of one binary frame; the payload is a view into it, aligned to 8 bytes.
export function parse(buffer) {
  const prefix = new DataView(buffer, 0, PREFIX);
  const version = prefix.getUint8(1);
  if (version !== VERSION) throw new Error(`the view speaks version ${version}, this page ${VERSION}: reload it`);
  const length = prefix.getUint32(4, true);
  const header = JSON.parse(text.decode(new Uint8Array(buffer, PREFIX, length)));
  return { kind: prefix.getUint8(0), header, payload: new Uint8Array(buffer, PREFIX + length) };
}

// Return the answer to a tick that was drawn.
export const seen = (number) => JSON.stringify({ seen: number });
