// A fresh Chromium for each run, the page with the player in it, and what both say.

import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

const libraries = {
  hls: { name: 'hls.js', file: 'hls.js/dist/hls.min.js', package: 'hls.js/package.json' },
  dash: { name: 'dash.js', file: 'dashjs/dist/modern/umd/dash.all.min.js', package: 'dashjs/package.json' },
  shaka: { name: 'shaka-player', file: 'shaka-player/dist/shaka-player.compiled.js', package: 'shaka-player/package.json' },
};

const own = (path) => readFile(fileURLToPath(new URL(path, import.meta.url)));
const modules = (path) => own(`node_modules/${path}`);

// A server for the page; the player is chosen by the page's address.
async function servePages() {
  const server = createServer(async (request, response) => {
    const player = new URL(request.headers.referer ?? 'http://none').searchParams.get('player');
    if (request.url.startsWith('/page.html')) {
      response.setHeader('Content-Type', 'text/html').end(await own('page.html'));
    } else if (request.url === '/player.js' && player in libraries) {
      response.setHeader('Content-Type', 'text/javascript').end(await modules(libraries[player].file));
    } else {
      response.writeHead(204).end();
    }
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return server;
}

const has = (headers, name) => Object.keys(headers).some((field) => name.test(field));

// What Chromium's network says of some addresses, preflights included.
export async function watchRequests(page, isWatched) {
  const requests = new Map();
  const session = await page.context().newCDPSession(page);
  const of = (event) => requests.get(event.requestId);
  session.on('Network.requestWillBeSent', (event) => {
    if (!isWatched(event.request.url)) return;
    const { url, method, headers } = event.request;
    const cmcd = /[?&]CMCD=/.test(url) ? 'query' : has(headers, /^cmcd-/i) ? 'header' : 'none';
    requests.set(event.requestId, { url, isPreflight: method === 'OPTIONS', cmcd, isRange: has(headers, /^range$/i), at: Date.now(), status: 0, end: 'none' });
  });
  session.on('Network.responseReceived', (event) => { if (of(event)) of(event).status = event.response.status; });
  session.on('Network.loadingFinished', (event) => { if (of(event)) of(event).end = 'whole'; });
  session.on('Network.loadingFailed', (event) => { if (of(event)) of(event).end = event.canceled ? 'canceled' : event.errorText; });
  await session.send('Network.enable');
  return requests;
}

// Where Chromium looks for authorities of the user's own, below his home.
async function trust(authority, home) {
  const database = join(home, '.pki/nssdb');
  await mkdir(database, { recursive: true });
  const certutil = (...words) => promisify(execFile)('certutil', ['-d', `sql:${database}`, ...words]);
  await certutil('-N', '--empty-password');
  await certutil('-A', '-n', 'trial', '-t', 'C,,', '-i', authority);
}

// A browser as nobody has used it yet: no cache, no preflight remembered.
export async function withBrowser(authority, use) {
  const profile = await mkdtemp(join(tmpdir(), 'players-'));
  await trust(authority, profile);
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    env: { ...process.env, HOME: profile },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--mute-audio', '--autoplay-policy=no-user-gesture-required'],
  });
  try {
    return await use(browser);
  } finally {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  }
}

// Pauses: `waiting`, but for those before the first picture and between a jump and its first picture.
export function pauses(said) {
  let excused = true;
  return said.filter(({ event }) => {
    if (event === 'seeking') excused = true;
    if (event === 'playing') excused = false;
    return event === 'waiting' && !excused;
  });
}

// A browser that pauses with so many seconds at hand had too little of the processor: that says nothing of the daemon.
export const starvedAt = 1;

export function between(said, from, to) {
  const begun = said.findIndex(({ event }) => event === from);
  const over = said.find(({ event }, at) => at > begun && event === to);
  return begun < 0 || !over ? -1 : over.at - said[begun].at;
}

async function versions(browser) {
  const of = async ({ name, package: path }) => `${name} ${JSON.parse(await modules(path)).version}`;
  return [`Chromium ${browser.browser().version()}`, ...await Promise.all(Object.values(libraries).map(of))].join(', ');
}

// Has all chosen runs played, shows them, and ends the program: with 0 only if all are clean. `playRun` gives a row and its faults.
export async function playAll(authority, runs, nameOf, chosen, playRun) {
  const pages = await servePages();
  let failed = 0;
  try {
    console.log(await withBrowser(authority, versions));
    const rows = [];
    for (const run of runs.filter((run) => chosen.length === 0 || chosen.some((word) => nameOf(run).includes(word)))) {
      const { row, faults } = await playRun(run, pages);
      console.log(`${row.run}: ${faults.length === 0 ? 'clean' : `FAILED: ${faults.join('; ')}`}`);
      rows.push(row);
      failed += faults.length > 0;
    }
    console.table(rows);
    if (rows.length === 0) throw new Error(`no run is called ${chosen.join(', ')}`);
  } finally {
    pages.close();
  }
  process.exit(failed === 0 ? 0 : 1);
}
