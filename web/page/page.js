// The page. What losses there are and what they compute comes from the wasm beside this file.

import init, { Batch, Device, losses, reference, version } from './wgloss_web.js';

const $ = (id) => document.getElementById(id);
const state = { device: null, loss: null, seed: 1, rows: 4, cols: 8, values: [], targets: [], setting: 0, machine: '' };
const RANGE = 4; // logits and embeddings can be dragged to +-RANGE
const CLASSES = 5; // labels of a contrastive loss

// Numbers of a seed: mulberry32.
function numbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const short = (x) => Number.isFinite(x) ? String(Number(x.toPrecision(4))) : String(x);
const contrastive = () => state.loss.values === 'embeddings';
const columns = () => state.loss.cols ?? state.cols;
const classes = () => contrastive() ? CLASSES : columns();

function element(tag, className, parent) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  parent?.append(made);
  return made;
}

// --- the batch

function fill() {
  const random = numbers(state.seed);
  const normal = () => (random() + random() + random() + random() - 2) * 2.2;
  const round = (x) => Math.round(x * 20) / 20;
  const all = state.rows * columns();
  state.values = Float32Array.from({ length: all }, () => round(Math.max(-RANGE, Math.min(RANGE, normal()))));
  const target = state.loss.targets === 'other logits' ? () => round(normal()) : () => random() < 0.35 ? 1 : 0;
  state.targets = Float32Array.from({ length: state.rows * classes() }, target);
  // Two rows with the same labels: some losses are of such pairs alone.
  if (contrastive() && state.rows > 1) state.targets.copyWithin((state.rows - 1) * CLASSES, 0, CLASSES);
  const parents = state.loss.parents;
  if (parents.length > 0) {
    // Whoever has a label has those above it too.
    for (let row = 0; row < state.rows; row++) {
      for (let node = parents.length - 1; node > 0; node--) {
        const at = row * parents.length;
        if (state.targets[at + node]) state.targets[at + parents[node]] = 1;
      }
    }
  }
}

// --- what is seen

function place(bar, value, low, high) {
  const share = (x) => (high - Math.max(low, Math.min(high, x))) / (high - low);
  const [zero, at] = [share(0), share(value)];
  bar.style.setProperty('--top', Math.min(zero, at));
  bar.style.setProperty('--tall', Math.abs(zero - at));
}

// A number that is dragged, or changed by keys.
function slider(parent, name, low, high, read, write) {
  const slot = element('div', high - low > 1 ? 'slot' : 'slot low', parent);
  const bar = element('div', 'bar', slot);
  slot.tabIndex = 0;
  slot.role = 'slider';
  slot.ariaLabel = name;
  slot.ariaOrientation = 'vertical';
  slot.ariaValueMin = low;
  slot.ariaValueMax = high;
  slot.style.setProperty('--zero', high / (high - low));
  const show = () => {
    place(bar, read(), low, high);
    slot.ariaValueNow = read();
    slot.title = `${name}: ${short(read())}`;
  };
  const set = (value) => {
    write(Math.round(Math.max(low, Math.min(high, value)) * 20) / 20);
    show();
    changed();
  };
  const drag = (event) => {
    const box = slot.getBoundingClientRect();
    set(high - ((event.clientY - box.top) / box.height) * (high - low));
  };
  slot.onpointerdown = (event) => {
    slot.setPointerCapture(event.pointerId);
    drag(event);
  };
  slot.onpointermove = (event) => slot.hasPointerCapture(event.pointerId) && drag(event);
  slot.onkeydown = (event) => {
    const steps = { ArrowUp: 0.05, ArrowRight: 0.05, ArrowDown: -0.05, ArrowLeft: -0.05, PageUp: 0.5, PageDown: -0.5 };
    if (event.key in steps) set(read() + steps[event.key]);
    else if (event.key === 'Home') set(low);
    else if (event.key === 'End') set(high);
    else return;
    event.preventDefault();
  };
  show();
}

function strip(parent, kind, cells) {
  const made = element('div', `strip ${kind}`, parent);
  made.style.setProperty('--cells', cells);
  return made;
}

function head(row, text) {
  element('div', 'head', row).textContent = text;
}

