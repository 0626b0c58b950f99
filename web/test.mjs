// Drives the page in headless Chromium, by its DevTools protocol over a pipe. Usage: node test.mjs DIST PICTURES [--quick]
// DIST is served on the loopback; screenshots go into PICTURES; --quick leaves the qualification and the benchmark out.

import { spawn } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';

const [dist, pictures, ...options] = process.argv.slice(2);
const quick = options.includes('--quick');
const began = Date.now();
let failed = 0;

const say = (text) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${text}`);
function check(good, what) {
  if (!good) failed++;
  say(`${good ? 'ok    ' : 'FAILED'}  ${what}`);
}

// --- a server of files

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };
const server = createServer((request, response) => {
  const path = normalize(new URL(request.url, 'http://localhost').pathname).replace(/\/$/, '/index.html');
  try {
    const bytes = readFileSync(join(dist, path));
    response.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream');
    response.end(bytes);
  } catch {
    response.statusCode = 404;
    response.end();
  }
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const address = `http://127.0.0.1:${server.address().port}/`;

// --- a browser with one page

class Browser {
  constructor(flags) {
    this.profile = mkdtempSync(join(tmpdir(), 'wgloss-web-'));
    const all = ['--headless', '--no-sandbox', '--remote-debugging-pipe', '--no-first-run', '--disable-gpu-watchdog',
      `--user-data-dir=${this.profile}`, ...flags, 'about:blank'];
    this.child = spawn(process.env.CHROMIUM ?? 'chromium', all, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    this.child.on('error', (error) => this.end(`the browser could not be started: ${error.message}`));
    this.child.on('exit', () => this.end('the browser has ended'));
    this.waiting = new Map();
    this.next = 1;
    this.errors = [];
    let text = '';
    this.child.stdio[4].setEncoding('utf8').on('data', (more) => {
      const messages = (text + more).split('\0');
      text = messages.pop();
      messages.forEach((message) => this.heard(JSON.parse(message)));
    });
    this.child.stdio[3].on('error', () => {});
  }

  end(reason) {
    this.ended = reason;
    for (const { reject } of this.waiting.values()) reject(new Error(reason));
    this.waiting.clear();
  }

  heard({ id, result, error, method, params }) {
    if (method === 'Runtime.exceptionThrown') {
      const { exceptionDetails: { text, exception } } = params;
      this.errors.push(`${text} ${exception?.description ?? ''}`);
    }
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    this.waiting.delete(id);
    if (error) waiting.reject(new Error(error.message));
    else waiting.resolve(result);
  }

  send(method, params = {}) {
    if (this.ended) return Promise.reject(new Error(this.ended));
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      const target = this.session ? { sessionId: this.session } : {};
      this.child.stdio[3].write(`${JSON.stringify({ id, method, params, ...target })}\0`);
    });
  }

  async open(before = '') {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    this.session = sessionId;
    await this.send('Runtime.enable');
    await this.send('Page.enable');
    await this.send('Page.addScriptToEvaluateOnNewDocument', { source: before });
    await this.size(1000, 1300);
    await this.send('Page.navigate', { url: address });
    await this.until('document.body?.dataset.idle === "true"', 60);
  }

  // The value of an expression in the page, or of the promise that it is.
  async page(expression) {
    const asked = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', asked);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async until(expression, seconds) {
    const last = Date.now() + seconds * 1000;
    for (;;) {
      if (await this.page(expression)) return;
      if (Date.now() > last) throw new Error(`not within ${seconds} s: ${expression}; errors: ${this.errors.join('; ') || 'none'}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  // Does something that makes the page compute, and waits until it has.
  async computes(doing) {
    const before = await this.page('Number(document.body.dataset.computed)');
    await this.page(`(() => { ${doing} })()`);
    await this.until(`Number(document.body.dataset.computed) > ${before} && document.body.dataset.idle === 'true'`, 60);
  }

  size(width, height) {
    return this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
  }

  async picture(name, scheme) {
    const features = [{ name: 'prefers-color-scheme', value: scheme }];
    await this.send('Emulation.setEmulatedMedia', { features });
    const { data } = await this.send('Page.captureScreenshot', { captureBeyondViewport: true });
    writeFileSync(join(pictures, `${name}.png`), Buffer.from(data, 'base64'));
  }

  async close() {
    const gone = new Promise((done) => { this.child.on('exit', done); });
    if (!this.ended) {
      this.session = undefined;
      this.send('Browser.close').catch(() => {});
      const killing = setTimeout(() => this.child.kill('SIGKILL'), 5000);
      await gone;
      clearTimeout(killing);
    }
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
  }
}

// What the page shows of a result.
const SHOWN = `({
  good: document.getElementById('difference').dataset.good,
  difference: Number(document.getElementById('difference').dataset.difference),
  share: Number(document.getElementById('difference').dataset.share),
  total: Number(document.getElementById('total').value),
  problem: document.getElementById('problem').hidden ? '' : document.getElementById('problem').textContent,
  all: document.getElementById('total').value + [...document.querySelectorAll('.gradient .slot')].map((slot) => slot.title),
})`;

async function losses(browser) {
  const names = await browser.page(`[...document.querySelectorAll('#loss option')].map((option) => option.value)`);
  const reductions = await browser.page(`[...document.querySelectorAll('#reduction option')].map((option) => option.value)`);
  check(names.length >= 20 && new Set(names).size === names.length, `${names.length} losses: ${names.join(' ')}`);
  check(reductions.length === 3, `reductions: ${reductions.join(' ')}`);
  for (const name of names) {
    const pick = (id, value) => `const x = document.getElementById('${id}'); x.value = '${value}'; x.dispatchEvent(new Event('change'));`;
    await browser.computes(pick('loss', name));
    const results = [];
    for (const reduction of [...reductions.slice(1), reductions[0]]) {
      await browser.computes(pick('reduction', reduction));
      results.push(await browser.page(SHOWN));
    }
    const before = results.at(-1);
    await browser.computes(`document.querySelector('.values .slot').dispatchEvent(new KeyboardEvent('keydown', { key: 'PageDown' }))`);
    const [after] = [await browser.page(SHOWN)];
    results.push(after);
    await browser.computes(`
      const target = document.querySelector('.targets > *');
      if (target.type === 'checkbox') target.click();
      else target.dispatchEvent(new KeyboardEvent('keydown', { key: target.ariaValueNow > 0.5 ? 'Home' : 'End' }));`);
    const relabelled = await browser.page(SHOWN);
    results.push(relabelled);
    const worst = (field) => Math.max(...results.map((result) => result[field]));
    const sound = results.every(({ good, share, total, problem }) =>
      good === 'true' && share <= 1 && Number.isFinite(total) && problem === '');
    // The labels of InfoNCE are not looked at.
    const moved = before.all !== after.all && (name === 'infonce' || after.all !== relabelled.all);
    const why = sound && moved ? '' : ` ${JSON.stringify(results.map(({ all, ...rest }) => rest))}`;
    const apart = `at most ${worst('difference').toExponential(1)} apart, ${worst('share').toFixed(3)} of the tolerance`;
    check(sound && moved, `${name}: GPU and reference ${apart}; both follow changes${why}`);
  }
}

// That the comparison can fail.
async function comparison(browser) {
  const found = await browser.page(`(async () => {
    const { Batch, reference } = await import('./wgloss_web.js');
    const of = (x) => reference(new Batch('bce', 'none', 1, Float32Array.of(x, 1), Float32Array.of(1, 0), 0));
    const [one, same, other, none] = await Promise.all([of(0.5), of(0.5), of(0.501), of(NaN)]);
    const good = (a, b) => a.share(b) <= 1;
    return [good(one, same), good(one, other), good(one, none), good(none, none)];
  })()`);
  check(found.join() === 'true,false,false,false', `equal, near, NaN, twice NaN: good ${found.join(' ')}`);
  const refused = await browser.page(`(async () => {
    const { Batch, reference } = await import('./wgloss_web.js');
    const says = (...all) => reference(new Batch(...all)).then(() => 'nothing', (error) => error.message);
    return Promise.all([says('bce', 'none', 2, Float32Array.of(1, 2), Float32Array.of(1), 0), says('no', 'none', 1, [], [], 0)]);
  })()`);
  check(refused.every((text) => text !== 'nothing' && !text.includes('unreachable')), `refused in words: ${refused.join(' | ')}`);
}

async function job(browser, id, seconds) {
  const start = Date.now();
  await browser.page(`document.querySelector('#${id} button').click()`);
  await browser.until(`document.getElementById('${id}').dataset.done === 'true'`, seconds);
  const text = await browser.page(`document.querySelector('#${id} pre').textContent`);
  console.log(text);
  say(`${id}: ${((Date.now() - start) / 1000).toFixed(1)} s`);
  return text;
}

async function withGpu() {
  const browser = new Browser(['--enable-unsafe-webgpu']);
  try {
    await browser.open();
    const machine = await browser.page(`document.getElementById('machine').textContent`);
    check(machine.startsWith('GPU: '), machine);
    if (!machine.startsWith('GPU: ')) return;
    await comparison(browser);
    await losses(browser);
    const pick = (name) => `const x = document.getElementById('loss'); x.value = '${name}'; x.dispatchEvent(new Event('change'));`;
    await browser.computes(pick('zlpr'));
    await browser.picture('light', 'light');
    await browser.picture('dark', 'dark');
    for (const name of ['simdis', 'mcm', 'zlpr-kl', 'bce']) {
      await browser.computes(pick(name));
      await browser.picture(name, 'light');
    }
    await browser.size(400, 1200);
    await browser.picture('narrow', 'light');
    await browser.size(1000, 1300);
    if (!quick) {
      const table = await job(browser, 'qualify', 1800);
      check(/^ {2}all [1-9]\d* cases within tolerance of the CPU reference$/m.test(table) && !table.includes('FAILED'),
        'the qualification passed');
      const bench = await job(browser, 'benchmark', 600);
      const rows = bench.split('\n').filter((line) => /^ {2}\S+ +(\d+x\d+|\d+ MiB) /.test(line));
      const good = (row) => row.trim().split(/ +/).slice(-2).every((x) => Number(x) > 0 && Number.isFinite(Number(x)));
      check(rows.length === 13 && rows.every(good), `${rows.length} rows of the benchmark are numbers`);
      await browser.picture('reports', 'light');
    }
    await browser.computes(`window.loseDevice(); document.getElementById('shuffle').click();`);
    await browser.computes(`document.getElementById('shuffle').click();`);
    const { problem } = await browser.page(SHOWN);
    check(problem.startsWith('The GPU has stopped working'), `a lost device: ${problem}`);
    check(browser.errors.length === 0, `uncaught errors: ${browser.errors.join('; ') || 'none'}`);
  } finally {
    await browser.close();
  }
}

// `before` is run in the page before it begins.
async function withoutGpu(flags, before, expected) {
  const browser = new Browser(flags);
  try {
    await browser.open(before);
    const machine = await browser.page(`document.getElementById('machine').textContent`);
    check(machine.includes(expected), machine);
    const { total, problem } = await browser.page(SHOWN);
    check(total > 0 && problem === '', `the reference is shown without: ${total} ${problem}`);
    const idle = await browser.page(`[...document.querySelectorAll('.job > button:first-child')].every((button) => button.disabled)`);
    check(idle, 'what needs a GPU cannot be pressed');
    await browser.picture(`without-${expected.replace(/\W+/g, '-')}`, 'light');
    check(browser.errors.length === 0, `uncaught errors: ${browser.errors.join('; ') || 'none'}`);
  } finally {
    await browser.close();
  }
}

mkdirSync(pictures, { recursive: true });
try {
  await withGpu();
  // Chromium has no switch that takes `navigator.gpu` away.
  await withoutGpu([], 'delete Navigator.prototype.gpu', 'has no WebGPU');
  await withoutGpu(['--disable-features=WebGPU'], '', 'no GPU for it');
} catch (error) {
  check(false, error.stack);
}
server.close();
say(failed === 0 ? 'everything passed' : `${failed} FAILED`);
process.exit(failed === 0 ? 0 : 1);
