// A proxy before the control endpoint that says of everybody that he is VIEWER: a player on this machine has an address that no router tells of.
//
//   node proxy.js CERTIFICATE KEY CA CONTROL VIEWER FILE
//
// CONTROL is host and port; where the proxy listens is written to FILE, in the same way.

import { readFile, rename, writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:https';

const [certificate, key, authority, control, viewer, file] = process.argv.slice(2);
const [host, port] = control.split(':');
const ca = await readFile(authority);
const server = createServer({ cert: await readFile(certificate), key: await readFile(key) }, (asked, answer) => {
  const headers = { ...asked.headers, 'x-forwarded-for': viewer };
  const onward = request({ host, port, ca, method: asked.method, path: asked.url, headers }, (response) => {
    answer.writeHead(response.statusCode, response.headers);
    response.pipe(answer);
  });
  onward.on('error', (problem) => answer.writeHead(502).end(problem.message));
  asked.pipe(onward);
});
server.listen(0, '127.0.0.1', async () => {
  await writeFile(`${file}.new`, `127.0.0.1:${server.address().port}`);
  await rename(`${file}.new`, file);
});