// Everything of the batch anew; `paint` fills in what is computed.
function build() {
  const { loss, rows } = state;
  const [cols, sets] = [columns(), classes()];
  const all = $('batch');
  all.replaceChildren();
  if (loss.parents.length > 0) {
    const row = element('div', 'row', all);
    head(row, 'node, parent');
    const cells = strip(row, 'names', cols);
    loss.parents.forEach((parent, node) => {
      element('span', '', cells).textContent = parent < 0 ? `${node}, the root` : `${node}, of ${parent}`;
    });
  }
  for (let i = 0; i < rows; i++) {
    const row = element('div', 'row', all);
    element('b', '', element('div', 'head', row)).textContent = `${loss.row} ${i + 1}`;
    const bar = element('div', 'lossbar', row);
    const track = element('div', 'track', bar);
    element('i', '', track);
    element('u', '', track);
    element('div', 'number', bar);
    head(row, loss.values);
    const values = strip(row, 'values', cols);
    head(row, loss.targets);
    const targets = strip(row, 'targets', sets);
    head(row, 'gradient');
    const gradient = strip(row, 'gradient', cols);
    for (let k = 0; k < cols; k++) {
      const at = i * cols + k;
      const name = `${loss.values}, ${loss.row} ${i + 1}, column ${k + 1}`;
      slider(values, name, -RANGE, RANGE, () => state.values[at], (x) => { state.values[at] = x; });
      const slot = element('div', 'slot', gradient);
      slot.style.setProperty('--zero', 0.5);
      element('div', 'bar', slot);
      element('div', 'mark', slot);
    }
    for (let k = 0; k < sets; k++) {
      const at = i * sets + k;
      const name = `${loss.targets}, ${loss.row} ${i + 1}, column ${k + 1}`;
      const [read, write] = [() => state.targets[at], (x) => { state.targets[at] = x; }];
      if (loss.targets === 'labels') {
        const box = element('input', '', targets);
        box.type = 'checkbox';
        box.checked = read() > 0.5;
        box.ariaLabel = box.title = name;
        box.onchange = () => {
          write(box.checked ? 1 : 0);
          changed();
        };
      } else {
        const low = loss.targets === 'soft labels' ? 0 : -RANGE;
        slider(targets, name, low, low === 0 ? 1 : RANGE, read, write);
      }
    }
  }
}

const largest = (...lists) => lists.flatMap((list) => [...list]).reduce((most, x) => Math.max(most, Math.abs(x)), 0);

function paint(gpu, truth) {
  const cols = columns();
  const shown = gpu ?? truth;
  const scale = 1.08 * largest(shown.grad, truth.grad) || 1;
  const slots = document.querySelectorAll('.gradient .slot');
  slots.forEach((slot, at) => {
    const [bar, mark] = slot.children;
    bar.hidden = !gpu;
    if (gpu) place(bar, gpu.grad[at], -scale, scale);
    mark.style.setProperty('--at', (1 - truth.grad[at] / scale) / 2);
    slot.title = `gradient ${short(shown.grad[at])}, reference ${short(truth.grad[at])}`;
  });
  const each = truth.loss.length === state.rows && $('reduction').value === 'none';
  const most = 1.02 * largest(shown.loss, truth.loss) || 1;
  document.querySelectorAll('.lossbar').forEach((bar, i) => {
    bar.style.visibility = each ? '' : 'hidden';
    if (!each) return;
    const [gpuBar, mark] = bar.firstChild.children;
    const negative = truth.loss.some((x) => x < 0);
    const share = (x) => negative ? (1 + x / most) / 2 : x / most;
    gpuBar.hidden = !gpu;
    if (gpu) {
      gpuBar.style.setProperty('--left', Math.min(share(0), share(gpu.loss[i])));
      gpuBar.style.setProperty('--wide', Math.abs(share(gpu.loss[i]) - share(0)));
    }
    mark.style.setProperty('--at', share(truth.loss[i]));
    bar.lastChild.textContent = short(shown.loss[i]);
    bar.title = `loss ${short(shown.loss[i])}, reference ${short(truth.loss[i])}`;
  });
  $('loss-name').textContent = each ? 'losses, their sum' : 'loss';
  $('total').textContent = `${short(shown.loss.reduce((sum, x) => sum + x, 0))}`;
  // The gradient to the setting is the last of the others.
  $('setting-gradient').value = state.loss.setting === undefined ? '' : short(shown.more.at(-1));
  const out = $('difference');
  if (gpu) {
    const [difference, share] = [gpu.difference(truth), gpu.share(truth)];
    // A NaN is not less than anything, so it is never good.
    out.dataset.good = share <= 1;
    out.dataset.difference = difference;
    out.dataset.share = share;
    out.value = `${difference.toExponential(1)}, ${share.toFixed(3)} of the tolerance`;
  } else {
    out.value = 'no GPU';
  }
}

// --- computing

function say(problem) {
  $('problem').textContent = problem ?? '';
  $('problem').hidden = !problem;
}

// What an error of the device is to a visitor.
function sentence(error) {
  const text = error?.message ?? String(error);
  return /lost or faulted/.test(text) ? `The GPU has stopped working for this page (${text}). Reload the page to try again.` : text;
}

let [computing, again, computed] = [false, false, 0];

async function changed() {
  again = true;
  if (computing) return;
  computing = true;
  document.body.dataset.idle = false;
  while (again) {
    again = false;
    const batch = () => new Batch(state.loss.name, $('reduction').value, state.rows, state.values, state.targets, state.setting);
    try {
      const truth = await reference(batch());
      const gpu = state.device && await state.device.compute(batch());
      // What was changed meanwhile, shape and all, has its own turn.
      if (!again) paint(gpu, truth);
      say();
    } catch (error) {
      say(sentence(error));
    }
  }
  computing = false;
  document.body.dataset.computed = ++computed;
  document.body.dataset.idle = true;
}

