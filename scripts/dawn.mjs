// Runs what `wgloss export --cases` wrote by Dawn, the WebGPU of Chromium, and writes what the buffers hold afterwards
// beside each case, for `wgloss export --judge`. The loop over steps is all that a host needs; docs/export.md explains it.
// Each call is held against docs/call.schema.json.
// Run by dawn.sh: node dawn.mjs MODULES FOLDER
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, folder] = process.argv.slice(2);
const { create, globals } = await import(pathToFileURL(path.join(modules, 'webgpu', 'index.js')));
Object.assign(globalThis, globals);
const { default: Ajv } = await import(pathToFileURL(path.join(modules, 'ajv', 'dist', '2020.js')));
const schema = new URL('../docs/call.schema.json', import.meta.url);
const valid = new Ajv({ allErrors: true, strictRequired: false }).compile(JSON.parse(fs.readFileSync(schema, 'utf8')));
if (valid({ form: 1 })) throw new Error('the schema takes anything');

const gpu = create(['backend=vulkan']);
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error('no Vulkan adapter');
const { vendor, architecture, device: name, description } = adapter.info;
console.log(`dawn: ${[vendor, architecture, name, description].filter(Boolean).join(', ')}`);
const device = await adapter.requestDevice();
device.lost.then((info) => {
    if (info.reason !== 'destroyed') throw new Error(`device lost: ${info.message}`);
});
device.addEventListener('uncapturederror', (event) => {
    throw event.error;
});

const layout = device.createBindGroupLayout({
    entries: Array.from({ length: 8 }, (_, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: binding ? 'storage' : 'uniform' },
    })),
});
const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts: [layout] });
const pipelines = new Map();

function pipeline(file, entryPoint) {
    const key = `${file} ${entryPoint}`;
    if (!pipelines.has(key)) {
        const module = device.createShaderModule({ code: fs.readFileSync(file, 'utf8') });
        // The asynchronous form hangs on some drivers.
        pipelines.set(key, device.createComputePipeline({ layout: pipelineLayout, compute: { module, entryPoint } }));
    }
    return pipelines.get(key);
}

function filled(bytes, usage) {
    const size = Math.max(16, Math.ceil(bytes.length / 4) * 4);
    const buffer = device.createBuffer({ size, usage, mappedAtCreation: true });
    new Uint8Array(buffer.getMappedRange()).set(bytes);
    buffer.unmap();
    return buffer;
}

// Records a call on the buffers of its tensors. This is the loop.
function record(call, own, buffers, pass) {
    const { STORAGE, UNIFORM } = GPUBufferUsage;
    const parameters = {
        fixed: filled(Buffer.from(call.parameters.fixed, 'hex'), UNIFORM),
        live: filled(Buffer.from(call.parameters.live, 'hex'), UNIFORM | STORAGE),
    };
    const scratch = device.createBuffer({ size: Math.max(16, call.scratch_bytes), usage: STORAGE });
    const nothing = device.createBuffer({ size: 8 * 256, usage: STORAGE });
    const memory = ({ binding, memory, buffer, offset, size }) =>
        ({
            buffer: { buffer: buffers[buffer], offset, size },
            scratch: { buffer: scratch, offset, size },
            live: { buffer: parameters.live },
            nothing: { buffer: nothing, offset: 256 * binding, size },
        })[memory];
    for (const step of call.steps) {
        const { block, offset, size } = step.parameters;
        const entries = step.bindings.map((bound) => ({ binding: bound.binding, resource: memory(bound) }));
        entries.push({ binding: 0, resource: { buffer: parameters[block], offset, size } });
        pass.setPipeline(pipeline(path.join(own, step.wgsl), step.entry));
        pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
        pass.dispatchWorkgroups(...step.workgroups);
    }
}

async function run({ folder: own, calls }) {
    const at = path.join(folder, own);
    const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const before = [];
    while (fs.existsSync(path.join(at, `before-${before.length}.bin`))) {
        before.push(fs.readFileSync(path.join(at, `before-${before.length}.bin`)));
    }
    const buffers = before.map((bytes) => filled(bytes, STORAGE | COPY_SRC));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < calls; i++) {
        const call = JSON.parse(fs.readFileSync(path.join(at, `call-${i}.json`), 'utf8'));
        if (!valid(call)) throw new Error(`${at}/call-${i}.json: ${JSON.stringify(valid.errors)}`);
        record(call, at, buffers, pass);
    }
    pass.end();
    const copies = buffers.map(({ size }) => device.createBuffer({ size, usage: MAP_READ | COPY_DST }));
    copies.forEach((copy, i) => encoder.copyBufferToBuffer(buffers[i], 0, copy, 0, copy.size));
    device.queue.submit([encoder.finish()]);
    for (const [i, copy] of copies.entries()) {
        await copy.mapAsync(GPUMapMode.READ);
        const bytes = new Uint8Array(copy.getMappedRange()).slice(0, before[i].length);
        fs.writeFileSync(path.join(at, `after-${i}.bin`), bytes);
    }
    [...buffers, ...copies].forEach((buffer) => buffer.destroy());
}

const { cases } = JSON.parse(fs.readFileSync(path.join(folder, 'cases.json'), 'utf8'));
let refused = 0;
for (const one of cases) {
    device.pushErrorScope('validation');
    await run(one);
    const error = await device.popErrorScope();
    if (error) {
        refused++;
        console.log(`REFUSED ${one.folder} ${one.case}: ${error.message}`);
    }
}
console.log(`dawn: ${cases.length} cases run, ${refused} of them refused, ${pipelines.size} pipelines`);
process.exit(refused ? 1 : 0);
