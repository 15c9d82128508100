// Viewers of a site of two boxes, of which one is drained, or killed, while they watch.
//
//   node site.js CA.pem CONTROL TTL [RUN...]
//
// CONTROL is the host of the control endpoint, TTL the longest that one of its answers may be used, in seconds. What is to happen to a
// box is asked of whoever started this: `act WORD HOST` on stdout, with the words drain, kill and restore; a line on stdin says that it
// is done. Each run is one player with a buffer of 10 s that keeps to content steering; a run fails on any pause that a viewer could
// notice, and if the player does not leave the box. Ends with 0 only if no run fails.

import { createInterface } from 'node:readline';
import { pauses, playAll, starvedAt, watchRequests, withBrowser } from './browser.js';

// What each plays, and how. shaka-player 5.2 as it is shipped knows no clones, and with CMCD has the address of a segment one segment ahead.
const ways = {
  hls: { content: 'segments/master.m3u8', cmcd: 'query' },
  dash: { content: 'steered.mpd', cmcd: 'query' },
  shaka: { content: 'segments/pathways.m3u8', cmcd: 'none' },
};
const title = { seconds: 60, pictures: 1500 };
const ahead = 10;
// When it happens: the buffer is full, and more than half of the title is to come.
const happensAt = 12;
const slackSeconds = 30;
// A request that was decided on before the answer came.
const lateMs = 2000;

const runs = ['drain', 'kill'].flatMap((event) => Object.keys(ways).map((player) => ({ player, event })));
const nameOf = ({ player, event }) => `${event}:${player}`;

const [authority, control, ttl, ...chosen] = process.argv.slice(2);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function act(word, host) {
  console.log(`act ${word} ${host}`);
  await answers.next();
  return Date.now();
}

const hostOf = ({ url }) => new URL(url).host;

async function play(browser, run, pages) {
  const page = await browser.newPage();
  const outer = [];
  page.on('pageerror', (problem) => outer.push({ event: 'error', detail: `page: ${problem.message}` }));
  const watched = await watchRequests(page, (url) => url.startsWith('https:'));
  const requests = () => [...watched.values()].filter(({ isPreflight }) => !isPreflight);
  const media = () => requests().filter((request) => hostOf(request) !== control);
  const address = new URL(`http://127.0.0.1:${pages.address().port}/page.html`);
  const { content, cmcd } = ways[run.player];
  const session = crypto.randomUUID();
  const url = `https://${control}/v1/play/title/${content}`;
  address.search = new URLSearchParams({ player: run.player, cmcd, rate: 1, ahead, url, session });
  const until = (condition) => page.waitForFunction(condition, undefined, { timeout: (title.seconds + slackSeconds) * 1000, polling: 50 });
  let left = 'none', since = 0;
  try {
    await page.goto(address.href);
    await until(`video.currentTime >= ${happensAt} || said.some(({ event }) => event === 'error')`);
    left = hostOf(media().at(-1));
    since = await act(run.event, left);
    await until(`said.some(({ event }) => event === 'ended' || event === 'error')`);
  } catch (problem) {
    outer.push({ event: 'error', detail: problem.message.split('\n')[0] });
  }
  const inner = await page.evaluate(() => ({ said, pictures: video.getVideoPlaybackQuality().totalVideoFrames }));
  if (left !== 'none') await act('restore', left);
  return { run, left, since, ...inner, said: [...inner.said, ...outer], media: media(), asked: requests().length - media().length };
}

function judge({ run, left, since, said, pictures, media, asked }) {
  const faults = said.filter(({ event }) => event === 'error').map(({ detail }) => detail);
  const paused = pauses(said);
  const here = media.filter((request) => hostOf(request) === left);
  const there = media.filter((request) => hostOf(request) !== left && request.end === 'whole' && request.status < 400);
  const after = (requests) => requests.filter(({ at }) => at > since);
  const late = here.filter(({ at }) => at > since + ttl * 1000 + lateMs);
  const row = {
    run: nameOf(run),
    ended: said.filter(({ event }) => event === 'ended').length,
    stalls: paused.filter(({ atHand }) => atHand < starvedAt).length,
    starved: paused.filter(({ atHand }) => atHand >= starvedAt).length,
    mended: said.filter(({ event }) => event === 'mended').length,
    steering: asked,
    'before, here': here.length - after(here).length,
    'after, here': after(here).length,
    'after, there': after(there).length,
    'moved after, s': after(there).length > 0 ? (after(there)[0].at - since) / 1000 : null,
    pictures,
  };
  const must = (holds, what) => { if (!holds) faults.push(what); };
  must(row.ended === 1, 'the end was not reached');
  must(row.stalls === 0, `${row.stalls} stalls`);
  must(pictures >= 0.98 * title.pictures, `only ${pictures} pictures`);
  must(row['before, here'] >= 2, 'nothing came from the box before');
  must(row['after, there'] >= 2, 'nothing came from the other box');
  const bad = media.filter((request) => hostOf(request) !== left && (request.status >= 400 || !['whole', 'canceled'].includes(request.end)));
  must(bad.length === 0, `the other box failed: ${bad.map(({ url, status, end }) => `${url} ${status} ${end}`).join(', ')}`);
  if (run.event === 'drain') {
    must(late.length === 0, `${late.length} requests came to the drained box later than an answer may be used`);
    must(here.every(({ status, end }) => status < 400 && ['whole', 'canceled'].includes(end)), 'the box that is drained refused or broke off');
    must(row.mended === 0, 'a drain is no error');
  }
  return { row, faults };
}

await playAll(authority, runs, nameOf, chosen, async (run, pages) => judge(await withBrowser(authority, (browser) => play(browser, run, pages))));
