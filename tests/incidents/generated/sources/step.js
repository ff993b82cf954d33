// A step for Node: does what the lines of its job file say, one after the other.
const fs = require('fs');
const net = require('net');
const { spawn } = require('child_process');

const held = [];
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const server = (port, answer) => new Promise((done, bad) => {
  const s = net.createServer(answer);
  s.on('error', bad);
  s.listen(port, '127.0.0.1', () => done(s));
});
const child = (words) => new Promise((done, bad) => {
  const c = spawn(words[0], words.slice(1), { stdio: 'inherit' });
  c.on('error', bad);
  c.on('exit', (status, signal) => done(status === 0 ? 0 : signal || status));
});

const operations = {
  note: (path) => fs.writeFileSync(path, fs.readlinkSync('/proc/self')),
  work: (ms) => { let x = 0; for (let i = 0; i < ms * 120000; i++) x += i % 7; return x && undefined; },
  idle: (ms) => pause(+ms),
  read: (path, least) => { if (fs.readFileSync(path).length < 1024 * (least || 0)) throw new Error(`${path}: too short`); },
  write: async (path, kib, ms) => {
    const fd = fs.openSync(path, 'w');
    const part = Buffer.alloc(kib * 64, '17,4,abc\n');
    for (let i = 0; i < 16; i++) {
      for (let at = 0; at < part.length;) at += fs.writeSync(fd, part, at);
      await pause(ms / 16);
    }
    fs.closeSync(fd);
  },
  grow: async (mib, ms) => { for (let i = 0; i < mib; i++) { held.push(new Array(131072).fill(i + 0.5)); await pause(ms / mib); } },
  ask: (port, ms) => new Promise((done, bad) => {
    const s = net.connect(port, '127.0.0.1', () => s.write('get\n'));
    s.setTimeout(+ms, () => bad(new Error('no answer')));
    s.on('error', bad);
    s.on('close', () => bad(new Error('closed')));
    s.on('data', (d) => { if (String(d).startsWith('ok')) { done(); s.destroy(); } else bad(new Error(`answer: ${d}`)); });
  }),
  listen: async (port) => { held.push(await server(port, () => {})); },
  serve: async (port, count) => {
    let left = +count;
    await new Promise((done, bad) => {
      server(port, (c) => c.on('error', () => {}).on('data', () => { c.end('ok\n'); if (!--left) done(); })).then((s) => held.push(s), bad);
    });
  },
  run: async (...words) => { const bad = await child(words); if (bad) throw new Error(`${words[0]}: ${bad}`); },
  mkdir: (path) => fs.mkdirSync(path),
  create: (path) => fs.closeSync(fs.openSync(path, 'wx')),
  files: (count, path) => { const f = []; for (let i = 0; i < count; i++) f.push(fs.openSync(path)); f.forEach((d) => fs.closeSync(d)); },
  procs: async (count, ms) => {
    const all = [];
    for (let i = 0; i < count; i++) all.push(child(['sleep', String(ms / 1000)]));
    await Promise.all(all);
  },
  crash: () => process.abort(),
  exit: (status) => { console.error('stop'); process.exit(+status); },
  fifo: (path) => fs.readFileSync(path) && undefined,
  sprinkle: (folder, count) => { for (let i = 0; i < count; i++) fs.closeSync(fs.openSync(`${folder}/part-${i}`, 'w')); },
  kill: (path, number) => { process.kill(+fs.readFileSync(path, 'utf8'), +number); },
  polite: () => { process.on('SIGTERM', () => process.exit(0)); },
  deaf: () => { process.on('SIGTERM', () => {}); },
  once: (path) => { if (!fs.existsSync(path)) { fs.writeFileSync(path, ''); throw new Error('not yet'); } },
  check: (path, word) => { if (fs.readFileSync(path, 'utf8').includes(word)) throw new Error(`${path}: ${word}`); },
  remove: (path) => fs.unlinkSync(path),
  say: (kib) => { for (let i = 0; i < kib; i++) fs.writeSync(1, '17,4,abcdefgh\n'.repeat(73)); },
};

(async () => {
  for (const line of fs.readFileSync(process.argv[2], 'utf8').split('\n')) {
    const [name, ...words] = line.split(' ');
    if (name) await operations[name](...words);
  }
  process.exit(0);
})().catch((error) => { console.error(error.message); process.exit(1); });
