// A PouchDB at an edge that replicates live, both ways, to a server: node _link_pouchdb.cjs URL FOLDER
// Each line on stdin is a document, which becomes the next revision of "state". Prints "ready" once.
const readline = require("readline");
const PouchDB = require(require.resolve("pouchdb", { paths: [process.env.POUCHDB_MODULES] }));

const [url, folder] = process.argv.slice(2);
const local = new PouchDB(`${folder}/edge`);
local.sync(new PouchDB(url), { live: true, retry: true });
const lines = readline.createInterface({ input: process.stdin });
let last = Promise.resolve();
lines.on("line", (line) => {
  last = last.then(async () => {
    const found = await local.get("state").catch(() => ({ _id: "state" }));
    await local.put({ ...JSON.parse(line), _id: "state", _rev: found._rev });
  });
});
lines.on("close", () => process.exit(0));
console.log("ready");
