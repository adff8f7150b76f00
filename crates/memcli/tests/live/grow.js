// FORM RATE FILL: takes blocks of 256 KiB, RATE KiB of them a second by the clock.
//
// `leak` keeps each, `steady` keeps none, `cache` keeps them for FILL seconds and then drops the oldest for each that it
// takes. All collect after each eight blocks: left alone, an idle heap puts that off for minutes. Needs `--expose-gc`.
const BLOCK = 256 << 10;
const [form, kib, fill] = process.argv.slice(2);
const rate = Number(kib) * 1024;
const most = { leak: Infinity, steady: 0, cache: Math.max(1, Math.floor((rate * Number(fill)) / BLOCK)) }[form];
const kept = [];
let blocks = 0;
const start = performance.now();
console.log("ready");
setInterval(() => {
  while (blocks * BLOCK < ((performance.now() - start) / 1000) * rate) {
    kept.push(Buffer.alloc(BLOCK, 1));
    if (kept.length > most) kept.shift();
    blocks += 1;
    if (blocks % 8 === 0) global.gc();
  }
}, (1000 * BLOCK) / rate);
