//! The store on its real primitives. `tests/schedules.rs` has it under every order of threads, where memory is always coherent; here Miri can
//! run it with the weak memory of real machines.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::history::{History, Mark, Release};
use crate::load::{Inputs, Loaded, assemble};
use crate::overlay::Override;
use crate::schema::{Key, Kind, Schema};
use crate::spec::Spec;
use crate::store::Store;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields, default)]
struct Doc {
    #[garde(skip)]
    left: i64,
    #[garde(skip)]
    right: i64,
}

fn doc(spec: &Spec<Doc>, number: u64) -> Loaded<Doc> {
    let flag = |key: &str| Override::new(key, number.to_string(), key.to_owned());
    let flags = vec![flag("left"), flag("right")];
    assemble(spec, &Inputs { flags, ..Inputs::default() }).unwrap()
}

#[test]
fn readers_and_observers_of_the_real_store_see_whole_documents_in_order() {
    const LAST: u64 = 5;
    let kind = || Kind::Integer { min: 0, max: 99 };
    let schema = Schema::new().with([Key::new("left", kind(), ""), Key::new("right", kind(), "")]);
    let (number, mark) = (1, Mark::Number(1));
    let spec = Spec::new(History::new(Release { number, key: "v", mark, schema, ops: Vec::new() }));
    let store = Store::new(doc(&spec, 1));
    let later: Vec<_> = (2..=LAST).map(|number| doc(&spec, number)).collect();
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let all = store.subscribe_whole(&format!("observer {number}"));
                let mut before = 0;
                while before < LAST {
                    let snapshot = all.load();
                    let Doc { left, right } = snapshot.loaded.value;
                    assert_eq!((left, right), (snapshot.generation as i64, left), "torn");
                    assert!(snapshot.generation >= before, "backwards");
                    before = snapshot.generation;
                    drop(snapshot);
                    if before < LAST {
                        all.bell().recv().unwrap();
                    }
                }
                // What it said it took is there for whoever asks now.
                let seen = store.observers();
                assert!(
                    seen.iter()
                        .any(|o| o.name == format!("observer {number}") && o.generation == LAST)
                );
            })
        })
        .collect();
    for loaded in later {
        store.publish(loaded, false);
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(store.observers().is_empty());
}
