//! The committed corpus and fixed mutations of it, on every run of the tests.
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};

/// Mutations of each seed.
const MUTATIONS: u64 = 40;

fn seeds(target: &Target) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut seeds: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    seeds
}

/// Numbers that are the same on every machine (xorshift64, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap()
    }
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const ODD: [&[u8]; 8] =
        [b"18446744073709551616", b"-1", b"\n", b"\0", b"@", b"1e400", b"\xff", b":"];
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(16)).min(bytes.len());
        match dice.below(4) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, ODD[dice.below(ODD.len())].iter().copied())),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
}

#[test]
fn every_target_survives_its_corpus_and_mutations_of_it() {
    for target in TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "`{}` has no corpus", target.name);
        for (number, seed) in (1..).zip(&seeds) {
            let bytes = fs::read(seed).unwrap();
            (target.run)(&bytes);
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ number);
            for _ in 0..MUTATIONS {
                let mut bytes = bytes.clone();
                mutate(&mut bytes, &mut dice);
                (target.run)(&bytes);
            }
        }
    }
}
