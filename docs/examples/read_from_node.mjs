// Reads a cached value and a node's record: node read_from_node.mjs PORT NAMESPACE KEY NODE
import { decode, send, shown } from "./redis_formats.mjs";

const [port, namespace, key, node] = process.argv.slice(2);

// 10 digits of sequence, 13 of time; 0xC1, four bytes of cost and six of stale time may stand before the value.
function decodeEntry(bytes) {
  const body = bytes.subarray(23);
  return { putAt: new Date(Number(bytes.toString("latin1", 10, 23))), value: decode(body[0] === 0xc1 ? body.subarray(11) : body) };
}

const [entry, [status, location, profile, resources], heartbeat] = await send(port, [
  ["GET", `er:{${namespace}:cache0}:v:${key}`],
  ["HMGET", `er:{${namespace}:health0}:node:${node}`, "status", "location", "profile", "resources"],
  ["ZSCORE", `er:{${namespace}:health0}:heartbeats`, node],
]);
const [name, capabilities, metadata] = decode(profile);
console.log(
  JSON.stringify(
    {
      entry: decodeEntry(entry),
      node: { name, status: `${status}`, location: `${location}`, capabilities, metadata, cpu: decode(resources)[0], heartbeat: Number(`${heartbeat}`) },
    },
    shown,
  ),
);
