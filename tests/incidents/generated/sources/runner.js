// An orchestrator for Node: runs the stages of its plan file, one after the other.
const fs = require('fs');
const { spawn } = require('child_process');

const run = (command) => new Promise((done) => {
  const words = command.split('\x1f');
  const child = spawn(words[0], words.slice(1), { stdio: 'inherit' });
  child.on('error', (e) => done(e.message));
  child.on('exit', (status, signal) => done(status === 0 ? '' : `${words[0]}: ${signal || `status ${status}`}`));
});

(async () => {
  for (const line of fs.readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean)) {
    const [tolerant, ...commands] = line.split('\t');
    const bad = (await Promise.all(commands.map(run))).filter(Boolean);
    if (bad.length && tolerant === '0') { console.error(bad.join('\n')); process.exit(1); }
  }
})();