function choose(name) {
  state.loss = state.losses.find((loss) => loss.name === name) ?? state.losses[0];
  const { loss } = state;
  $('loss').value = loss.name;
  $('summary').textContent = loss.summary;
  $('values-name').textContent = loss.values;
  $('targets-name').textContent = loss.targets;
  $('cols-label').hidden = loss.cols !== undefined;
  $('setting-label').hidden = loss.setting === undefined;
  const setting = $('setting');
  const temperature = loss.setting === 'temperature';
  [setting.min, setting.max, setting.step] = temperature ? [0.05, 1, 0.01] : [-3, 3, 0.05];
  $('setting-name').textContent = loss.setting ?? '';
  $('setting-gradient').parentElement.hidden = loss.setting === undefined;
  $('setting-gradient-name').textContent = `gradient to the ${loss.setting}`;
  state.setting = loss.setting_default;
  setting.value = state.setting;
  $('setting-value').value = short(state.setting);
  fill();
  build();
  changed();
}

// --- what takes a while

function job(id, work) {
  const [start, progress, copy, text] = $(id).children;
  start.onclick = async () => {
    start.disabled = true;
    progress.hidden = false;
    copy.hidden = text.hidden = true;
    try {
      text.textContent = await work(state.machine, (done, all) => { progress.value = done / all; });
      copy.hidden = false;
    } catch (error) {
      text.textContent = sentence(error);
    }
    text.hidden = false;
    progress.hidden = true;
    start.disabled = !state.device;
    $(id).dataset.done = true;
  };
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      copy.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(text);
      copy.textContent = 'Selected: press Ctrl+C';
    }
    setTimeout(() => { copy.textContent = 'Copy'; }, 2000);
  };
  start.disabled = !state.device;
}

async function open() {
  const instead = 'Below is what the CPU reference computes; the kernels need WebGPU.';
  if (!navigator.gpu) {
    const why = isSecureContext ? 'This browser has no WebGPU.' : 'A page from this address may not use WebGPU: it needs https or localhost.';
    return `${why} ${instead}`;
  }
  try {
    const adapter = await navigator.gpu.requestAdapter();
    if (!adapter) return `This browser has WebGPU, but no GPU for it. ${instead}`;
    const { vendor, architecture, device, description } = adapter.info ?? {};
    const names = [description, vendor, architecture, device].filter(Boolean).join(', ') || 'not named by the browser';
    state.device = await Device.open();
    state.machine = `browser: ${navigator.userAgent}\nadapter: ${names}`;
    return `GPU: ${names}. Kernels: ${state.device.variant()}.`;
  } catch (error) {
    return `WebGPU does not work here: ${sentence(error)}. ${instead}`;
  }
}

async function start() {
  try {
    await init();
  } catch (error) {
    $('machine').className = 'bad';
    $('machine').textContent = `The page's program could not be loaded: ${error.message ?? error}`;
    return;
  }
  const machine = await open();
  $('machine').textContent = `${machine} wgloss ${version()}.`;
  $('machine').classList.toggle('bad', !state.device);
  state.losses = losses().map((loss) => {
    // Plain, since each look at a getter goes through wasm.
    const { name, summary, group, row, values, cols, targets, setting, setting_default, reductions, parents } = loss;
    loss.free();
    return { name, summary, group, row, values, cols, targets, setting, setting_default, reductions, parents };
  });
  const groups = new Map();
  for (const loss of state.losses) {
    if (!groups.has(loss.group)) {
      groups.set(loss.group, element('optgroup', '', $('loss')));
      groups.get(loss.group).label = loss.group;
    }
    const option = element('option', '', groups.get(loss.group));
    option.value = loss.name;
    option.textContent = `${loss.name}: ${loss.summary}`;
  }
  for (const name of state.losses[0].reductions) element('option', '', $('reduction')).textContent = name;
  $('loss').onchange = () => choose($('loss').value);
  $('reduction').onchange = changed;
  for (const id of ['rows', 'cols']) {
    $(id).onchange = () => {
      const { min, max, value } = $(id);
      state[id] = Math.round(Math.max(min, Math.min(max, Number(value) || state[id])));
      $(id).value = state[id];
      choose(state.loss.name);
    };
  }
  $('setting').oninput = () => {
    state.setting = Number($('setting').value);
    $('setting-value').value = short(state.setting);
    changed();
  };
  $('shuffle').onclick = () => {
    state.seed++;
    choose(state.loss.name);
  };
  job('qualify', (...args) => state.device.qualify(...args));
  job('benchmark', (...args) => state.device.benchmark(...args));
  document.querySelector('main').hidden = false;
  choose(state.losses[0].name);
}

// For a test of what the page says when the device is gone.
window.loseDevice = () => state.device.destroy();

start();
