// Keeps 256 KiB each half second (`leak`), or lets the collector have them (`steady`).
const keeps = process.argv[2] === "leak";
const kept = [];
setInterval(() => {
  const block = Buffer.alloc(256 << 10, 1);
  if (keeps) kept.push(block);
}, 500);
