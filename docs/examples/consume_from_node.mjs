// Prints the pending changes of a scope, oldest first, and confirms them: node consume_from_node.mjs PORT NAMESPACE SCOPE
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { send, shown, stateOf } from "./redis_formats.mjs";

const [port, namespace, scope] = process.argv.slice(2);
const tag = `er:{${namespace}:sync0}`;
const script = readFileSync(new URL("confirm.lua", import.meta.url), "utf8");
const digest = (algorithm, bytes) => createHash(algorithm).update(bytes).digest("hex");

// <runs>:<replacements>; a run is three numbers: bytes to keep, bytes to leave out, bytes to put in their place.
function applySplice(base, splice) {
  const colon = splice.indexOf(":");
  const numbers = colon > 0 ? splice.toString("latin1", 0, colon).split(" ").map(Number) : [];
  const parts = [];
  let position = 0;
  let taken = colon + 1;
  for (let i = 0; i < numbers.length; i += 3) {
    const [offset, length, size] = numbers.slice(i, i + 3);
    parts.push(base.subarray(position, position + offset), splice.subarray(taken, taken + size));
    position += offset + length;
    taken += size;
  }
  return Buffer.concat([...parts, base.subarray(position)]);
}

function parseEntry([id, words]) {
  const entry = { version: `${id}`.split("-")[0] };
  for (let i = 0; i < words.length; i += 2) {
    const name = `${words[i]}`;
    entry[name] = name === "data" || name === "splice" ? words[i + 1] : `${words[i + 1]}`;
  }
  return entry;
}

// The body of an entry; null where the entry has left the outbox since it was read.
async function bodyOf(entry, before) {
  if (!entry.splice) return entry.data;
  if (entry.base === before?.checksum) return applySplice(before.body, entry.splice);
  return (await send(port, [["HGET", `${tag}:bodies:${scope}`, entry.version]]))[0];
}

async function confirm({ version, clock }) {
  const keys = [`doc:${scope}`, `pending:${scope}`, `history:${scope}`, "work", "repeats", "totals"].map((name) => `${tag}:${name}`);
  const words = ["6", ...keys, scope, version, "1000", "", "0", "", clock];
  const replies = await send(port, [["EVALSHA", digest("sha1", script), ...words]]).catch((error) => {
    if (!error.message.startsWith("-NOSCRIPT")) throw error;
    return send(port, [["EVAL", script, ...words]]);
  });
  const reply = `${replies[0]}`;
  if (!reply.startsWith("OK ") && reply !== "REUSED") throw new Error(reply); // REUSED: another change has its version now
}

let before; // the change before, with its body
let absent; // the version whose body was not there
for (;;) {
  const [found] = await send(port, [["XRANGE", `${tag}:pending:${scope}`, "-", "+", "COUNT", "100"]]);
  const entries = found.map(parseEntry);
  if (!entries.length) break;
  let last;
  for (const entry of entries) {
    const body = await bodyOf(entry, before);
    if (body === null) break;
    if (digest("sha256", body) !== entry.checksum) throw new Error(`version ${entry.version} is damaged`);
    console.log(JSON.stringify({ version: Number(entry.version), spliced: Boolean(entry.splice), state: stateOf(body) }, shown));
    before = last = { ...entry, body };
  }
  if (last) await confirm(last);
  else if (absent === entries[0].version) throw new Error(`version ${absent} has no body`);
  absent = last ? undefined : entries[0].version;
}
