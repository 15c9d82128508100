// Lets real players in Chromium play a title from a daemon, and believes nothing but their own events and Chromium's.
//
//   node play.js CA.pem http://DAEMON/title https://DAEMON/title [RUN...]
//
// The page comes from a port of its own, so that every request to the daemon is cross-origin. Each run has a fresh browser that
// believes the authority in CA.pem, as one that an operator has put there; nothing else is let pass. A run fails on any event, request or delay that a viewer could notice. Ends with 0 only if every run is clean. The table goes to stdout.

import { between, pauses, playAll, starvedAt, watchRequests, withBrowser } from './browser.js';

const contents = {
  segments: 'segments/master.m3u8',
  ranges: 'master.m3u8',
  'on-demand': 'on-demand.mpd',
};
const title = { seconds: 60, middle: 30, pictures: 1500 };
// Where a jumping viewer is when he jumps.
const jumpsAt = 3;
const fast = 2;
// So little that the middle of the title has not come when the viewer jumps there.
const ahead = 12;
// What may pass beside the play-out itself: start, jump, a busy machine.
const slackSeconds = 30;

// Over https each content in each mode with a jump, fast; then, in clear, the whole title by each player as viewers see it.
const pairs = [['hls', 'segments'], ['hls', 'ranges'], ['dash', 'on-demand'], ['shaka', 'segments'], ['shaka', 'ranges'], ['shaka', 'on-demand']];
const runs = [
  ...pairs.flatMap(([player, content]) => ['query', 'header'].map((cmcd) => ({ player, content, cmcd, scheme: 'https', rate: fast, jumps: true }))),
  { player: 'hls', content: 'segments', cmcd: 'header', scheme: 'http', rate: 1, jumps: false },
  { player: 'dash', content: 'on-demand', cmcd: 'header', scheme: 'http', rate: 1, jumps: false },
  { player: 'shaka', content: 'on-demand', cmcd: 'query', scheme: 'http', rate: 1, jumps: false },
];
const nameOf = (run) => [run.player, run.content, run.cmcd, run.scheme, `x${run.rate}`, run.jumps ? 'jump' : 'whole'].join(':');

// play(...): what was said and asked until the end, or until it is too late for it.
async function play(browser, run, pages, media) {
  const page = await browser.newPage();
  const outer = [];
  page.on('pageerror', (problem) => outer.push({ event: 'error', detail: `page: ${problem.message}` }));
  page.on('crash', () => outer.push({ event: 'error', detail: 'the page crashed' }));
  const requests = await watchRequests(page, (url) => url.startsWith(media.origin));
  const address = new URL(`http://127.0.0.1:${pages.address().port}/page.html`);
  const session = crypto.randomUUID();
  address.search = new URLSearchParams({ ...run, ahead, url: `${media.href}/${contents[run.content]}`, session });
  let asked = true;
  const bound = (title.seconds / run.rate + slackSeconds) * 1000;
  const until = (condition) => page.waitForFunction(condition, undefined, { timeout: bound, polling: 50 });
  try {
    await page.goto(address.href);
    if (run.jumps) {
      await until(`video.currentTime >= ${jumpsAt} || said.some(({ event }) => event === 'error')`);
      asked = await page.evaluate(`jump(${title.middle})`);
    }
    await until(`said.some(({ event }) => event === 'ended' || event === 'error')`);
  } catch (problem) {
    outer.push({ event: 'error', detail: problem.message.split('\n')[0] });
  }
  const inner = await page.evaluate(() => {
    const { totalVideoFrames: pictures, droppedVideoFrames: dropped } = video.getVideoPlaybackQuality();
    return { said, pictures, dropped, height: video.videoHeight };
  });
  return { run, asked, ...inner, said: [...inner.said, ...outer], requests: [...requests.values()] };
}

// A player gives up what it has asked for itself, at a jump and where it changes to another rendition; more would be for want of an answer.
const givenUpMost = 4;

// judge(played): a table row, and every reason why a viewer would not be content.
function judge(played) {
  const { run, said, requests } = played;
  const faults = said.filter(({ event }) => event === 'error' || event === 'mended').map(({ detail }) => detail);
  const count = (name) => said.filter(({ event }) => event === name).length;
  const media = requests.filter(({ isPreflight }) => !isPreflight);
  const preflights = requests.filter(({ isPreflight }) => isPreflight);
  const bad = media.filter(({ status, end }) => status >= 400 || !['whole', 'canceled'].includes(end));
  const canceled = media.filter(({ end }) => end === 'canceled');
  const row = {
    run: nameOf(run),
    start_ms: Math.round(said.find(({ event }) => event === 'playing')?.at ?? -1),
    jump_ms: run.jumps ? Math.round(between(said, 'seeking', 'playing')) : null,
    ended: count('ended'),
    stalls: pauses(said).filter(({ atHand }) => atHand < starvedAt).length,
    starved: pauses(said).filter(({ atHand }) => atHand >= starvedAt).length,
    errors: faults.length,
    requests: media.length,
    ranges: media.filter(({ isRange }) => isRange).length,
    preflights: preflights.length,
    canceled: canceled.length,
    height: played.height,
    pictures: played.pictures,
    dropped: played.dropped,
  };
  const must = (holds, what) => { if (!holds) faults.push(what); };
  must(row.ended === 1, 'the end was not reached');
  must(row.stalls === 0, `${row.stalls} stalls`);
  must(bad.length === 0, `requests failed: ${bad.map(({ url, status, end }) => `${url} ${status} ${end}`).join(', ')}`);
  must(preflights.every(({ status }) => status === 204), 'a preflight was not answered with 204');
  must(canceled.length <= givenUpMost, `the player gave up ${canceled.length} requests`);
  must(media.filter(({ cmcd }) => cmcd === run.cmcd).length >= media.length - 1, `CMCD was not sent by ${run.cmcd}`);
  must((run.cmcd === 'header') === (preflights.length > 0), `${preflights.length} preflights with CMCD by ${run.cmcd}`);
  // Some players get over a gap by a jump of their own; there is none here.
  must(count('seeking') === Number(run.jumps) || row.starved > 0, `${count('seeking')} jumps`);
  must(played.asked, 'the jump proves nothing: the middle was there already');
  must(run.jumps || row.pictures >= 0.98 * title.pictures, `only ${row.pictures} pictures`);
  return { row, faults };
}

// A run in which the browser was starved is void, and made again; in the end that is a fault too.
async function playUntilFed(run, pages, media) {
  for (let left = 2; ; left -= 1) {
    const { row, faults } = judge(await withBrowser(authority, (browser) => play(browser, run, pages, media)));
    if (row.starved === 0 || faults.length > 0) return { row, faults };
    if (left === 0) return { row, faults: ['the browser had too little of the processor, three times'] };
    console.log(`${row.run}: void: the browser paused with data at hand`);
  }
}

const [authority, http, https, ...chosen] = process.argv.slice(2);
const medias = { http: new URL(http), https: new URL(https) };
await playAll(authority, runs, nameOf, chosen, (run, pages) => playUntilFed(run, pages, medias[run.scheme]));
