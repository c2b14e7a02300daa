// What the programs beside this file share: commands to a server, and msgpack.
import net from "node:net";

// A few commands at once; replies are strings, arrays of them, integers as text, or nil.
export function send(port, commands) {
  const parts = commands.map((words) => `*${words.length}\r\n` + words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join(""));
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const socket = net.connect(Number(port), "127.0.0.1", () => socket.write(parts.join("")));
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      try {
        let at = 0;
        const line = () => {
          const end = received.indexOf("\r\n", at);
          if (end < 0) throw new RangeError("incomplete");
          const text = received.toString("latin1", at, end);
          at = end + 2;
          return text;
        };
        const reply = () => {
          const head = line();
          const size = Number(head.slice(1));
          if (head[0] === "*") return size < 0 ? null : Array.from({ length: size }, reply);
          if (head[0] === ":" || head[0] === "+") return head.slice(1);
          if (head[0] !== "$") throw new Error(head);
          if (size < 0) return null;
          if (at + size + 2 > received.length) throw new RangeError("incomplete");
          at += size + 2;
          return received.subarray(at - size - 2, at - 2);
        };
        resolve(commands.map(reply));
        socket.destroy();
      } catch (error) {
        if (error instanceof RangeError) return;
        reject(error);
        socket.destroy();
      }
    });
  });
}

// msgpack, with the extension types of the page "Keys and values".
export function decode(bytes) {
  let at = 0;
  const uint = (size) => {
    at += size;
    return size === 8 ? bytes.readBigUInt64BE(at - 8) : bytes.readUIntBE(at - size, size);
  };
  const int = (size) => {
    at += size;
    return size === 8 ? bytes.readBigInt64BE(at - 8) : bytes.readIntBE(at - size, size);
  };
  const take = (size) => bytes.subarray(at, (at += size));
  const array = (size) => Array.from({ length: size }, value);
  const map = (size) => Object.fromEntries(Array.from({ length: size }, () => [value(), value()]));
  const float = (size) => (size === 4 ? take(4).readFloatBE() : take(8).readDoubleBE());
  const extension = (size) => {
    const code = int(1);
    const body = take(size);
    if (code === 1) return decode(body);
    if (code === 2 || code === 3) return new Set(decode(body));
    if (code === 4) return new Date(decode(body)[0]);
    if (code === 5 || code === 7) return body.toString();
    if (code === 6) return decode(body).reduce((sum, part, place) => sum + part * [86_400_000, 1000, 0.001][place], 0);
    if (code === 8) return body.toString("hex");
    if (code === 9) return BigInt.asIntN(body.length * 8, BigInt(`0x${body.toString("hex")}`));
    throw new Error(`unknown extension ${code}`);
  };
  function value() {
    const type = bytes[at++];
    if (type < 0x80) return type;
    if (type < 0x90) return map(type & 0x0f);
    if (type < 0xa0) return array(type & 0x0f);
    if (type < 0xc0) return take(type & 0x1f).toString();
    if (type >= 0xe0) return type - 256;
    if (type <= 0xc3) return [null, undefined, false, true][type - 0xc0];
    if (type <= 0xc6) return take(uint(1 << (type - 0xc4)));
    if (type <= 0xc9) return extension(uint(1 << (type - 0xc7)));
    if (type <= 0xcb) return float(type === 0xca ? 4 : 8);
    if (type <= 0xcf) return uint(1 << (type - 0xcc));
    if (type <= 0xd3) return int(1 << (type - 0xd0));
    if (type <= 0xd8) return extension(1 << (type - 0xd4));
    if (type <= 0xdb) return take(uint(1 << (type - 0xd9))).toString();
    if (type <= 0xdd) return array(uint(type === 0xdc ? 2 : 4));
    return map(uint(type === 0xde ? 2 : 4));
  }
  return value();
}

// The values of a state; null where the scope was deleted. Under MERGE, each field has its clock, its writer and its value.
export function stateOf(body) {
  const found = body.length ? decode(body) : null;
  if (!Array.isArray(found)) return found;
  const fields = Object.entries(found[1]).filter(([, field]) => field.length > 2);
  return Object.fromEntries(fields.map(([name, field]) => [name, field[2]]));
}

// A value as JSON has it, for JSON.stringify.
export const shown = (_, found) => (found instanceof Set ? [...found] : typeof found === "bigint" ? `${found}` : found);
