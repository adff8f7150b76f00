// Keeps 256 KiB each half second (`leak`), or keeps none and collects each five seconds (`steady`): left alone, an idle
// heap puts the collection off for minutes. Needs `--expose-gc`.
const keeps = process.argv[2] === "leak";
const kept = [];
let blocks = 0;
setInterval(() => {
  const block = Buffer.alloc(256 << 10, 1);
  if (keeps) kept.push(block);
  blocks += 1;
  if (blocks % 10 === 0) global.gc();
}, 500);
