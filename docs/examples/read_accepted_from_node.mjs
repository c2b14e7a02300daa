// Prints the accepted changes of a cloud and acknowledges them: node read_accepted_from_node.mjs PORT NAMESPACE GROUP CONSUMER
import { send, shown, stateOf } from "./redis_formats.mjs";

const [port, namespace, group, consumer] = process.argv.slice(2);
const stream = `er:{${namespace}:cloud0}:accepted`;

await send(port, [["XGROUP", "CREATE", stream, group, "0", "MKSTREAM"]]).catch((error) => {
  if (!error.message.startsWith("-BUSYGROUP")) throw error; // the group is there
});

function parseEntry([id, words]) {
  const entry = { id: `${id}` };
  for (let i = 0; i < words.length; i += 2) entry[`${words[i]}`] = `${words[i]}` === "data" ? words[i + 1] : `${words[i + 1]}`;
  return entry;
}

// First the changes that this consumer was given before and has not acknowledged, then new ones.
let last;
for (const position of ["0", ">"]) {
  for (;;) {
    const words = ["XREADGROUP", "GROUP", group, consumer, "COUNT", "100", "STREAMS", stream, position];
    const [found] = await send(port, [words]);
    const entries = found ? found[0][1].filter(([, words]) => words).map(parseEntry) : [];
    if (!entries.length) break;
    for (const { number, scope, version, data, size } of entries) {
      if (last && Number(number) > last + 1) console.error(`${Number(number) - last - 1} changes before ${number} went to others, or are lost`);
      last = Number(number);
      console.log(JSON.stringify({ number: last, scope, version: Number(version), ...(data ? { state: stateOf(data) } : { size: Number(size) }) }, shown));
    }
    await send(port, [["XACK", stream, group, ...entries.map(({ id }) => id)]]);
  }
}
